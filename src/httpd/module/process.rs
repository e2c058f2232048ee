//! Processes that httpd's parent starts and keeps, beside its children: as another user, with four descriptors and nothing else of httpd's.
//! And processes that go with the one that has started them.
//!
//! Only the parent, which has one thread, starts any. What a child does between fork and exec is safe there (signal-safety(7)): everything
//! that needs memory has been made before.

use crate::httpd::apr::pool::Pool;
use crate::httpd::callback::{assert_no_data, summon};
use crate::httpd::guard::guard;
use crate::httpd::log::{self, Level};
use crate::httpd::request::server::Server;
use crate::httpd::sys;
use std::ffi::{CString, c_char, c_int, c_void};
use std::fs::OpenOptions;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// Whom a process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: libc::uid_t,
    pub(crate) group: libc::gid_t,
    pub(crate) groups: Vec<libc::gid_t>,
}

/// What is to be started.
pub(crate) struct Program<'p> {
    /// The first is the program's path.
    pub(crate) arguments: &'p [CString],
    pub(crate) environment: &'p [CString],
    /// None: whom httpd's parent is.
    pub(crate) identity: Option<&'p Identity>,
    /// Before it begins.
    pub(crate) pause: Duration,
}

/// Starts a process in a session of its own, in `/`, with these as its descriptors 0 to 3. It gets SIGTERM when this process dies. `ended` is
/// called, in the parent, with its number and its status, when httpd has seen it end. Gives its number.
///
/// # Errors
/// Why there is no other process.
pub(crate) fn start<F: Fn(libc::pid_t, c_int) + Copy>(
    program: &Program<'_>,
    descriptors: [BorrowedFd<'_>; 4],
    _ended: F,
) -> Result<libc::pid_t> {
    const { assert_no_data::<F>() };
    let list = |all: &[CString]| -> Vec<*const c_char> {
        let all = all.iter().map(|one| one.as_ptr());
        all.chain([null()]).collect()
    };
    let (arguments, environment) = (list(program.arguments), list(program.environment));
    let descriptors = descriptors.map(|one| one.as_raw_fd());
    // SAFETY: one thread; the child calls what is safe after fork alone, and never returns. Signals wait meanwhile: httpd's handlers are
    // not the child's business.
    unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) =
            (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let parent = libc::getpid();
        let child = libc::fork();
        if child == 0 {
            become_program(program, &arguments, &environment, descriptors, parent);
        }
        let error = Error::last_os_error();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const before, null_mut());
        if child < 0 {
            return Err(error);
        }
        watch::<F>(child);
        Ok(child)
    }
}

/// A process as APR knows it; where it has looked for the end itself, it has taken the number out.
#[repr(C)]
struct Other {
    process: sys::apr_proc_t,
    pid: libc::pid_t,
}

/// Has httpd tell when a child of its parent ends that is none of its own (apr_proc_other_child_register). Through restarts, too: it lies
/// in the process's pool.
unsafe fn watch<F: Fn(libc::pid_t, c_int) + Copy>(child: libc::pid_t) {
    // SAFETY: the pool lives as long as the process, and so does what lies in it; the callback gets it back.
    unsafe {
        let other = sys::apr_palloc(sys::ap_pglobal, size_of::<Other>()).cast::<Other>();
        other.write_bytes(0, 1);
        (*other).process.pid = child;
        (*other).pid = child;
        sys::apr_proc_other_child_register(
            &raw mut (*other).process,
            Some(on_change::<F>),
            other.cast(),
            null_mut(),
            sys::ap_pglobal,
        );
    }
}

unsafe extern "C" fn on_change<F: Fn(libc::pid_t, c_int) + Copy>(
    reason: c_int,
    other: *mut c_void,
    status: c_int,
) {
    if !matches!(reason, sys::APR_OC_REASON_DEATH | sys::APR_OC_REASON_LOST) {
        return;
    }
    // SAFETY: what `watch` has registered, which is never freed.
    let (ended, pid) = unsafe {
        sys::apr_proc_other_child_unregister(other);
        (summon::<F>(), (*other.cast::<Other>()).pid)
    };
    if let Err(place) = guard("other child", || ended(pid, status)) {
        log::process(Level::Critical, &place);
    }
}

/// The child's part. Ends with status 127 where there is no such program, 126 where it cannot become what it is to be.
unsafe fn become_program(
    program: &Program<'_>,
    arguments: &[*const c_char],
    environment: &[*const c_char],
    descriptors: [RawFd; 4],
    parent: libc::pid_t,
) -> ! {
    // SAFETY: system calls on numbers and memory that was made before.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        // Until the program minds it: somebody may send it as soon as there is a process.
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        libc::setsid();
        let mut moved = [-1; 4];
        for (place, from) in moved.iter_mut().zip(descriptors) {
            *place = libc::fcntl(from, libc::F_DUPFD, 10);
        }
        let mut is_good = true;
        for (to, from) in (0..).zip(moved) {
            is_good &= libc::dup2(from, to) == to;
        }
        close_from(4);
        is_good &= libc::chdir(c"/".as_ptr()) == 0;
        if let Some(identity) = program.identity {
            is_good &= libc::setgroups(identity.groups.len(), identity.groups.as_ptr()) == 0
                && libc::setgid(identity.group) == 0
                && libc::setuid(identity.user) == 0;
        }
        // Changing the user has taken it back.
        is_good &= die_with_parent();
        if !is_good || libc::getppid() != parent {
            libc::_exit(126);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, null_mut());
        let mut pause = libc::timespec {
            tv_sec: libc::time_t::try_from(program.pause.as_secs()).unwrap_or(60),
            tv_nsec: libc::c_long::from(program.pause.subsec_nanos()),
        };
        while libc::nanosleep(&raw const pause, &raw mut pause) != 0 {}
        if let Some(&path) = arguments.first() {
            libc::execve(path, arguments.as_ptr(), environment.as_ptr());
        }
        libc::_exit(127);
    }
}

unsafe fn close_from(first: RawFd) {
    // SAFETY: descriptors that nothing in this process needs any more.
    unsafe {
        #[cfg(target_os = "linux")]
        if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) == 0 {
            return;
        }
        let most = libc::sysconf(libc::_SC_OPEN_MAX).clamp(256, 65_536);
        for descriptor in first..RawFd::try_from(most).unwrap_or(65_536) {
            libc::close(descriptor);
        }
    }
}

/// Has this process get SIGTERM when the thread that has started it ends. True where the system cannot do it: then nobody asks for it.
fn die_with_parent() -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: sets an attribute of this process.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) == 0
    }
    #[cfg(not(target_os = "linux"))]
    true
}

/// Has this process end when its parent, which has this number, does. False where that has happened already.
pub(crate) fn follow(parent: libc::pid_t) -> bool {
    // SAFETY: asks for a number.
    die_with_parent() && unsafe { libc::getppid() } == parent
}

/// The process that has forked this one's children.
static PARENT: AtomicI32 = AtomicI32::new(0);

/// Remembers this process as the parent of its children.
pub(crate) fn be_parent() {
    PARENT.store(std::process::id().cast_signed(), Ordering::Relaxed);
}

/// Is this a child of the process that was remembered, or of none?
pub(crate) fn is_child() -> bool {
    PARENT.load(Ordering::Relaxed) != std::process::id().cast_signed()
}

/// Has this child end when its parent does: at once where it has.
pub(crate) fn follow_this_parent() {
    if is_child() && !follow(PARENT.load(Ordering::Relaxed)) {
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
}

/// Has this child's parent gone?
pub(crate) fn has_lost_parent() -> bool {
    // SAFETY: asks for a number.
    is_child() && unsafe { libc::getppid() } != PARENT.load(Ordering::Relaxed)
}

/// Sends a signal to a process that this one has started and not yet seen end.
pub(crate) fn signal(child: libc::pid_t, number: c_int) {
    // SAFETY: a number, which is its child's until somebody waits for it.
    unsafe { libc::kill(child, number) };
}

/// Sends a signal to each thread of this process that has it unblocked (/proc/self/task), if a function handles it: system calls in which
/// they stand are interrupted. Is there such a thread?
pub(crate) fn interrupt_threads(number: c_int) -> bool {
    // SAFETY: a structure of plain numbers, which is filled in.
    let action = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(number, std::ptr::null(), &raw mut action);
        action.sa_sigaction
    };
    if matches!(action, libc::SIG_DFL | libc::SIG_IGN) {
        return false;
    }
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let reached = threads.flatten().filter(|thread| {
        let id: Option<libc::pid_t> = thread.file_name().to_str().and_then(|id| id.parse().ok());
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        let blocked = blocked.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        let is_open = blocked.is_some_and(|mask| mask & (1 << (number - 1)) == 0);
        id.filter(|_| is_open).is_some_and(|id| {
            // SAFETY: a signal that is handled; nothing happens where the thread has gone.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), id, number) == 0 }
        })
    });
    reached.count() > 0
}

/// Waits until a child of this process has ended, for a limited time, and forgets it. False where it goes on.
pub(crate) fn has_ended(child: libc::pid_t, patience: Duration) -> bool {
    let end = std::time::Instant::now() + patience;
    loop {
        let mut status = 0;
        // SAFETY: writes one number.
        let found = unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) };
        if found != 0 {
            return true;
        }
        if std::time::Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Has a descriptor that this process was given end with it: what it starts must not have it.
pub(crate) fn close_on_exec(descriptor: RawFd) {
    // SAFETY: sets a flag of a number that is open, or none.
    unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
}

/// A pair of connected UNIX sockets, closed on exec.
///
/// # Errors
/// Why there is none.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let (one, other) = std::os::unix::net::UnixStream::pair()?;
    Ok((one.into(), other.into()))
}

/// Sends bytes through a UNIX socket, and with them a descriptor. Does not wait, and takes SIGPIPE for no reason to end.
///
/// # Errors
/// Nobody is at the other end, or it does not read.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<()> {
    #[repr(C, align(8))]
    struct Control([u8; 64]);
    let mut sent = 0;
    let mut control = Control([0; 64]);
    while sent < bytes.len() {
        let rest = bytes.get(sent..).unwrap_or_default();
        let mut part = libc::iovec {
            iov_base: rest.as_ptr().cast_mut().cast(),
            iov_len: rest.len(),
        };
        // SAFETY: the message refers to memory that lives through the call; the control message has room in its aligned buffer.
        let done = unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            if let Some(descriptor) = descriptor.filter(|_| sent == 0) {
                let size = u32::try_from(size_of::<RawFd>()).unwrap_or(4);
                message.msg_control = control.0.as_mut_ptr().cast();
                message.msg_controllen = libc::CMSG_SPACE(size) as _;
                let head = libc::CMSG_FIRSTHDR(&raw const message);
                (*head).cmsg_level = libc::SOL_SOCKET;
                (*head).cmsg_type = libc::SCM_RIGHTS;
                (*head).cmsg_len = libc::CMSG_LEN(size) as _;
                let place = libc::CMSG_DATA(head).cast::<RawFd>();
                place.write_unaligned(descriptor.as_raw_fd());
            }
            libc::sendmsg(
                socket.as_raw_fd(),
                &raw const message,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        let Ok(count) = usize::try_from(done) else {
            let error = Error::last_os_error();
            if error.kind() == std::io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error);
        };
        sent += count;
    }
    Ok(())
}

/// Who this process is for the system, and whom httpd's children run as: user and group; the latter None where they are this process's.
pub(crate) fn children_account() -> Option<(libc::uid_t, libc::gid_t)> {
    // SAFETY: asks for numbers; httpd has filled the structure when a configuration has been read.
    unsafe {
        let settings = &raw const sys::ap_unixd_config;
        let (user, group) = ((*settings).user_id, (*settings).group_id);
        (libc::geteuid() == 0 && user != libc::uid_t::MAX).then_some((user, group))
    }
}

/// Was httpd, which has restarted, told to do so at once (SIGHUP), without waiting for requests?
pub(crate) fn is_restarted_at_once() -> bool {
    // SAFETY: what the MPM keeps for the life of the process; NULL before it has run.
    unsafe {
        sys::ap_unixd_mpm_get_retained_data()
            .as_ref()
            .is_some_and(|kept| kept.was_graceful == 0)
    }
}

/// Drops a value when httpd's parent ends in order: its process's pool goes then. Also in a child that ends: the value has to look.
pub(crate) fn at_end<T: 'static>(value: T) {
    // SAFETY: the pool of the process, which has one thread now.
    if let Some(pool) = unsafe { Pool::from_raw(sys::ap_pglobal) } {
        pool.before_end(value);
    }
}

/// A duplicate of the descriptor that a server's error log is written to; of standard error where the log is none (syslog).
///
/// # Errors
/// There are no descriptors left.
pub(crate) fn log_of(server: Server<'_>) -> Result<OwnedFd> {
    // SAFETY: a live server whose log is open, or none; the number is duplicated at once.
    unsafe {
        let file = (*server.as_ptr()).error_log;
        let mut descriptor: c_int = 2;
        if !file.is_null() {
            sys::apr_os_file_get(&raw mut descriptor, file);
        }
        let own = libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 10);
        if own < 0 {
            return Err(Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(own))
    }
}

/// Opens a file for a log, behind what is there; makes it where it may. Of a FIFO, somebody has to be at the other end: nobody is waited for.
///
/// # Errors
/// Why it cannot be written to.
pub(crate) fn open_log(path: &Path, may_make: bool) -> Result<OwnedFd> {
    let file = OpenOptions::new()
        .append(true)
        .create(may_make)
        .mode(0o640)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    // SAFETY: sets a flag of the descriptor that has just been opened: who writes waits, as for any log.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_APPEND) };
    Ok(file.into())
}

/// How many bytes of memory this process has (resident); None where the system does not say.
pub(crate) fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    // SAFETY: asks for a number.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.checked_mul(u64::try_from(size).ok()?)
}

/// The program that this process runs.
pub(crate) fn program() -> Option<PathBuf> {
    std::env::current_exe().ok()
}
