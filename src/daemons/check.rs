//! What `httpd -t` says of daemons: what they need has to be there, for the users that they run as.

use super::handover;
use super::other::{Other, load};
use super::wanted;
use crate::config::daemons::{Daemon, find, twins, unnamed};
use crate::config::{ModPython, options};
use crate::embed::home::{self, Embedded};
use crate::embed::package;
use crate::httpd::apr::pool::OwnedPool;
use crate::httpd::module::process;
use crate::httpd::module::proxy;
use crate::httpd::module::reach::{self, Account};
use crate::httpd::request::server::Server;
use std::collections::HashSet;
use std::io;
use std::iter::successors;
use std::path::{Path, PathBuf};

/// Checks all daemons, and gives warnings.
///
/// # Errors
/// What a daemon cannot run with.
pub(crate) fn all(main: Server<'_>) -> Result<Vec<String>, String> {
    let daemons = handover::all(main);
    let mut used = HashSet::new();
    for server in successors(Some(main), |server| server.next()) {
        let config = server.config::<ModPython>();
        for mount in config.mounts {
            let Some(name) = mount.daemon else { continue };
            if find(&daemons, name).is_none() {
                let (file, line) = (mount.file, mount.line);
                let reason = unnamed(&daemons, name);
                return Err(format!("daemon= on line {line} of {file}: {reason}"));
            }
            used.insert(name);
        }
        for &name in config.handed {
            if find(&daemons, name).is_none() {
                let reason = unnamed(&daemons, name);
                return Err(format!("PythonOption {}: {reason}", options::DAEMON));
            }
            used.insert(name);
        }
    }
    if daemons.is_empty() {
        return Ok(Vec::new());
    }
    if let Some((one, other)) = twins(&daemons) {
        return Err(format!(
            "{} has the name of that on line {} of {}, or one too like it",
            place(&other),
            one.line,
            one.file
        ));
    }
    if let Some(missing) = proxy::missing() {
        let place = daemons.first().map(place).unwrap_or_default();
        return Err(format!(
            "{place} needs {missing}: load it (LoadModule; on Debian `a2enmod proxy_http`)"
        ));
    }
    let mut warnings = Vec::new();
    for daemon in &daemons {
        let doubts = one(daemon).map_err(|reason| format!("{}: {reason}", place(daemon)))?;
        warnings.extend(
            doubts
                .iter()
                .map(|doubt| format!("{}: {doubt}", place(daemon))),
        );
        let name = daemon.name;
        if !used.contains(name) {
            warnings.push(format!(
                "{} has nothing to do: nothing says daemon={name}",
                place(daemon)
            ));
        }
    }
    Ok(warnings)
}

/// What and where it is.
fn place(daemon: &Daemon<'_>) -> String {
    let (name, line, file) = (daemon.name, daemon.line, daemon.file);
    format!("PythonDaemon {name} on line {line} of {file}")
}

/// Whom a daemon runs as; None of whom nothing can be told.
///
/// # Errors
/// There is no such user or group.
pub(crate) fn account(daemon: &Daemon<'_>) -> Result<Option<Account>, String> {
    Account::of(daemon.text("user"), daemon.text("group"))
}

/// Checks a daemon; gives warnings.
fn one(daemon: &Daemon<'_>) -> Result<Vec<String>, String> {
    let account = wanted::account(daemon)?;
    let account = Some(&account);
    let reach = |key: &str, path: &str| there(path, account).map_err(|why| format!("{key}= {why}"));
    let mut doubts = Vec::new();
    let mut command = String::new();
    let mut python = Some(Embedded::OWN);
    let other;
    if let Some(path) = daemon.text("module") {
        reach("module", path)?;
        let named = |reason: String| format!("module= {reason}");
        let path = Path::new(path);
        other = Other::of(path).map_err(named)?;
        load(
            path,
            &environment(daemon),
            account.and_then(Account::identity),
        )
        .map_err(named)?;
        let doubt = other.doubt();
        doubts.extend(doubt.map(|doubt| format!("module= {} {doubt}", path.display())));
        python = other.embedded(&mut command);
    }
    if let Some(directory) = daemon.text("python-home") {
        reach("python-home", directory)?;
        if let Some(python) = &python {
            home::check_for(directory, python, account)
                .map_err(|reason| format!("python-home= {reason}"))?;
        }
    }
    for path in daemon.list("python-path") {
        reach("python-path", path)?;
        reach::check_listed_as(Path::new(path), account)
            .map_err(|reason| format!("python-path= {reason}"))?;
    }
    if let Some(directory) = daemon.text("working-directory") {
        reach("working-directory", directory)?;
        if !Path::new(directory).is_dir() {
            return Err(format!("working-directory= {directory} is no directory"));
        }
    }
    for path in daemon.list("reload") {
        reach("reload", path)?;
        if Path::new(path).is_dir() {
            doubts.push(format!(
                "reload= {path} is a directory: it changes when a file in it is made, renamed or removed, whoever does so, and not when one is written"
            ));
        }
    }
    if let Some(bytes @ 1..LEAST) = daemon.number("memory-limit") {
        return Err(format!(
            "memory-limit= {bytes} bytes are less than any process has; 512 megabytes are 512M"
        ));
    }
    if let Some(log) = daemon.text("log") {
        check_log(Path::new(log)).map_err(|reason| format!("log= {reason}"))?;
    }
    own_files(daemon, account)?;
    Ok(doubts)
}

/// No process has less memory.
const LEAST: u64 = 1 << 20;

/// Can a log be written? Makes none.
fn check_log(path: &Path) -> Result<(), String> {
    let above = path.parent().filter(|above| above.is_dir());
    let shown = path.display();
    let above = above.ok_or_else(|| format!("there is no directory for {shown}"))?;
    match process::open_log(path, false) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(match error.raw_os_error() {
            Some(libc::ENXIO) => format!("{shown} is a FIFO that nobody reads, or a socket"),
            _ => format!("{shown}: {error}"),
        }),
        Err(_) if reach::may_make_in(above) => Ok(()),
        Err(_) => Err(format!("{shown} cannot be made in that directory")),
    }
}

/// Can what a daemon needs of this module's own, and of httpd's, be reached by its user, and its socket by httpd's children?
fn own_files(daemon: &Daemon<'_>, account: Option<&Account>) -> Result<(), String> {
    let package = package::directory()?.join("mod_python/_daemon/__main__.py");
    let module = daemon.text("module").is_none().then(package::module);
    let files = [
        Some(PathBuf::from(home::EXECUTABLE)),
        Some(package),
        module.flatten(),
    ];
    for file in files.into_iter().flatten() {
        reach::check_as(&file, account)?;
    }
    let memory = OwnedPool::new().ok_or("no memory")?;
    let socket = super::socket_path(memory.pool(), daemon);
    let above = socket.ancestors().nth(2).unwrap_or(Path::new("/"));
    if above.is_dir() {
        let of_it = |reason: String| format!("DefaultRuntimeDir {reason}");
        reach::check_as(above, account).map_err(of_it)?;
        reach::check(above).map_err(of_it)?;
    }
    // Numbers of processes have up to seven digits.
    let number = std::process::id().to_string().len();
    let length = socket.as_os_str().len() + 7_usize.saturating_sub(number);
    if length > LONGEST {
        let (above, more) = (above.display(), length - LONGEST);
        return Err(format!(
            "the path of its socket, below DefaultRuntimeDir {above}, is {more} bytes longer than the system takes: give it a shorter name, or httpd another DefaultRuntimeDir"
        ));
    }
    Ok(())
}

/// How long the path of a UNIX socket may be (unix(7)).
const LONGEST: usize = 107;

/// Is something there, and can the user come to it?
fn there(path: &str, user: Option<&Account>) -> Result<(), String> {
    let path = Path::new(path);
    std::fs::metadata(path).map_err(|error| match reach::check_own(path) {
        Err(text) => text,
        Ok(()) => format!("{}: {error}", path.display()),
    })?;
    reach::check_as(path, user)
}

/// The variables that the daemon's own line gives it.
fn environment<'c>(daemon: &Daemon<'c>) -> Vec<(&'c str, &'c str)> {
    let all = daemon.list("environment").iter();
    all.filter_map(|pair| pair.split_once('=')).collect()
}
