//! The lease: how Python holds a request without owning it (invariant 3).
//!
//! A lease is *open* while a phase runs Python for the request. Each use *holds* it for one operation; a thread
//! that the handler started may hold it too, one thread at a time, until the phase ends. When the request's pool
//! ends, the lease is revoked: what Python still keeps then raises instead of reaching freed memory.

use super::connection::Connection;
use super::request::Request;
use super::table::{OwnedTable, Table};
use std::cell::Cell;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::thread::LocalKey;

/// Owned by the request's pool and by every Python object that reaches the request; freed by the last of them.
/// `host` is NULL once revoked. `value` is only reached by the thread in `owner`.
pub(crate) struct Lease<T> {
    /// The request_rec or conn_rec.
    host: AtomicPtr<c_void>,
    /// How many phases are running; 0 is closed.
    open: AtomicUsize,
    /// The thread that holds the lease, as `this_thread` numbers it; 0 is nobody.
    owner: AtomicUsize,
    /// How often the owner holds it; touched by the owner alone.
    depth: Cell<usize>,
    /// What may be asked without holding the lease.
    marks: AtomicU32,
    value: T,
}

// SAFETY: `depth` and `value` are touched by the owning thread alone, and ownership passes through `owner`.
unsafe impl<T: Send> Sync for Lease<T> {}

/// What happens to a lease's value when the request ends.
pub(crate) trait Ending: Default + Send + 'static {
    /// Called once, in the thread that ends the request, while the request is still whole.
    fn end(request: Request<'_>, lease: &Arc<Lease<Self>>);

    /// Has `end` nothing to do? Asked where nobody else refers to the lease.
    fn is_settled(&mut self, request: Request<'_>) -> bool;

    /// Where a thread keeps a lease for its next request.
    fn spare() -> &'static LocalKey<Spare<Self>>;
}

/// A lease that nobody uses, with a fresh value, or none.
pub(crate) type Spare<T> = Cell<Option<Arc<Lease<T>>>>;

/// Why a lease cannot be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request has ended.
    Expired,
    /// No phase is running: httpd itself is at work on the request.
    Closed,
    /// Another thread is in the middle of an operation.
    Busy,
}

/// One operation's use of a request, in this thread.
pub(crate) struct Held<'a, T>(&'a Lease<T>, PhantomData<*const ()>);

impl<T: Ending> Lease<T> {
    pub(super) fn for_request<'r>(request: Request<'r>) -> &'r Arc<Lease<T>> {
        let host = request.as_ptr().cast();
        let spare = T::spare().try_with(Cell::take).ok().flatten();
        let lease = match spare {
            Some(lease) => {
                lease.host.store(host, Ordering::SeqCst);
                lease
            }
            None => Lease::new(host, T::default()),
        };
        &request.pool().on_end(Tenancy(lease)).0
    }
}

impl Lease<OfConnection> {
    /// A lease on a connection, revoked when its pool ends.
    pub(crate) fn for_connection<'c>(connection: Connection<'c>) -> &'c Arc<Lease<OfConnection>> {
        let lease = Lease::new(connection.as_ptr().cast(), OfConnection);
        &connection.pool().on_end(ConnectionTenancy(lease)).0
    }
}

/// Marks the lease of a connection.
pub(crate) struct OfConnection;

impl Lease<OwnedTable> {
    /// A lease on a table that nobody takes away: it only keeps threads apart.
    pub(crate) fn for_table(table: OwnedTable) -> Lease<OwnedTable> {
        let lease = Lease::vacant(std::ptr::dangling_mut(), table);
        lease.open();
        lease
    }
}

impl Held<'_, OwnedTable> {
    pub(crate) fn table(&self) -> Table<'_> {
        self.0.value.table()
    }
}

impl<T> Lease<T> {
    fn new(host: *mut c_void, value: T) -> Arc<Lease<T>> {
        Arc::new(Lease::vacant(host, value))
    }

    fn vacant(host: *mut c_void, value: T) -> Lease<T> {
        Lease {
            host: AtomicPtr::new(host),
            open: AtomicUsize::new(0),
            owner: AtomicUsize::new(0),
            depth: Cell::new(0),
            marks: AtomicU32::new(0),
            value,
        }
    }

    /// The bits that `Held::mark` has set; to be asked at any time.
    pub(crate) fn marks(&self) -> u32 {
        self.marks.load(Ordering::Relaxed)
    }

    /// A phase begins to run Python for this request; called by the request's own thread.
    pub(crate) fn open(&self) {
        self.open.fetch_add(1, Ordering::SeqCst);
    }

    /// Does no phase run?
    pub(crate) fn is_closed(&self) -> bool {
        self.open.load(Ordering::SeqCst) == 0
    }

    /// The phase ends. `wait` is called again and again while another thread is still in an operation.
    pub(crate) fn close(&self, mut wait: impl FnMut()) {
        if self.open.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        let me = this_thread();
        while !matches!(self.owner.load(Ordering::SeqCst), owner if owner == 0 || owner == me) {
            wait();
        }
    }

    /// Holds the request for one operation.
    ///
    /// # Errors
    /// `Refusal` says why it cannot be had.
    pub(crate) fn hold(&self) -> Result<Held<'_, T>, Refusal> {
        let me = this_thread();
        match self
            .owner
            .compare_exchange(0, me, Ordering::SeqCst, Ordering::SeqCst)
        {
            Ok(_) => {}
            Err(owner) if owner == me => {}
            Err(_) => return Err(self.refusal().unwrap_or(Refusal::Busy)),
        }
        // From here on `Held` gives the ownership back.
        self.depth.set(self.depth.get() + 1);
        let held = Held(self, PhantomData);
        self.refusal().map_or(Ok(held), Err)
    }

    fn refusal(&self) -> Option<Refusal> {
        if self.host.load(Ordering::SeqCst).is_null() {
            Some(Refusal::Expired)
        } else if self.open.load(Ordering::SeqCst) == 0 {
            Some(Refusal::Closed)
        } else {
            None
        }
    }
}

impl Held<'_, OfConnection> {
    pub(crate) fn connection(&self) -> Connection<'_> {
        // SAFETY: as for `request`.
        unsafe {
            Connection::from_raw(self.0.host.load(Ordering::Relaxed).cast()).unwrap_unchecked()
        }
    }
}

impl<'a, T: Ending> Held<'a, T> {
    pub(crate) fn request(&self) -> Request<'_> {
        // SAFETY: `hold` found the pointer set and the lease open; it is revoked only after `close`, which waits for us.
        unsafe { Request::from_raw(self.0.host.load(Ordering::Relaxed).cast()).unwrap_unchecked() }
    }

    pub(crate) fn value(&self) -> &'a T {
        &self.0.value
    }

    /// Sets bits of the lease's marks.
    pub(crate) fn mark(&self, bits: u32) {
        self.0.marks.fetch_or(bits, Ordering::Relaxed);
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        let depth = self.0.depth.get() - 1;
        self.0.depth.set(depth);
        if depth == 0 {
            self.0.owner.store(0, Ordering::SeqCst);
        }
    }
}

/// The pool's share of a lease.
struct Tenancy<T: Ending>(Arc<Lease<T>>);

impl<T: Ending> Drop for Tenancy<T> {
    fn drop(&mut self) {
        // SAFETY: the pool's clean-ups run before its memory, in which the request lies, is freed.
        let request = unsafe { Request::from_raw(self.0.host.load(Ordering::SeqCst).cast()) };
        if let Some(request) = request {
            let settled =
                Arc::get_mut(&mut self.0).is_some_and(|lease| lease.value.is_settled(request));
            if !settled {
                T::end(request, &self.0);
                self.0.host.store(null_mut(), Ordering::SeqCst);
            }
        }
        // Python has let go of it, as a rule: then the next request takes it over.
        if let Some(lease) = Arc::get_mut(&mut self.0) {
            *lease = Lease::vacant(null_mut(), T::default());
            let lease = self.0.clone();
            // A thread that ends keeps none.
            let _ = T::spare().try_with(|spare| spare.set(Some(lease)));
        }
    }
}

/// The pool's share of a connection's lease.
struct ConnectionTenancy(Arc<Lease<OfConnection>>);

impl Drop for ConnectionTenancy {
    fn drop(&mut self) {
        self.0.host.store(null_mut(), Ordering::SeqCst);
    }
}

/// A number that no other living thread has, and never 0. (A thread-local of ours would take more to reach.)
fn this_thread() -> usize {
    // SAFETY: no conditions.
    unsafe { libc::pthread_self() as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Nothing;
    thread_local! {
        static SPARE: Spare<Nothing> = const { Cell::new(None) };
    }
    impl Ending for Nothing {
        fn end(_: Request<'_>, _: &Arc<Lease<Nothing>>) {}
        fn is_settled(&mut self, _: Request<'_>) -> bool {
            true
        }
        fn spare() -> &'static LocalKey<Spare<Nothing>> {
            &SPARE
        }
    }

    fn lease() -> Arc<Lease<Nothing>> {
        // The pointer is never followed by these tests.
        Lease::new(std::ptr::dangling_mut::<u8>().cast(), Nothing)
    }

    #[test]
    fn a_closed_or_revoked_lease_refuses() {
        let lease = lease();
        assert_eq!(lease.hold().err(), Some(Refusal::Closed));
        lease.open();
        assert!(lease.hold().is_ok());
        lease.close(|| {});
        assert_eq!(lease.hold().err(), Some(Refusal::Closed));
        lease.host.store(null_mut(), Ordering::SeqCst);
        assert_eq!(lease.hold().err(), Some(Refusal::Expired));
    }

    #[test]
    fn one_thread_holds_at_a_time_and_may_hold_again() {
        let lease = lease();
        lease.open();
        let first = lease.hold();
        let second = lease.hold();
        assert!(first.is_ok() && second.is_ok());
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(lease.hold().err(), Some(Refusal::Busy)));
        });
        drop((first, second));
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(lease.hold().is_ok()));
        });
    }
}
