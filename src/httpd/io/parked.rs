//! In a daemon: connections that its front keeps, and asks nothing on at present.
//!
//! A server of HTTP/1.1 may close such a connection at any time, while its client may be sending on it; httpd's event MPM does so when its
//! workers are busy, and when a child ends. Here none is closed that may still be used: it waits where event does not look for victims. Where
//! it is not to be used any more (the child ends, or has no worker left for it, and others may), the front is told by an interim answer to no
//! request (100 Continue): mod_proxy does not send on a connection that is not empty, and where it has sent already, it takes the interim
//! answer for what it is, and gets its answer as well. Nobody sends on such a connection later, so a while after that it can be closed.

use crate::httpd::fork::{AtFork, at_fork};
use crate::httpd::guard::guard;
use crate::httpd::io::listener;
use crate::httpd::log::{self, Level};
use crate::httpd::module::retirement;
use crate::httpd::module::unfinished::WAITS;
use crate::httpd::request::connection::Connection;
use crate::httpd::request::server::{can_suspend, is_stopping};
use crate::httpd::sys;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr::null;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// httpd 2.4 has it since this patch level.
const SINCE: c_int = 63;

/// What the front is told, by a response that it passes to nobody (RFC 9110, 15.2).
const FAREWELL: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// For so long a front may take between looking at a connection and sending on it.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// A connection that nobody serves: since when, and when the front has been told.
struct Parked {
    since: Instant,
    told: Option<Instant>,
}

/// All connections of the front's, by the address of their record, which lives as long as they are in here. Who serves one says so first,
/// and so does httpd before it closes one (pre_close_connection).
type Known = HashMap<usize, Option<Parked>>;

static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

/// Does the child end?
static PARTING: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The lock of a thread that forks.
    static HELD: RefCell<Option<MutexGuard<'static, Option<Known>>>> = const { RefCell::new(None) };
}

/// Registers the hooks of a connection's end.
pub(super) fn register() {
    // SAFETY: registers a function that lives as long as the process.
    unsafe {
        let first = sys::APR_HOOK_REALLY_FIRST;
        sys::ap_hook_pre_close_connection(Some(on_close), null(), null(), first);
    }
}

unsafe extern "C" fn on_close(raw: *mut sys::conn_rec) -> c_int {
    if listener::is_daemon()
        && is_possible()
        && let Err(place) = guard("pre_close_connection", || serve(raw))
    {
        log::process(Level::Critical, &place);
    }
    sys::OK
}

/// Has the lock be nobody's in processes that applications fork: held by the thread that forks, it is given back on both sides. Nothing
/// ever waits where the MPM has no threads, and there the child's end may interrupt a fork, in the same thread (prefork's SIGTERM).
pub(crate) fn follow_forks() {
    if !is_possible() {
        return;
    }
    at_fork(AtFork {
        prepare: || hold(Some(known())),
        parent: || hold(None),
        child: || hold(None),
    });
}

fn hold(lock: Option<MutexGuard<'static, Option<Known>>>) {
    let _ = HELD.try_with(|held| held.try_borrow_mut().map(|mut held| *held = lock));
}

/// The socket of a connection that is known: as it is now, since who closes it says so first.
fn socket(raw: usize) -> Option<c_int> {
    let raw = std::ptr::with_exposed_provenance_mut(raw);
    // SAFETY: the record of a connection that is known lives.
    unsafe { Connection::from_raw(raw) }.and_then(Connection::descriptor)
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
    has_begun_to_end() || retirement::has_begun()
}

/// Has httpd told the child to end?
pub(super) fn has_begun_to_end() -> bool {
    PARTING.load(Ordering::Acquire) || is_stopping()
}

/// Are there so many that descriptors may run out (RLIMIT_NOFILE)?
pub(super) fn are_many() -> bool {
    static MOST: OnceLock<usize> = OnceLock::new();
    let most = *MOST.get_or_init(|| {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: fills in a structure of numbers.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
        usize::try_from(limit.rlim_cur / 4).unwrap_or(usize::MAX)
    });
    known().as_ref().is_some_and(|known| known.len() >= most)
}

fn known() -> MutexGuard<'static, Option<Known>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A new connection. It is known of no longer than its memory.
pub(super) fn meet(raw: *mut sys::conn_rec) {
    let before = known()
        .get_or_insert_default()
        .insert(raw.expose_provenance(), None);
    if before.is_some() {
        return;
    }
    // SAFETY: a live connection, whose pool calls the function once, before its memory goes.
    unsafe {
        let (end, nothing) = (Some(on_end as Cleanup), Some(nothing as Cleanup));
        sys::apr_pool_cleanup_register((*raw).pool, raw.cast(), end, nothing);
    }
}

type Cleanup = unsafe extern "C" fn(*mut c_void) -> c_int;

unsafe extern "C" fn on_end(raw: *mut c_void) -> c_int {
    if let Some(known) = known().as_mut() {
        known.remove(&raw.addr());
    }
    0
}

unsafe extern "C" fn nothing(_: *mut c_void) -> c_int {
    0
}

/// Has the connection, whose answer has been sent, wait for its next request. It has a state, and this thread serves it.
pub(super) fn park(raw: *mut sys::conn_rec) {
    let mut known = known();
    let mut one = Parked {
        since: Instant::now(),
        told: None,
    };
    if is_parting() {
        one.tell(raw.addr());
    }
    // Where it is not known, it has no end that would take it out again.
    if let Some(place) = known.as_mut().and_then(|known| known.get_mut(&raw.addr())) {
        *place = Some(one);
        // SAFETY: a live connection with a state, which this thread serves. The MPM has not got it back yet.
        unsafe {
            (*(*raw).cs).state = WAITS;
        }
    }
}

/// It is served, or closed.
pub(super) fn serve(raw: *mut sys::conn_rec) {
    if let Some(place) = known()
        .as_mut()
        .and_then(|known| known.get_mut(&raw.addr()))
    {
        *place = None;
    }
}

/// Does something to each connection that waits.
fn each(mut what: impl FnMut(usize, &mut Parked)) {
    for (&raw, place) in known().iter_mut().flatten() {
        if let Some(one) = place {
            what(raw, one);
        }
    }
}

/// Has the front use other connections than those that wait here, for that long or longer.
pub(super) fn send_away(age: Duration) {
    each(|raw, one| {
        if age.is_zero() || one.since.elapsed() >= age {
            one.tell(raw);
        }
    });
}

/// The child ends.
pub(crate) fn part() {
    PARTING.store(true, Ordering::Release);
    if !is_possible() {
        return;
    }
    send_away(Duration::ZERO);
}

/// Ends the connections whose front has been told so long ago.
pub(super) fn end_told(patience: Duration) {
    each(|raw, one| {
        if one.told.is_some_and(|told| told.elapsed() >= patience) {
            end(raw);
        }
    });
}

impl Parked {
    /// Tells the front, once.
    fn tell(&mut self, raw: usize) {
        let Some(socket) = socket(raw).filter(|_| self.told.is_none()) else {
            return;
        };
        self.told = Some(Instant::now());
        // SAFETY: an open socket, and bytes that live through the call. It is empty, and takes them at once, or its other side has gone.
        unsafe {
            let (data, flags) = (FAREWELL.as_ptr(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
            libc::send(socket, data.cast::<c_void>(), FAREWELL.len(), flags);
        }
    }
}

/// Has the MPM see the end of a connection on which nothing has come.
fn end(raw: usize) {
    let Some(socket) = socket(raw) else {
        return;
    };
    let mut place = libc::pollfd {
        fd: socket,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one place, and an open socket.
    unsafe {
        if libc::poll(&raw mut place, 1, 0) == 0 {
            libc::shutdown(socket, libc::SHUT_RDWR);
        }
    }
}
