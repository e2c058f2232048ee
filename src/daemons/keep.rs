//! The parent's side of daemons: the sockets, and a keeper process for each daemon, which does the rest (`python/mod_python/_daemon/`).
//!
//! All of it lives through restarts, in statics: nothing here refers to a configuration. Only the parent, which has one thread, and the
//! children's start take the lock.

use super::wanted::{self, Wanted};
use crate::embed::{home, package};
use crate::httpd::apr::pool::Pool;
use crate::httpd::log::{self, Level};
use crate::httpd::module::process::{self, Program};
use crate::httpd::request::server::{Server, runtime_path};
use std::ffi::CString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long all keepers may take to end together, when httpd does.
const PATIENCE: Duration = Duration::from_secs(12);
const LONGEST_PAUSE: u64 = 60;
/// A keeper that has lived so long was well.
const HEALTHY: Duration = Duration::from_secs(60);

static HOUSE: Mutex<Option<House>> = Mutex::new(None);

/// What the parent has of all daemons.
struct House {
    /// Root's, where root starts httpd: nobody else can put anything there.
    directory: PathBuf,
    /// Held as long as a process of this httpd lives: whoever finds the directory without, may remove it.
    lock: File,
    keepers: Vec<Keeper>,
}

struct Keeper {
    wanted: Wanted,
    /// 0 once it has ended.
    pid: libc::pid_t,
    orders: OwnedFd,
    listener: OwnedFd,
    state: File,
    /// Its private directory.
    place: PathBuf,
    log: OwnedFd,
    started: Instant,
    failures: u32,
    /// It was told to end.
    leaves: bool,
}

fn house() -> MutexGuard<'static, Option<House>> {
    HOUSE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Brings the daemons in line with the configuration, when httpd starts or restarts.
///
/// # Errors
/// A sentence for the operator: what keeps a daemon from being started.
pub(crate) fn settle(pool: Pool<'_>, server: Server<'_>) -> Result<(), String> {
    let all = wanted::all(server)?;
    let mut house = house();
    if all.is_empty() && house.is_none() {
        return Ok(());
    }
    let at_once = process::is_restarted_at_once();
    let is_first = house.is_none();
    if is_first {
        *house = Some(House::open(pool)?);
        process::at_end(Ending(std::process::id()));
    }
    let Some(house) = house.as_mut() else {
        return Ok(());
    };
    house.keepers.retain(|keeper| keeper.pid != 0);
    for keeper in &mut house.keepers {
        let stays =
            |one: &Wanted| one.name == keeper.wanted.name && one.account == keeper.wanted.account;
        if !keeper.leaves && !all.iter().any(stays) {
            // Another one waits for the socket: this one's user is to have no more requests.
            let is_replaced = all.iter().any(|one| one.name == keeper.wanted.name);
            keeper.leave(match (at_once, is_replaced) {
                (true, _) => "now",
                (false, true) => "replaced",
                (false, false) => "graceful",
            });
        }
    }
    for one in all {
        let name = one.name.clone();
        let settled = house.settle_one(one, pool, at_once);
        let Err(error) = settled else { continue };
        let text = format!("PythonDaemon {name} cannot be started: {error}");
        if is_first {
            return Err(text);
        }
        // Whatever else httpd serves goes on.
        log::process(Level::Critical, &text);
    }
    Ok(())
}

/// In a child: closes what is the parent's.
pub(crate) fn leave_to_parent() {
    if process::is_child() {
        *house() = None;
    }
}

/// The directory that has the daemons' sockets and states, where there are daemons, or have been.
pub(crate) fn directory() -> Option<&'static Path> {
    DIRECTORY.get().map(PathBuf::as_path)
}

static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();

impl House {
    fn open(pool: Pool<'_>) -> Result<House, String> {
        let directory = super::runtime_directory(pool);
        let above = directory.parent().unwrap_or(Path::new("/")).to_path_buf();
        let failed = |error: io::Error| {
            format!(
                "PythonDaemon needs a directory in DefaultRuntimeDir: {}: {error}",
                directory.display()
            )
        };
        sweep(&above);
        // Of an httpd that had this number.
        remove(&directory);
        DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(failed)?;
        let lock = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(directory.join(LOCK));
        let lock = lock.map_err(failed)?;
        lock.try_lock().map_err(|error| failed(error.into()))?;
        if let Some((_, group)) = process::children_account() {
            chown(&directory, None, Some(group)).map_err(failed)?;
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o750)).map_err(failed)?;
        }
        let _ = DIRECTORY.set(directory.clone());
        Ok(House {
            directory,
            lock,
            keepers: Vec::new(),
        })
    }

    fn settle_one(&mut self, one: Wanted, pool: Pool<'_>, at_once: bool) -> io::Result<()> {
        let log = one.open_log()?;
        let same = |keeper: &&mut Keeper| {
            !keeper.leaves && keeper.wanted.name == one.name && keeper.wanted.account == one.account
        };
        if let Some(keeper) = self.keepers.iter_mut().find(same) {
            keeper.log = log;
            keeper.wanted = one;
            keeper.order(if at_once { "now" } else { "graceful" });
            return Ok(());
        }
        let before = self
            .keepers
            .iter()
            .position(|keeper| keeper.wanted.name == one.name);
        let listener = match before.and_then(|place| self.keepers.get(place)) {
            Some(keeper) => keeper.listener.try_clone()?,
            None => self.bind(&one.name)?,
        };
        let state = self.state(&one.name)?;
        let place = self.private_directory(&one, pool)?;
        let (orders, theirs) = process::pair()?;
        let mut keeper = Keeper {
            wanted: one,
            pid: 0,
            orders,
            listener,
            state,
            place,
            log,
            started: Instant::now(),
            failures: 0,
            leaves: false,
        };
        keeper.start(theirs, Duration::ZERO)?;
        self.keepers.push(keeper);
        Ok(())
    }

    /// Makes the socket.
    fn bind(&self, name: &str) -> io::Result<OwnedFd> {
        let path = self.directory.join(format!("{name}.sock"));
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        if let Some((user, group)) = process::children_account() {
            chown(&path, Some(user), Some(group))?;
        }
        Ok(listener.into())
    }

    /// Makes the file of its state. A keeper that is replaced goes on with its own, which has no name any more.
    fn state(&self, name: &str) -> io::Result<File> {
        let file = self.directory.join(format!("{name}.json"));
        let _ = fs::remove_file(&file);
        let state = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)?;
        if let Some((user, group)) = process::children_account() {
            chown(&file, Some(user), Some(group))?;
        }
        Ok(state)
    }

    /// A keeper that was to end has ended: nothing is left of it, unless another one has its daemon.
    fn forget(&mut self, place: usize) {
        let keeper = self.keepers.swap_remove(place);
        remove(&keeper.place);
        let name = &keeper.wanted.name;
        if !self.keepers.iter().any(|other| other.wanted.name == *name) {
            for kind in ["sock", "json"] {
                let _ = fs::remove_file(self.directory.join(format!("{name}.{kind}")));
            }
        }
    }

    /// Makes the keeper's own directory, beside ours: its user cannot pass ours.
    fn private_directory(&self, one: &Wanted, pool: Pool<'_>) -> io::Result<PathBuf> {
        let mut number = 0;
        loop {
            let more = if number == 0 {
                String::new()
            } else {
                format!(".{number}")
            };
            let name = format!("mod_python.{}.{}{more}", std::process::id(), one.name);
            let path = runtime_path(pool, &name);
            if number == 0 && !self.keepers.iter().any(|keeper| keeper.place == path) {
                remove(&path);
            }
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    if let Some(identity) = &one.account.identity {
                        chown(&path, Some(identity.user), Some(identity.group))?;
                    }
                    return Ok(path);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 100 => {
                    number += 1
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Keeper {
    fn start(&mut self, orders: OwnedFd, pause: Duration) -> io::Result<()> {
        let package = package::directory().map_err(io::Error::other)?;
        let program = package.join("mod_python/_daemon/__main__.py");
        let arguments: Vec<CString> = [
            home::EXECUTABLE.as_bytes(),
            b"-I",
            b"-B",
            program.as_os_str().as_bytes(),
            self.wanted.name.as_bytes(),
            self.place.as_os_str().as_bytes(),
        ]
        .into_iter()
        .filter_map(|text| CString::new(text).ok())
        .collect();
        let environment = self.wanted.account.environment();
        let program = Program {
            arguments: &arguments,
            environment: &environment,
            identity: self.wanted.account.identity.as_ref(),
            pause,
        };
        let descriptors = [
            orders.as_fd(),
            self.state.as_fd(),
            self.log.as_fd(),
            self.listener.as_fd(),
        ];
        self.pid = process::start(&program, descriptors, ended)?;
        self.started = Instant::now();
        self.order("no");
        Ok(())
    }

    /// Tells the keeper what its daemon is to be, and where its log is now.
    fn order(&self, restart: &str) {
        let line = self.wanted.line(restart, &self.place);
        let log = (restart != "no").then(|| self.log.as_fd());
        if let Err(error) = process::send(self.orders.as_fd(), line.as_bytes(), log) {
            let name = &self.wanted.name;
            let text = format!(
                "PythonDaemon {name}: its keeper (process {}) does not listen: {error}",
                self.pid
            );
            log::process(Level::Error, &text);
        }
    }

    fn leave(&mut self, how: &str) {
        self.leaves = true;
        let line = format!("{{\"stop\": \"{how}\"}}\n");
        let _ = process::send(self.orders.as_fd(), line.as_bytes(), None);
    }
}

/// A keeper has ended: another one takes its place, unless it was to end.
fn ended(pid: libc::pid_t, status: i32) {
    let mut house = house();
    let Some(house) = house.as_mut() else { return };
    let Some(place) = house.keepers.iter().position(|keeper| keeper.pid == pid) else {
        return;
    };
    if house.keepers.get(place).is_some_and(|keeper| keeper.leaves) {
        house.forget(place);
        return;
    }
    let Some(keeper) = house.keepers.get_mut(place) else {
        return;
    };
    keeper.pid = 0;
    let name = keeper.wanted.name.clone();
    keeper.failures = if keeper.started.elapsed() > HEALTHY {
        0
    } else {
        keeper.failures + 1
    };
    let pause = match keeper.failures {
        0 | 1 => 0,
        more => (1_u64 << more.min(7).saturating_sub(1)).min(LONGEST_PAUSE),
    };
    let how = if libc::WIFSIGNALED(status) {
        format!("signal {}", libc::WTERMSIG(status))
    } else {
        format!("status {}", libc::WEXITSTATUS(status))
    };
    let text = format!(
        "PythonDaemon {name}: its keeper (process {pid}) has ended ({how}); another one starts in {pause} s"
    );
    log::process(Level::Error, &text);
    let again = process::pair().and_then(|(orders, theirs)| {
        keeper.orders = orders;
        keeper.start(theirs, Duration::from_secs(pause))
    });
    if let Err(error) = again {
        let text = format!("PythonDaemon {name}: no other keeper can be started: {error}");
        log::process(Level::Critical, &text);
    }
}

/// Dropped when httpd's parent ends in order.
struct Ending(u32);

impl Drop for Ending {
    fn drop(&mut self) {
        // A child clears its pools, too.
        if std::process::id() != self.0 {
            return;
        }
        let Some(house) = house().take() else { return };
        for keeper in house.keepers.iter().filter(|keeper| keeper.pid != 0) {
            process::signal(keeper.pid, libc::SIGTERM);
        }
        let end = Instant::now() + PATIENCE;
        for keeper in &house.keepers {
            if keeper.pid != 0
                && !process::has_ended(keeper.pid, end.saturating_duration_since(Instant::now()))
            {
                process::signal(keeper.pid, libc::SIGKILL);
                process::has_ended(keeper.pid, Duration::from_secs(1));
            }
            remove(&keeper.place);
        }
        remove(&house.directory);
        drop(house.lock);
    }
}

const LOCK: &str = "lock";

/// Removes what an httpd has left in a runtime directory that was killed: the directories whose lock nobody holds.
fn sweep(above: &Path) {
    let names = fs::read_dir(above).into_iter().flatten().flatten();
    let names: Vec<String> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let number = |name: &str| -> Option<String> {
        let rest = name.strip_prefix("mod_python.")?;
        let number = rest.split('.').next()?;
        (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| number.to_string())
    };
    for name in &names {
        let Some(number) = number(name) else { continue };
        let lock = File::open(above.join(format!("mod_python.{number}")).join(LOCK));
        let is_held = match lock {
            Ok(lock) => lock.try_lock().is_err(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        if !is_held && number != std::process::id().to_string() {
            remove(&above.join(name));
        }
    }
}

fn remove(path: &Path) {
    // A link is removed, not followed.
    let _ = fs::remove_dir_all(path);
}
