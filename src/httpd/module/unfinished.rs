//! Connections that no worker is at although something is left to be done: answers of which the client has not taken all, streams of
//! HTTP/2, requests that have left their worker. The event MPM counts them in the scoreboard when it looks for one that takes too long,
//! which can be httpd's Timeout later.

use crate::httpd::clock;
use crate::httpd::io::listener;
use crate::httpd::module::slot;
use crate::httpd::sys;
use std::ffi::{c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);

static CLOSED: AtomicU64 = AtomicU64::new(0);

/// The state in which event waits for a connection as long as Timeout, and does not close it meanwhile (CONN_STATE_ASYNC_WAITIO).
pub(in crate::httpd) const WAITS: sys::conn_state_e = 8;

/// What stands in our place of a connection's configuration, instead of nothing.
const COUNTED: *mut c_void = std::ptr::without_provenance_mut(1);
const CLOSING: *mut c_void = std::ptr::without_provenance_mut(2);

/// Has httpd begun to close the connection? Event's worker says so of itself no longer than it is at that, and not at all where the
/// connection has taken too long.
///
/// # Safety
/// A live connection.
pub(in crate::httpd) unsafe fn is_closing(raw: *mut sys::conn_rec) -> bool {
    // SAFETY: the caller's promise.
    unsafe { slot::slot((*raw).conn_config) == CLOSING }
}

/// How many there are in this child.
pub(crate) fn count() -> usize {
    COUNT.load(Ordering::SeqCst)
}

/// When this child has begun to close a connection last, in nanoseconds of `clock::now`; 0 where it has closed none. Its client may not
/// have read the answer yet (RFC 9112, 9.6).
pub(crate) fn closed() -> u64 {
    CLOSED.load(Ordering::Relaxed)
}

/// Registers the hooks: before all others, which may have another thread end the connection.
pub(crate) fn follow() {
    let first = sys::APR_HOOK_REALLY_FIRST;
    // SAFETY: registers functions that live as long as the process.
    unsafe {
        sys::ap_hook_suspend_connection(Some(on_suspension), null(), null(), first);
        sys::ap_hook_resume_connection(Some(on_resumption), null(), null(), first);
        sys::ap_hook_pre_close_connection(Some(on_close), null(), null(), first);
    }
}

unsafe extern "C" fn on_suspension(raw: *mut sys::conn_rec, _request: *mut sys::request_rec) {
    // SAFETY: httpd passes a live connection, which nobody else has yet.
    let state = unsafe { (*raw).cs.as_ref() }.map(|state| state.state);
    let is_unfinished = match state {
        Some(
            sys::conn_state_e_CONN_STATE_WRITE_COMPLETION | sys::conn_state_e_CONN_STATE_SUSPENDED,
        ) => true,
        // Streams of HTTP/2 are waited for, since 2.4.60; one of the front's is kept there, and idle (`io::parked`).
        Some(WAITS) => !listener::is_from_front(raw),
        _ => false,
    };
    // SAFETY: as above. The module has nothing else there, and the connection's pool calls the function before it goes.
    unsafe {
        if is_unfinished && slot::slot((*raw).conn_config).is_null() {
            slot::set_slot((*raw).conn_config, COUNTED);
            COUNT.fetch_add(1, Ordering::SeqCst);
            sys::apr_pool_cleanup_register((*raw).pool, raw.cast(), Some(on_end), Some(nothing));
        }
    }
}

unsafe extern "C" fn on_resumption(raw: *mut sys::conn_rec, _request: *mut sys::request_rec) {
    // SAFETY: httpd passes a live connection, which this thread has.
    unsafe { forget(raw) };
}

unsafe extern "C" fn on_close(raw: *mut sys::conn_rec) -> c_int {
    CLOSED.store(clock::now(), Ordering::Relaxed);
    // SAFETY: as above.
    unsafe {
        forget(raw);
        slot::set_slot((*raw).conn_config, CLOSING);
    }
    sys::OK
}

/// # Safety
/// A live connection, which this thread has.
unsafe fn forget(raw: *mut sys::conn_rec) {
    if COUNT.load(Ordering::Relaxed) == 0 {
        return;
    }
    // SAFETY: as above.
    unsafe {
        if slot::slot((*raw).conn_config) == COUNTED {
            sys::apr_pool_cleanup_run((*raw).pool, raw.cast(), Some(on_end));
        }
    }
}

unsafe extern "C" fn on_end(raw: *mut c_void) -> c_int {
    let raw: *mut sys::conn_rec = raw.cast();
    // SAFETY: it is registered for a live connection, and runs once.
    unsafe { slot::set_slot((*raw).conn_config, null_mut()) };
    COUNT.fetch_sub(1, Ordering::SeqCst);
    0
}

unsafe extern "C" fn nothing(_: *mut c_void) -> c_int {
    0
}
