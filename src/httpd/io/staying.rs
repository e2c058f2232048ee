//! In a daemon: the worker that has answered waits a moment for the connection's next request.
//!
//! The event MPM hands a kept connection back to its listener between two requests: an epoll and two changes of threads, a third of what a
//! short request costs a daemon. The front uses the connection that it has used last, so under load the next request comes
//! within a millisecond or few. A worker only stays while the child has fewer connections than workers: nobody waits for it meanwhile.
//!
//! And a connection is not closed for want of workers: event closes all that wait in its own way for a next request when its workers are
//! busy, and the front may be sending on one of them.

use crate::httpd::guard::guard;
use crate::httpd::io::listener;
use crate::httpd::log::{self, Level};
use crate::httpd::request::connection::Connection;
use crate::httpd::request::server::{can_suspend, is_stopping, mpm_query};
use crate::httpd::status::Status;
use crate::httpd::sys;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How long a worker stays, in milliseconds: longer than the front and a client take between two requests, also where all of them share a
/// processor; so long a new connection may wait at most for a worker that stays.
const MOMENT: c_int = 5;

/// The same in a child that is to end, which closes what it hands back: what is used often gets an answer that says so first.
const LAST_MOMENT: c_int = 1000;

/// The state in which event waits for a connection as long as Timeout, and does not close it meanwhile (CONN_STATE_ASYNC_WAITIO); httpd
/// has it since 2.4.63.
const WAITS: Option<sys::conn_state_e> = if sys::conn_state_e_CONN_STATE_NUM > 8 {
    Some(8)
} else {
    None
};

/// After so many times in vain, one of `SELDOM` requests is tried.
const PATIENCE: usize = 8;
const SELDOM: usize = 32;

/// Connections of the front's that this child has.
static HERE: AtomicUsize = AtomicUsize::new(0);

/// How often the last workers that stayed have stayed in vain, one after the other; beyond `PATIENCE` it counts requests.
static IN_VAIN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The connection that this worker is at.
    static AT: Cell<*mut sys::conn_rec> = const { Cell::new(null_mut()) };
}

/// Registers the hook: before all others, which it calls.
pub(crate) fn register() {
    // SAFETY: registers a function that lives as long as the process.
    unsafe {
        sys::ap_hook_process_connection(
            Some(on_connection),
            null(),
            null(),
            sys::APR_HOOK_REALLY_FIRST,
        );
    }
}

unsafe extern "C" fn on_connection(raw: *mut sys::conn_rec) -> c_int {
    let run = || {
        // SAFETY: httpd passes a live connection, which this thread serves.
        let connection = unsafe { Connection::from_raw(raw) };
        let is_inner = AT.with(|at| std::ptr::eq(at.get(), raw));
        match connection {
            Some(connection) if !is_inner && listener::is_from_front(raw) && can_suspend() => {
                serve(connection)
            }
            _ => Status::DECLINED.0,
        }
    };
    guard("stay", run).unwrap_or_else(|place| {
        AT.with(|at| at.set(null_mut()));
        log::process(Level::Critical, &place);
        Status::DECLINED.0
    })
}

/// Serves requests of the connection as long as they follow one another.
fn serve(connection: Connection<'_>) -> c_int {
    let raw = connection.as_ptr();
    // SAFETY: a live connection; its pool counts it out when it ends.
    unsafe {
        if (*raw).keepalives == 0 {
            HERE.fetch_add(1, Ordering::Relaxed);
            let (data, leave) = (raw.cast_const().cast::<c_void>(), Some(on_end as Cleanup));
            sys::apr_pool_cleanup_register((*raw).pool, data, leave, Some(nothing));
        }
    }
    loop {
        AT.with(|at| at.set(raw));
        // SAFETY: a live connection, which httpd's own hooks serve.
        let status = unsafe { sys::ap_run_process_connection(raw) };
        AT.with(|at| at.set(null_mut()));
        if status != Status::OK.0 || !is_idle(connection) {
            return status;
        }
        let state = if is_followed(connection) {
            Some(sys::conn_state_e_CONN_STATE_READ_REQUEST_LINE)
        } else {
            WAITS.filter(|_| 2 * HERE.load(Ordering::Relaxed) >= workers() && !is_stopping())
        };
        // SAFETY: it has a state, as `is_idle` has seen.
        unsafe {
            if let Some(state) = state {
                (*(*raw).cs).state = state;
            }
        }
        if state != Some(sys::conn_state_e_CONN_STATE_READ_REQUEST_LINE) {
            return status;
        }
    }
}

type Cleanup = unsafe extern "C" fn(*mut c_void) -> c_int;

unsafe extern "C" fn on_end(_: *mut c_void) -> c_int {
    HERE.fetch_sub(1, Ordering::Relaxed);
    0
}

unsafe extern "C" fn nothing(_: *mut c_void) -> c_int {
    0
}

/// Sends what is left of the answer. Is nothing else to be done, but to wait for the next request?
fn is_idle(connection: Connection<'_>) -> bool {
    // SAFETY: a live connection; its state is NULL or its own.
    let state = unsafe { connection.raw().cs.as_ref() }.map(|state| state.state);
    if state != Some(sys::conn_state_e_CONN_STATE_WRITE_COMPLETION)
        || !matches!(connection.push(), Ok(false))
    {
        return false;
    }
    let raw = connection.raw();
    let is_kept = raw.keepalive == sys::ap_conn_keepalive_e_AP_CONN_KEEPALIVE;
    is_kept && !connection.aborted() && raw.data_in_input_filters == 0
}

/// Waits, where nobody else waits for this worker. Is the next request there?
fn is_followed(connection: Connection<'_>) -> bool {
    let Some(descriptor) = connection.descriptor() else {
        return false;
    };
    if !is_stopping() && HERE.load(Ordering::Relaxed) < workers() && is_worth_it() {
        let is_there = comes(descriptor, MOMENT);
        if is_there {
            IN_VAIN.store(0, Ordering::Relaxed);
            return true;
        }
        IN_VAIN.fetch_add(1, Ordering::Relaxed);
    }
    is_stopping() && comes(descriptor, LAST_MOMENT)
}

/// Can something be read within so many milliseconds?
fn comes(descriptor: c_int, milliseconds: c_int) -> bool {
    let mut place = libc::pollfd {
        fd: descriptor,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one place, as it is told.
    unsafe { libc::poll(&raw mut place, 1, milliseconds) > 0 }
}

/// Have others stayed with success, or is it time to try again?
fn is_worth_it() -> bool {
    let count = IN_VAIN.load(Ordering::Relaxed);
    if count <= PATIENCE {
        return true;
    }
    IN_VAIN.fetch_add(1, Ordering::Relaxed) % SELDOM == 0
}

/// How many threads of this child answer requests.
fn workers() -> usize {
    usize::try_from(mpm_query(sys::AP_MPMQ_MAX_THREADS)).unwrap_or(0)
}
