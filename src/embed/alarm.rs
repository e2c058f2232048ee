//! The end of the child's end. prefork ends a child from a signal handler, wherever it has interrupted the child: in the middle of
//! malloc, or with a lock that the end needs. No thread can be started then, and nobody but the kernel can be relied on.

use crate::httpd::faults;
use std::time::Duration;

const TEXT: &[u8] = b"mod_python: the child's end took too long; the child goes without it\n";

/// Has the process end in so many seconds, whatever it does then (alarm(2)). Async-signal-safe.
pub(super) fn set(after: Duration) {
    let seconds = u32::try_from(after.as_secs()).unwrap_or(u32::MAX).max(1);
    // SAFETY: functions that a signal handler may call, with structures of this frame; the handler calls such ones only. Python's
    // handlers end here, which is what the child does, too.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_alarm as extern "C" fn(libc::c_int) as libc::sighandler_t;
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
        let mut alone: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut alone);
        libc::sigaddset(&raw mut alone, libc::SIGALRM);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const alone, std::ptr::null_mut());
        libc::alarm(seconds);
    }
    while faults::strike("end") {}
}

extern "C" fn on_alarm(_: libc::c_int) {
    // SAFETY: both may be called by a signal handler. The error log is where httpd's children have their stderr.
    unsafe {
        libc::write(2, TEXT.as_ptr().cast(), TEXT.len());
        libc::_exit(0);
    }
}
