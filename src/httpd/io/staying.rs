//! In a daemon: the worker that has answered waits a moment for the connection's next request, or its end.
//!
//! The event MPM hands a connection back to its listener when it is answered: an epoll and two changes of threads, of which the front, which
//! asks again within a millisecond or few, needs none. A worker only stays while another one of its child is free: nobody waits for it
//! meanwhile. Where the next request does not come, the connection is `parked`.

use crate::httpd::guard::guard;
use crate::httpd::io::{forked, listener, parked};
use crate::httpd::log::{self, Level};
use crate::httpd::request::connection::Connection;
use crate::httpd::request::server::{Server, can_suspend, mpm_query};
use crate::httpd::status::Status;
use crate::httpd::sys;
use std::cell::Cell;
use std::ffi::c_int;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How long a worker stays, in milliseconds: longer than the front and a client take between two requests, also where all of them share a
/// processor; so long a new connection may wait at most for a worker that stays.
const MOMENT: c_int = 5;

/// After so many times in vain, one of `SELDOM` requests is tried.
const PATIENCE: usize = 8;
const SELDOM: usize = 32;

/// Workers of this child that serve a request of the front's.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

/// Workers that stay at a connection.
static STAYING: AtomicUsize = AtomicUsize::new(0);

/// How often the last workers that stayed have stayed in vain, one after the other; beyond `PATIENCE` it counts requests.
static IN_VAIN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The connection that this worker is at.
    static AT: Cell<*mut sys::conn_rec> = const { Cell::new(null_mut()) };
}

/// Registers the hook: before all others, which it calls.
pub(crate) fn register() {
    parked::register();
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

/// Counts a worker as long as it lives.
struct Counted(&'static AtomicUsize);

impl Counted {
    fn new(count: &'static AtomicUsize) -> Counted {
        count.fetch_add(1, Ordering::SeqCst);
        Counted(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves requests of the connection as long as they follow one another.
fn serve(connection: Connection<'_>) -> c_int {
    let raw = connection.as_ptr();
    if connection.keepalives() == 0 {
        parked::meet(raw);
    }
    parked::serve(raw);
    loop {
        let worker = Counted::new(&AT_WORK);
        spread();
        AT.with(|at| at.set(raw));
        // SAFETY: a live connection, which httpd's own hooks serve.
        let status = unsafe { sys::ap_run_process_connection(raw) };
        AT.with(|at| at.set(null_mut()));
        forked::end_forked();
        drop(worker);
        if status != Status::OK.0 || !is_idle(connection) {
            return status;
        }
        if !connection.descriptor().is_some_and(is_followed) {
            if !parked::is_possible() {
                return status;
            }
            parked::park(raw);
            // Whoever has come meanwhile has not seen it there.
            spread();
            return status;
        }
        // SAFETY: it has a state, as `is_idle` has seen.
        unsafe {
            (*(*raw).cs).state = sys::conn_state_e_CONN_STATE_READ_REQUEST_LINE;
        }
    }
}

/// Event counts connections that wait: once all workers have been busy, it accepts none as long as there are as many connections as workers,
/// and no two workers are free. With fewer workers than these that would be often, so that no connection is kept.
const FEW: usize = 8;

/// Is the connection to end behind the answer that is about to be sent? Where nothing keeps httpd from closing it later, perhaps while its
/// front sends on it; where the child ends; and where connections that wait would keep others out.
pub(super) fn is_last_answer() -> bool {
    !parked::is_possible()
        || parked::is_parting()
        || threads() < FEW
        || is_narrow()
        || is_crowded()
        || parked::are_many()
}

/// Has other children serve what comes next, where there are others.
fn spread() {
    if is_crowded() {
        parked::send_away(Duration::ZERO);
    }
}

/// Is no more than one worker free?
fn is_narrow() -> bool {
    AT_WORK.load(Ordering::Relaxed) + STAYING.load(Ordering::Relaxed) + 1 >= threads()
}

/// Are there other children, which new connections would go to (AP_MPMQ_MAX_DAEMONS), and more than one worker at work in this one?
fn is_crowded() -> bool {
    AT_WORK.load(Ordering::SeqCst) > 1 && mpm_query(sys::AP_MPMQ_MAX_DAEMONS) > 1
}

/// How many workers a child has (AP_MPMQ_MAX_THREADS).
fn threads() -> usize {
    usize::try_from(mpm_query(sys::AP_MPMQ_MAX_THREADS)).unwrap_or(0)
}

/// For how long a connection waits at most: event would close it after Timeout, without a word.
fn longest() -> Duration {
    let timeout = Server::main().map_or(0.0, Server::timeout);
    Duration::try_from_secs_f64((timeout / 2.0).min(60.0)).unwrap_or_default()
}

/// Where connections that wait keep others out, they end sooner.
const HURRY: Duration = Duration::from_secs(1);

/// To be called some times a second: has the front give up what waits here for long or in the way of others, and closes what it has given up.
/// How far is it with the child's end?
pub(crate) fn look() -> Parting {
    static OTHERS_WAIT: AtomicBool = AtomicBool::new(false);
    let (is_parting, is_ending) = (parked::is_parting(), parked::has_begun_to_end());
    let do_others = !is_parting && is_narrow() && listener::has_waiting();
    let is_urgent = OTHERS_WAIT.swap(do_others, Ordering::Relaxed) && do_others;
    let age = if is_urgent || is_parting {
        Duration::ZERO
    } else {
        longest()
    };
    parked::send_away(age);
    let patience = if is_urgent { HURRY } else { parked::PATIENCE };
    parked::end_told(patience);
    match is_ending {
        false => Parting::NotYet,
        true if listener::are_closed() && STAYING.load(Ordering::SeqCst) == 0 => Parting::Done,
        true => Parting::Begun,
    }
}

/// How far a child that ends is with its front.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parting {
    NotYet,
    Begun,
    /// It accepts nothing more, and the front asks nothing more on what it has: each connection has been told so, or is with its last answer.
    Done,
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

/// Waits a moment, where nobody else waits for this worker. Is the next request, or the end, there?
fn is_followed(descriptor: c_int) -> bool {
    if is_narrow() || parked::is_parting() || !is_worth_it() {
        return false;
    }
    let _stays = Counted::new(&STAYING);
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
