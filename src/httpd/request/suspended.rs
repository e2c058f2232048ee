//! Requests that have left their worker (SUSPENDED): the MPM event forgets their connection, and whoever has taken it over owns it
//! until it closes it.

use crate::httpd::apr::brigade::append;
use crate::httpd::request::Request;
use crate::httpd::request::connection::Connection;
use crate::httpd::request::server::can_suspend;
use crate::httpd::sys;
use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A connection that the MPM has let go, with the request that it serves. Owned by one thread at a time.
pub(crate) struct Suspended {
    connection: NonNull<sys::conn_rec>,
    /// None once the request has ended.
    request: Option<NonNull<sys::request_rec>>,
    since: Instant,
    /// Is the worker known to have let go altogether?
    released: Arc<AtomicBool>,
}

// SAFETY: the MPM has forgotten the connection, and whoever owns this is the only one to use it.
unsafe impl Send for Suspended {}

thread_local! {
    /// What this worker is to say, as soon as it does something else, of the connection that it has let go last.
    static LETTING_GO_OF: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Says that this worker does something else. Gives what it is to say next.
fn release() -> Arc<AtomicBool> {
    let next = Arc::new(AtomicBool::new(false));
    let before = LETTING_GO_OF.with(|last| last.borrow_mut().replace(next.clone()));
    if let Some(before) = before {
        before.store(true, Ordering::Release);
    }
    next
}

/// A worker is at work on a request: it has let go altogether of the connection before.
pub(crate) fn note_release() {
    let last = LETTING_GO_OF.with(|last| last.borrow_mut().take());
    if let Some(last) = last {
        last.store(true, Ordering::Release);
    }
}

/// For so long the worker may still write to its record of the connection, behind the hook.
const LETTING_GO: Duration = Duration::from_secs(1);

impl Request<'_> {
    /// May the request leave its worker? Where the MPM can do without (event), for a request that came by itself on a connection of
    /// its own.
    pub(crate) fn may_leave(self) -> bool {
        // SAFETY: a live request and its connection.
        let is_known = unsafe { !(*(*self.as_ptr()).connection).cs.is_null() };
        can_suspend()
            && is_known
            && self.connection().is_primary()
            && self.main().or(self.prev()).is_none()
    }
}

impl Suspended {
    /// # Safety
    /// The MPM has just let go of the connection (suspend_connection), and both live.
    pub(in crate::httpd) unsafe fn new(
        connection: NonNull<sys::conn_rec>,
        request: NonNull<sys::request_rec>,
    ) -> Suspended {
        Suspended {
            connection,
            request: Some(request),
            since: Instant::now(),
            released: release(),
        }
    }

    /// Gives the request; None when it has ended.
    pub(crate) fn request(&self) -> Option<Request<'_>> {
        // SAFETY: it lives until `finish`.
        unsafe { Request::from_raw(self.request?.as_ptr()) }
    }

    pub(crate) fn connection(&self) -> Option<Connection<'_>> {
        // SAFETY: it lives until `close`.
        unsafe { Connection::from_raw(self.connection.as_ptr()) }
    }

    /// Has the worker let go of it altogether, so that it may be used?
    pub(crate) fn is_let_go(&self) -> bool {
        // SAFETY: a live connection. The worker sets the field to NULL as soon as its hooks have run.
        let handle = unsafe { (&raw const (*self.connection.as_ptr()).sbh).read_volatile() };
        handle.is_null() || self.since.elapsed() >= LETTING_GO
    }

    /// May it be destroyed? The worker writes one field more after that.
    pub(crate) fn may_be_closed(&self) -> bool {
        self.released.load(Ordering::Acquire) || self.since.elapsed() >= LETTING_GO
    }

    /// Ends the request, as httpd does: it is logged, and its pool ends, with all that belongs to its end. Then has the other side know
    /// that nothing more comes. False where there is nobody any more, or it has not taken what there was. Waits for no client.
    pub(crate) fn finish(&mut self) -> bool {
        let Some(request) = self.request() else {
            return false;
        };
        // What it does not take at once it has not taken for long, or it has come with an error.
        if request.connection().push() != Ok(false) {
            self.give_up();
        }
        let Some(request) = self.request.take() else {
            return false;
        };
        // SAFETY: the request and its connection live; the end-of-request bucket destroys the request.
        let is_gone = unsafe {
            let (request, connection) = (request.as_ptr(), self.connection.as_ptr());
            sys::ap_finalize_request_protocol(request);
            let allocator = (*connection).bucket_alloc;
            let brigade = sys::apr_brigade_create((*connection).pool, allocator);
            append(brigade, sys::ap_bucket_eor_create(allocator, request));
            sys::ap_pass_brigade((*connection).output_filters, brigade);
            // Where a filter has failed, what it has left still ends here.
            sys::apr_brigade_cleanup(brigade.cast());
            let is_pushed = self.connection().map(Connection::push) == Some(Ok(false));
            let is_gone = sys::ap_prep_lingering_close(connection) != 0;
            let is_told = self.connection().map(Connection::push) == Some(Ok(false));
            is_gone || !is_pushed || !is_told
        };
        self.shut(is_gone);
        !is_gone
    }

    /// Has the other side know that nothing more comes (shutdown).
    fn shut(&self, is_gone: bool) {
        let how = if is_gone {
            libc::SHUT_RDWR
        } else {
            libc::SHUT_WR
        };
        if let Some(descriptor) = self.connection().and_then(Connection::descriptor) {
            // SAFETY: the connection's socket. It fails where there is no other side any more.
            unsafe { libc::shutdown(descriptor, how) };
        }
    }

    /// Has nothing more sent.
    pub(crate) fn give_up(&self) {
        // SAFETY: a live connection.
        unsafe { (*self.connection.as_ptr()).aborted = 1 }
    }

    /// Reads and forgets what the client still sends (recv). Has it come to its end?
    pub(crate) fn drain(&self) -> bool {
        let Some(descriptor) = self.connection().and_then(Connection::descriptor) else {
            return true;
        };
        let mut rest = [0_u8; 4096];
        // SAFETY: as many bytes as there is room for.
        let count = unsafe {
            libc::recv(
                descriptor,
                rest.as_mut_ptr().cast(),
                rest.len(),
                libc::MSG_DONTWAIT,
            )
        };
        let would_wait =
            || std::io::Error::last_os_error().kind() == std::io::ErrorKind::WouldBlock;
        count == 0 || count < 0 && !would_wait()
    }

    /// Closes the connection: httpd counts one less.
    pub(crate) fn close(self) {
        // SAFETY: nobody else knows the connection; its socket is closed with its pool.
        unsafe { sys::apr_pool_destroy((*self.connection.as_ptr()).pool) }
    }
}
