//! The end of the child's end. prefork ends a child from a signal handler, wherever it has interrupted the child: in the middle of
//! malloc, or with a lock that the end needs. No thread can be started then, and nobody but the kernel can be relied on: the rest of
//! the end may hang, or find memory that looks damaged because it was being changed, for which the C library aborts. That holds outside
//! Python as well: httpd's own pools, its log and the C library's heap are met as the signal left them.

use crate::httpd::faults;
use crate::httpd::module::retirement::IS_THREADED;
use crate::httpd::request::server::mpm_query;
use std::sync::OnceLock;
use std::time::Duration;

const TEXT: &[u8] = b"mod_python: the child's end took too long; the child goes without it\n";

const DAMAGED: &[u8] =
    b"mod_python: the child's end came in the middle of something, and fails; the child goes without it\n";

/// Has the process end in so many seconds, whatever it does then (alarm(2)), and at once where what the end has interrupted, if it
/// comes from a signal handler, makes it fail. Async-signal-safe.
pub(super) fn set(after: Duration) {
    let is_interrupted = is_handling();
    let seconds = u32::try_from(after.as_secs()).unwrap_or(u32::MAX).max(1);
    handle(libc::SIGALRM, on_alarm);
    if is_interrupted {
        for number in FAILURES {
            handle(number, on_failure);
        }
    }
    // SAFETY: may be called at any time.
    unsafe { libc::alarm(seconds) };
    while faults::strike("end") {}
    if is_interrupted && faults::strike("damaged_end") {
        std::process::abort();
    }
}

/// From the first moment of a child on: an end that fails before it has come to `set`, or before there is anything that would call it, is no
/// crash either. Whatever else fails is handled as before.
pub(crate) fn expect_early_ends() {
    if mpm_query(IS_THREADED) != 0 {
        return;
    }
    // SAFETY: structures of plain numbers.
    let mut before: [libc::sigaction; 3] = unsafe { std::mem::zeroed() };
    for (number, place) in FAILURES.into_iter().zip(&mut before) {
        // SAFETY: asks only.
        unsafe { libc::sigaction(number, std::ptr::null(), place) };
    }
    if BEFORE.set(before).is_ok() {
        for number in FAILURES {
            handle(number, on_early_failure);
        }
    }
}

const FAILURES: [libc::c_int; 3] = [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS];

/// How failures were handled before.
static BEFORE: OnceLock<[libc::sigaction; 3]> = OnceLock::new();

extern "C" fn on_early_failure(number: libc::c_int) {
    // Threads of this module have the signal blocked, too: theirs is a crash.
    // SAFETY: numbers of this process and thread; a signal handler may ask for them.
    let is_main = unsafe { libc::gettid() == libc::getpid() };
    if is_main && is_blocked() {
        leave(DAMAGED);
    }
    let place = FAILURES.iter().position(|&failure| failure == number);
    if let Some(before) = place.and_then(|place| BEFORE.get()?.get(place)) {
        // SAFETY: may be called by a signal handler. It comes again when this one returns.
        unsafe {
            libc::sigaction(number, std::ptr::from_ref(before), std::ptr::null_mut());
            libc::raise(number);
        }
    }
}

/// Does this thread handle the signal by which prefork ends a child? It is blocked so long (sigaction(2)); the other MPMs end a child
/// from no handler, but with signals blocked, too.
fn is_handling() -> bool {
    is_blocked() && mpm_query(IS_THREADED) == 0
}

fn is_blocked() -> bool {
    // SAFETY: a set of this frame, which is filled before it is read.
    unsafe {
        let mut blocked: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut blocked);
        libc::sigismember(&raw const blocked, libc::SIGTERM) == 1
    }
}

/// Has a signal handled by a function, blocked or not. Python's handlers end here, which is what the child does, too.
fn handle(number: libc::c_int, by: extern "C" fn(libc::c_int)) {
    // SAFETY: functions that a signal handler may call, with structures of this frame; the handlers call such ones only.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = by as libc::sighandler_t;
        libc::sigaction(number, &raw const action, std::ptr::null_mut());
        let mut alone: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut alone);
        libc::sigaddset(&raw mut alone, number);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const alone, std::ptr::null_mut());
    }
}

extern "C" fn on_alarm(_: libc::c_int) {
    leave(TEXT);
}

extern "C" fn on_failure(_: libc::c_int) {
    leave(DAMAGED);
}

fn leave(text: &[u8]) -> ! {
    // SAFETY: both may be called by a signal handler. The error log is where httpd's children have their stderr.
    unsafe {
        libc::write(2, text.as_ptr().cast(), text.len());
        libc::_exit(0);
    }
}
