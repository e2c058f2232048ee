//! A child that is to end for a reason of ours, in order: it accepts nothing more, and what it has in hand comes to its end.
//!
//! httpd offers nothing for it, but its MPMs end a child in that very way when accepting a connection fails for want of memory or
//! descriptors: what waits stays with the kernel, for other children, and the parent starts another child. So accepting fails from now on.
//! The MPM notices when the next connection comes. The worker MPM's listener does not get that far where it has one socket to listen at: it
//! stands in accept(2) already, and would take that connection. It is woken, as its MPM itself does it, by a signal.

use crate::httpd::module::{process, unfinished};
use crate::httpd::request::Request;
use crate::httpd::request::server::{can_suspend, is_defined, mpm_query};
use crate::httpd::sys;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// What `mpm_query` is asked whether a child has several threads (AP_MPMQ_IS_THREADED).
pub(crate) const IS_THREADED: i32 = sys::AP_MPMQ_IS_THREADED;

/// Has this child accept nothing more. Gives for how long it may go on with what it has in hand: httpd's Timeout; None where it is not one
/// of several children (`httpd -X`).
pub(crate) fn begin() -> Option<Duration> {
    if is_defined(c"ONE_PROCESS") || is_defined(c"DEBUG") {
        return None;
    }
    BEGUN.store(true, Ordering::SeqCst);
    // SAFETY: this child's own copy of httpd's list of listeners, which lives as long as the process; its threads read one pointer of each.
    unsafe {
        let mut listener = sys::ap_listeners;
        while !listener.is_null() {
            (*listener).accept_func = Some(refuse);
            listener = (*listener).next;
        }
        wake();
        let timeout = sys::ap_server_conf
            .as_ref()
            .map_or(0, |server| server.timeout);
        Some(Duration::from_micros(u64::try_from(timeout).unwrap_or(0)))
    }
}

/// Has the MPM learnt that nothing more is accepted?
static IS_REFUSED: AtomicBool = AtomicBool::new(false);

/// Behind `begin`: interrupts the worker MPM's listener where it stands in accept(2): that has a function that does nothing for the signal, and looks
/// again. False where nobody accepts anything any more, or would not be interrupted.
fn wake() -> bool {
    /// So often; the listener does not get back into accept(2) in so many moments.
    const TIMES: u32 = 20;
    static WOKEN: AtomicU32 = AtomicU32::new(0);
    // SAFETY: this child's own copy of httpd's list of listeners.
    let stands = unsafe { sys::ap_listeners.as_ref() }.is_some_and(|one| one.next.is_null())
        && mpm_query(IS_THREADED) != 0
        && !can_suspend();
    stands
        && !IS_REFUSED.load(Ordering::SeqCst)
        && WOKEN.fetch_add(1, Ordering::Relaxed) < TIMES
        && process::interrupt_threads(libc::SIGHUP)
}

/// Writes a few bytes to a pipe that this process was given. Did somebody have its other end open?
pub(crate) fn tell(descriptor: i32, line: &[u8]) -> bool {
    // Less than a pipe takes at once.
    let line = line.get(..line.len().min(1024)).unwrap_or_default();
    // SAFETY: bytes that live through the call. httpd ignores SIGPIPE.
    let written = unsafe { libc::write(descriptor, line.as_ptr().cast(), line.len()) };
    written >= 0
}

/// Ends this child at once, and with it httpd, which starts no other (APEXIT_CHILDFATAL).
pub(crate) fn end_with_parent() -> ! {
    // SAFETY: nothing of the process is needed any more.
    unsafe { libc::_exit(sys::APEXIT_CHILDFATAL) }
}

static BEGUN: AtomicBool = AtomicBool::new(false);

static LOGS: AtomicBool = AtomicBool::new(false);

/// Has the request of a thread that does not come back logged by httpd's modules but this one (ap_run_log_transaction): the child ends, and
/// nobody else does. Called by whoever holds the request, behind `begin`.
pub(crate) fn log(request: Request<'_>) {
    LOGS.store(true, Ordering::SeqCst);
    // SAFETY: a live request, which its own thread does not touch while it is held.
    unsafe { sys::ap_run_log_transaction(request.as_ptr()) };
}

/// Does the child end with requests that no handler logs any more?
pub(crate) fn logs() -> bool {
    LOGS.load(Ordering::Relaxed)
}

/// Is this child to end for a reason of ours?
pub(crate) fn has_begun() -> bool {
    BEGUN.load(Ordering::SeqCst)
}

/// Accepts nothing, as if there were no descriptor left (ap_unixd_accept gives this then).
unsafe extern "C" fn refuse(
    accepted: *mut *mut std::ffi::c_void,
    _listener: *mut sys::ap_listen_rec,
    _pool: *mut sys::apr_pool_t,
) -> sys::apr_status_t {
    IS_REFUSED.store(true, Ordering::SeqCst);
    // SAFETY: the MPM's own place for the connection; it looks there whatever is returned.
    unsafe { accepted.write(std::ptr::null_mut()) };
    sys::APR_EGENERAL
}

/// Do others than the workers of so many connections, which do not come back, have anything in hand?
pub(crate) fn are_others_busy(stuck: usize) -> bool {
    wake() || at_work() + unfinished::count() > stuck
}

/// How many workers of this child are at work, by httpd's scoreboard.
fn at_work() -> usize {
    let hard_limit = |code| mpm_query(code).max(0);
    let children = hard_limit(sys::AP_MPMQ_HARD_LIMIT_DAEMONS);
    let threads = hard_limit(sys::AP_MPMQ_HARD_LIMIT_THREADS);
    let me = std::process::id().cast_signed();
    // SAFETY: httpd's scoreboard, which has so many places and lives as long as the child; numbers that others may be writing.
    unsafe {
        if sys::ap_scoreboard_image.is_null() {
            return 0;
        }
        let is_me = |child: &i32| {
            let process = sys::ap_get_scoreboard_process(*child);
            !process.is_null() && (*process).pid == me
        };
        let child = (0..children).find(is_me);
        let is_at_work = |child, thread| {
            let worker = sys::ap_get_scoreboard_worker_from_indexes(child, thread);
            !worker.is_null() && is_busy(i32::from((*worker).status))
        };
        child.map_or(0, |child| {
            (0..threads)
                .filter(|&thread| is_at_work(child, thread))
                .count()
        })
    }
}

/// Does a worker serve a connection? Event has it do so no longer than there is something to be done, and says SERVER_GRACEFUL of all workers
/// of a child that ends, the busy ones among them. The worker MPM says that only of one that has exited before its listener said that the
/// child is dying, and that for good; its workers stay with connections that are kept, where the next request may be under way, and that
/// are closed.
fn is_busy(status: i32) -> bool {
    match status {
        sys::SERVER_BUSY_READ
        | sys::SERVER_BUSY_WRITE
        | sys::SERVER_BUSY_LOG
        | sys::SERVER_BUSY_DNS => true,
        sys::SERVER_GRACEFUL => can_suspend(),
        sys::SERVER_BUSY_KEEPALIVE | sys::SERVER_CLOSING => !can_suspend(),
        _ => false,
    }
}
