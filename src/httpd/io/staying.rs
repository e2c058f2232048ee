//! In a daemon: the worker that has answered waits a moment for the connection's next request, or its end.
//!
//! The event MPM hands a connection back to its listener when it is answered: an epoll and two changes of threads, of which the front, which
//! closes it or asks again within a millisecond or few, needs none. A worker only stays while the child has fewer connections than workers:
//! nobody waits for it meanwhile.

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
        if status != Status::OK.0 || !stays(connection) {
            return status;
        }
        // SAFETY: it has a state, as `stays` has seen.
        unsafe {
            (*(*raw).cs).state = sys::conn_state_e_CONN_STATE_READ_REQUEST_LINE;
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

/// Sends what is left of the answer, and waits. Is the next request there? Where not, httpd goes on with the connection as it would have.
fn stays(connection: Connection<'_>) -> bool {
    let raw = connection.raw();
    // SAFETY: a live connection; its state is NULL or its own.
    let state = unsafe { raw.cs.as_ref() }.map(|state| state.state);
    if state != Some(sys::conn_state_e_CONN_STATE_WRITE_COMPLETION)
        || HERE.load(Ordering::Relaxed) >= workers()
        || is_stopping()
        || !is_worth_it()
        || !matches!(connection.push(), Ok(false))
    {
        return false;
    }
    let raw = connection.raw();
    let is_kept = raw.keepalive == sys::ap_conn_keepalive_e_AP_CONN_KEEPALIVE;
    if !is_kept || connection.aborted() || raw.data_in_input_filters != 0 {
        return false;
    }
    let Some(descriptor) = connection.descriptor() else {
        return false;
    };
    let mut place = libc::pollfd {
        fd: descriptor,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one place, as it is told.
    let is_there = unsafe { libc::poll(&raw mut place, 1, MOMENT) } > 0;
    if is_there {
        IN_VAIN.store(0, Ordering::Relaxed);
    } else {
        IN_VAIN.fetch_add(1, Ordering::Relaxed);
    }
    is_there
}

/// Have others stayed with success, or is it time to try again?
fn is_worth_it() -> bool {
    let count = IN_VAIN.load(Ordering::Relaxed);
    if count <= PATIENCE {
        return true;
    }
    IN_VAIN
        .fetch_add(1, Ordering::Relaxed)
        .is_multiple_of(SELDOM)
}

/// How many threads of this child answer requests.
fn workers() -> usize {
    usize::try_from(mpm_query(sys::AP_MPMQ_MAX_THREADS)).unwrap_or(0)
}
