//! In a daemon: connections that its front keeps, and asks nothing on at present.
//!
//! A server of HTTP/1.1 may close such a connection at any time, while its client may be sending on it; httpd's event MPM does so when its
//! workers are busy, and when a child ends. Here none is closed that may still be used: it waits where event does not look for victims. Where
//! it is not to be used any more (the child ends, or has no worker left for it, and others may), the front is told by an interim answer to no
//! request (100 Continue): mod_proxy does not send on a connection that is not empty, and where it has sent already, it takes the interim
//! answer for what it is, and gets its answer as well. Nobody sends on such a connection later, so a while after that it can be closed.

use crate::httpd::guard::guard;
use crate::httpd::io::listener;
use crate::httpd::log::{self, Level};
use crate::httpd::module::retirement;
use crate::httpd::request::server::{can_suspend, is_stopping};
use crate::httpd::sys;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr::null;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The state in which event waits for a connection as long as Timeout, and does not close it meanwhile (CONN_STATE_ASYNC_WAITIO).
const WAITS: sys::conn_state_e = 8;
/// httpd 2.4 has it since this patch level.
const SINCE: c_int = 63;

/// What the front is told, by a response that it passes to nobody (RFC 9110, 15.2).
const FAREWELL: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// For so long a front may take between looking at a connection and sending on it.
const PATIENCE: Duration = Duration::from_secs(3);

/// A connection that nobody serves: its socket, and since when that is so, and the front has been told.
struct Parked {
    socket: c_int,
    since: Instant,
    told: Option<Instant>,
}

/// By the address of their record. Who serves one takes it out first, and so does httpd before it closes one (pre_close_connection): what is
/// in here is open, as long as the lock is held.
static PARKED: Mutex<Option<HashMap<usize, Parked>>> = Mutex::new(None);

/// Does the child end?
static PARTING: AtomicBool = AtomicBool::new(false);

/// Registers the hooks of a connection's end.
pub(super) fn register() {
    // SAFETY: registers a function that lives as long as the process.
    unsafe {
        let last = sys::APR_HOOK_REALLY_LAST;
        sys::ap_hook_pre_close_connection(Some(on_close), null(), null(), last);
    }
}

unsafe extern "C" fn on_close(raw: *mut sys::conn_rec) -> c_int {
    on_close_of(raw);
    sys::OK
}

fn on_close_of(raw: *mut sys::conn_rec) {
    if listener::is_daemon()
        && let Err(place) = guard("pre_close_connection", || forget(raw))
    {
        log::process(Level::Critical, &place);
    }
}

/// Can connections wait where event leaves them alone?
pub(super) fn is_possible() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        // SAFETY: fills in a structure of plain numbers.
        let version = unsafe {
            let mut version: sys::ap_version_t = std::mem::zeroed();
            sys::ap_get_server_revision(&raw mut version);
            version
        };
        can_suspend() && version.major == 2 && version.minor == 4 && version.patch >= SINCE
    })
}

/// Does the child end, so that its connections are not to be used any more?
pub(super) fn is_parting() -> bool {
    PARTING.load(Ordering::Acquire) || is_stopping() || retirement::has_begun()
}

fn parked() -> MutexGuard<'static, Option<HashMap<usize, Parked>>> {
    PARKED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A new connection: where httpd gives it up without further ado, it is known of no longer than its memory.
pub(super) fn meet(raw: *mut sys::conn_rec) {
    // SAFETY: a live connection, whose pool calls the function once, before its memory goes.
    unsafe {
        let (end, nothing) = (Some(on_end as Cleanup), Some(nothing as Cleanup));
        sys::apr_pool_cleanup_register((*raw).pool, raw.cast(), end, nothing);
    }
}

type Cleanup = unsafe extern "C" fn(*mut c_void) -> c_int;

unsafe extern "C" fn on_end(raw: *mut c_void) -> c_int {
    on_close_of(raw.cast());
    0
}

unsafe extern "C" fn nothing(_: *mut c_void) -> c_int {
    0
}

/// Has the connection, whose answer has been sent, wait for its next request. It has a state, and this thread serves it.
pub(super) fn park(raw: *mut sys::conn_rec, socket: c_int) {
    let mut parked = parked();
    let mut one = Parked {
        socket,
        since: Instant::now(),
        told: None,
    };
    if is_parting() {
        one.tell();
    }
    parked.get_or_insert_default().insert(raw.addr(), one);
    // SAFETY: a live connection with a state, which this thread serves. The MPM has not got it back yet.
    unsafe {
        (*(*raw).cs).state = WAITS;
    }
}

/// It is served, or closed.
pub(super) fn forget(raw: *mut sys::conn_rec) {
    if let Some(parked) = parked().as_mut() {
        parked.remove(&raw.addr());
    }
}

/// Has the front use other connections than those that wait here, for that long or longer.
pub(super) fn send_away(age: Duration) {
    for one in parked().iter_mut().flat_map(HashMap::values_mut) {
        if age.is_zero() || one.since.elapsed() >= age {
            one.tell();
        }
    }
}

/// The child ends.
pub(crate) fn part() {
    PARTING.store(true, Ordering::Release);
    send_away(Duration::ZERO);
}

/// Ends the connections whose front has been told long enough ago.
pub(super) fn end_told() {
    for one in parked().iter_mut().flat_map(HashMap::values_mut) {
        let is_over = one.told.is_some_and(|told| told.elapsed() >= PATIENCE);
        if is_over && !one.is_asked() {
            one.end();
        }
    }
}

impl Parked {
    /// Tells the front, once.
    fn tell(&mut self) {
        if self.told.is_some() {
            return;
        }
        self.told = Some(Instant::now());
        // SAFETY: an open socket, and bytes that live through the call. It is empty, and takes them at once, or its other side has gone.
        unsafe {
            let (data, flags) = (FAREWELL.as_ptr(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
            libc::send(self.socket, data.cast::<c_void>(), FAREWELL.len(), flags);
        }
    }

    fn is_asked(&self) -> bool {
        let mut place = libc::pollfd {
            fd: self.socket,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one place.
        unsafe { libc::poll(&raw mut place, 1, 0) > 0 }
    }

    /// Has the MPM see its end.
    fn end(&self) {
        // SAFETY: an open socket.
        unsafe { libc::shutdown(self.socket, libc::SHUT_RDWR) };
    }
}
