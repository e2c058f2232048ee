//! The lease: how Python holds a request without owning it (invariant 3).
//!
//! For each operation the lease is *held*: the thread takes the turn of the request's family (`turn.rs`), and checks that the
//! request is alive and a phase is running. When the request's pool ends, the lease is revoked: objects that Python still keeps
//! raise an exception then, and do not reach freed memory.
//!
//! A request ends in a pre-clean-up of its pool (apr_pool_pre_cleanup_register). Ordinary clean-ups come too late: APR
//! destroys a pool's children before it runs them, and a fast internal redirect (DirectoryIndex, MultiViews) has left the
//! request with a configuration, notes and filters that lie in the pool of a sub-request. Internal redirects lie in the pool of the
//! first request, so they all end together, the last one first, while each can still see the others.

use crate::httpd::apr::table::{OwnedTable, Table};
use crate::httpd::module::kept::Module;
use crate::httpd::module::slot;
use crate::httpd::request::Request;
use crate::httpd::request::connection::Connection;
use crate::httpd::request::times::Times;
use crate::httpd::request::turn::{Taken, Turn, Way};
use std::cell::Cell;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::{NonNull, null, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::thread::LocalKey;

/// A way to a request, a connection or a table. Owned by the pool that ends it and by every Python object that uses it; freed
/// with the last of them. `host` is NULL once it has been revoked. Only the thread whose turn it is uses `value`.
pub(crate) struct Lease<T> {
    /// The request_rec or conn_rec.
    host: AtomicPtr<c_void>,
    turn: Arc<Turn>,
    times: Times,
    value: T,
}

// SAFETY: `value` is touched by the thread whose turn it is alone.
unsafe impl<T: Send> Sync for Lease<T> {}

/// A module that keeps something for each request.
pub(crate) trait Leasing: Module {
    type Exchange: Ending<Owner = Self>;
}

/// What happens to a lease's value when the request ends.
pub(crate) trait Ending: Default + Send + 'static {
    /// The module whose requests these are.
    type Owner: Leasing<Exchange = Self>;

    /// Called in the thread that ends the request, once, while the request, its sub-requests and redirects are whole.
    fn end(request: Request<'_>, lease: &Arc<Lease<Self>>);

    /// Called for each of the family when all have been ended, and again as long as it gives true for one: has it done anything? So
    /// that what is registered at the end, such as a clean-up by another clean-up, is done, too.
    fn end_again(request: Request<'_>, lease: &Arc<Lease<Self>>) -> bool;

    /// Called last, once for each request, while it is whole.
    fn close(request: Request<'_>, lease: &Lease<Self>);

    /// Drops what is left.
    fn release(lease: &Lease<Self>);

    /// Is there nothing for `end`, `end_again` and `release` to do? Asked where nobody else refers to the lease.
    fn is_settled(&mut self, request: Request<'_>) -> bool;

    /// Makes the value as it was when it was new, for another request.
    fn renew(&mut self);

    /// Where a thread keeps a lease for its next request.
    fn spare() -> &'static LocalKey<Spare<Self>>;

    /// Gives a lease on nothing, which stands for that of a request that has ended.
    fn expired() -> &'static Arc<Lease<Self>>;
}

/// A lease that nobody uses, with a value as new, for a thread's next request; or none.
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

/// A request that this thread holds, for one operation: until this is dropped.
pub(crate) struct Held<'a, T>(
    &'a Lease<T>,
    #[expect(dead_code, reason = "ends the turn")] Taken<'a>,
);

impl<T: Ending> Lease<T> {
    /// Makes the lease of a request that has none yet. None where the request that it was redirected from has ended.
    pub(in crate::httpd) fn for_request<'r>(request: Request<'r>) -> Option<&'r Tenancy<T>> {
        let host = request.as_ptr().cast();
        let first = request.first_of_pool();
        if first != request {
            let family = first.tenancy::<T>()?;
            let lease = Lease::new(host, family.lease.turn.clone(), T::default());
            // It ends together with the first request of the pool.
            let tenancy = request.pool().place(Tenancy::new(lease));
            tenancy.next.set(family.next.replace(tenancy));
            return Some(tenancy);
        }
        let lease = match request.main().or(request.prev()) {
            Some(outer) => {
                let turn = outer.lease::<T::Owner>().turn.clone();
                Lease::new(host, turn, T::default())
            }
            None => Lease::fresh(request),
        };
        Some(request.pool().before_end(Tenancy::new(lease)))
    }

    /// Gives a lease with a turn of its own: the one that this thread has kept from a request before, or a new one.
    fn fresh(request: Request<'_>) -> Arc<Lease<T>> {
        let host = request.as_ptr().cast();
        match T::spare().try_with(Cell::take).ok().flatten() {
            Some(lease) => {
                lease.host.store(host, Ordering::SeqCst);
                lease
            }
            None => Lease::new(host, Arc::default(), T::default()),
        }
    }

    /// Makes a lease that cannot be held.
    pub(crate) fn vacant() -> Arc<Lease<T>> {
        Lease::new(null_mut(), Arc::default(), T::default())
    }

    /// Gives the request, to its own thread while that is ending it.
    fn host(&self) -> Option<Request<'_>> {
        // SAFETY: NULL, or a request whose pool is about to end and has not.
        unsafe { Request::from_raw(self.host.load(Ordering::SeqCst).cast()) }
    }

    /// Takes the request away from whoever has the lease.
    fn revoke(&self) {
        // Another thread may be in the middle of an operation: this waits for its end.
        let _taken = self.turn.take();
        self.host.store(null_mut(), Ordering::SeqCst);
    }
}

/// Keeps a request usable while no phase of it runs: for a thread that goes on with it. Dropped by that, detached, before the
/// request ends.
pub(crate) struct StayOpen<T>(Arc<Lease<T>>);

impl<T> StayOpen<T> {
    pub(crate) fn new(lease: Arc<Lease<T>>, served: Request<'_>) -> StayOpen<T> {
        // Closed by `drop`, since it is kept longer than anything is borrowed.
        std::mem::forget(lease.turn.open(served.address(), |_| {}));
        StayOpen(lease)
    }

    /// Says again which request it is kept open for, when the phase that has given it away has ended.
    pub(crate) fn serve(&self, served: Request<'_>) {
        self.0.turn.serve(served.address());
    }
}

impl<T> Drop for StayOpen<T> {
    fn drop(&mut self) {
        self.0.turn.close();
    }
}

impl Lease<OfConnection> {
    /// Makes a lease on a connection, which is revoked when the connection's pool ends.
    pub(crate) fn for_connection<'c>(connection: Connection<'c>) -> &'c Arc<Lease<OfConnection>> {
        let lease = Lease::new(connection.as_ptr().cast(), Arc::default(), OfConnection);
        &connection.pool().before_end(ConnectionTenancy(lease)).0
    }
}

/// The value of a connection's lease, which keeps nothing.
pub(crate) struct OfConnection;

impl Lease<OwnedTable> {
    /// Makes a lease on a table that has no end of its own: it only keeps threads apart.
    pub(crate) fn for_table(table: OwnedTable) -> Lease<OwnedTable> {
        let lease = Lease {
            host: AtomicPtr::new(std::ptr::dangling_mut()),
            turn: Arc::default(),
            times: Times::default(),
            value: table,
        };
        // Open for ever.
        std::mem::forget(lease.turn.open(NonNull::dangling(), |_| {}));
        lease
    }
}

impl Held<'_, OwnedTable> {
    /// As `OwnedTable::with`.
    pub(crate) fn with<R: 'static>(&self, room: usize, body: impl FnOnce(Table<'_>) -> R) -> R {
        self.0.value.with(room, body)
    }
}

impl<T> Lease<T> {
    fn new(host: *mut c_void, turn: Arc<Turn>, value: T) -> Arc<Lease<T>> {
        Arc::new(Lease {
            host: AtomicPtr::new(host),
            turn,
            times: Times::default(),
            value,
        })
    }

    /// Has the request ended?
    pub(crate) fn is_expired(&self) -> bool {
        self.host.load(Ordering::SeqCst).is_null()
    }

    /// Where the request's time has gone.
    #[inline]
    pub(crate) fn times(&self) -> &Times {
        &self.times
    }

    /// Gives the turn of the request's family.
    pub(crate) fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Holds the request for one operation.
    ///
    /// # Errors
    /// `Refusal` says why it cannot be had.
    #[inline]
    pub(crate) fn hold(&self) -> Result<Held<'_, T>, Refusal> {
        let Some(taken) = self.turn.try_take() else {
            return Err(self.refusal().unwrap_or(Refusal::Busy));
        };
        if self.is_usable() {
            Ok(Held(self, taken))
        } else {
            self.held(taken)
        }
    }

    /// As `hold`, but waits for the turn. Only for the thread that serves the request; call it detached.
    ///
    /// # Errors
    /// `Expired` or `Closed`.
    pub(crate) fn acquire(&self) -> Result<Held<'_, T>, Refusal> {
        self.held(self.turn.take())
    }

    /// Is the request alive, and does a phase run?
    #[inline]
    fn is_usable(&self) -> bool {
        !self.host.load(Ordering::SeqCst).is_null() && self.turn.is_open()
    }

    #[cold]
    #[inline(never)]
    fn held<'a>(&'a self, taken: Taken<'a>) -> Result<Held<'a, T>, Refusal> {
        self.refusal().map_or(Ok(Held(self, taken)), Err)
    }

    #[cold]
    fn refusal(&self) -> Option<Refusal> {
        if self.host.load(Ordering::SeqCst).is_null() {
            Some(Refusal::Expired)
        } else if !self.turn.is_open() {
            Some(Refusal::Closed)
        } else {
            None
        }
    }
}

/// Says that the thread which serves a request is in the middle of a call of Python's, and stays there while this lives: so the request does
/// not end.
pub(crate) struct InCall<'c>(PhantomData<&'c ()>);

impl InCall<'_> {
    /// # Safety
    /// It is so, for the requests and connections that this is shown for.
    pub(crate) unsafe fn new<'c>() -> InCall<'c> {
        InCall(PhantomData)
    }
}

impl<T: Ending> Lease<T> {
    /// Cuts the client's connection (`Connection::cut`), whoever has the turn.
    pub(crate) fn cut(&self, _call: &InCall<'_>) -> bool {
        self.host()
            .is_some_and(|request| request.connection().cut())
    }

    /// The request's connection, whoever has the turn.
    pub(crate) fn client<'c>(&'c self, _call: &'c InCall<'_>) -> Option<Connection<'c>> {
        self.host().map(Request::connection)
    }
}

impl Lease<OfConnection> {
    /// As for a request's.
    pub(crate) fn cut_connection(&self, _call: &InCall<'_>) -> bool {
        // SAFETY: NULL, or a connection that does not end.
        let connection = unsafe { Connection::from_raw(self.host.load(Ordering::SeqCst).cast()) };
        connection.is_some_and(Connection::cut)
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

impl<T: Ending> Held<'_, T> {
    pub(crate) fn request(&self) -> Request<'_> {
        // SAFETY: `hold` found the pointer set and the turn open; it is revoked by who has the turn alone.
        unsafe { Request::from_raw(self.0.host.load(Ordering::Relaxed).cast()).unwrap_unchecked() }
    }

    pub(crate) fn value(&self) -> &T {
        &self.0.value
    }

    /// Where the request's time has gone.
    pub(crate) fn times(&self) -> &Times {
        &self.0.times
    }

    /// Sets bits of the request's marks.
    pub(crate) fn mark(&self, bits: u32) {
        self.request().mark(bits);
    }

    /// Has the whole answer been sent? Then httpd's filters must not be used any more.
    pub(crate) fn is_over(&self) -> bool {
        self.0.turn.is_over()
    }

    /// Is it the request whose phase runs?
    pub(crate) fn is_served(&self) -> bool {
        self.0.turn.is_served(self.request().address())
    }

    /// Is a Python filter in the middle of this way, so that nobody may enter it?
    pub(crate) fn is_under_way(&self, way: Way) -> bool {
        self.0.turn.is_under_way(way)
    }

    /// Remembers that the answer has been sent.
    pub(crate) fn end(&self) {
        self.0.turn.end();
    }
}

/// What stands in a request's slot when its lease has ended: no marks, and nothing behind them.
static ENDED: Marks = Marks::new(0);

impl<'r> Request<'r> {
    /// What our module keeps for this request, if it was needed before.
    fn existing_lease<M: Leasing>(self) -> Option<&'r Arc<Lease<M::Exchange>>> {
        let place = self.place();
        if std::ptr::eq(place, &raw const ENDED) {
            return Some(M::Exchange::expired());
        }
        // SAFETY: NULL, or what `lease` put there, which lives until `forget_lease` says that it has ended.
        unsafe { place.cast::<Tenancy<M::Exchange>>().as_ref() }.map(|tenancy| &tenancy.lease)
    }

    /// The bits that `Held::mark` has set.
    pub(crate) fn marks(self) -> u32 {
        // SAFETY: NULL, ENDED, or a `Tenancy`, which begins with its marks.
        unsafe { self.place().as_ref() }.map_or(0, |marks| marks.load(Ordering::Relaxed))
    }

    pub(in crate::httpd) fn mark(self, bits: u32) {
        // SAFETY: as above. Nobody marks a request that has ended: it cannot be held.
        if let Some(marks) = unsafe { self.place().as_ref() } {
            marks.fetch_or(bits, Ordering::Relaxed);
        }
    }

    /// What our module keeps for this request: made at the first call, revoked when the request ends.
    pub(crate) fn lease<M: Leasing>(self) -> &'r Arc<Lease<M::Exchange>> {
        if let Some(lease) = self.existing_lease::<M>() {
            return lease;
        }
        // Before anything of it is told to anybody.
        self.separate_cookies();
        let tenancy = Lease::<M::Exchange>::for_request(self);
        let ended = &raw const ENDED;
        let place = tenancy.map_or(ended, |tenancy| std::ptr::from_ref(tenancy).cast());
        self.set_place(place);
        tenancy.map_or(M::Exchange::expired(), |tenancy| &tenancy.lease)
    }

    /// The pool's share of the lease; None where it has ended.
    pub(in crate::httpd) fn tenancy<E: Ending>(self) -> Option<&'r Tenancy<E>> {
        self.lease::<E::Owner>();
        let place = Some(self.place()).filter(|&place| !std::ptr::eq(place, &raw const ENDED))?;
        // SAFETY: as in `existing_lease`.
        unsafe { place.cast::<Tenancy<E>>().as_ref() }
    }

    /// The lease has ended: whoever asks for it from now on is refused.
    pub(in crate::httpd) fn forget_lease(self) {
        self.set_place(&raw const ENDED);
    }

    /// Our slot of the request's configuration vector: NULL, a `Tenancy`, or ENDED.
    fn place(self) -> *const Marks {
        // SAFETY: a live request.
        unsafe { slot::slot((*self.as_ptr()).request_config).cast() }
    }

    fn set_place(self, place: *const Marks) {
        // SAFETY: the slot is ours, and what is stored is what `place` is read as.
        unsafe { slot::set_slot((*self.as_ptr()).request_config, place.cast_mut().cast()) }
    }
}

/// Bits of a request that may be asked at any time, without holding its lease.
pub(in crate::httpd) type Marks = AtomicU32;

/// The request's side of its lease. It lies in the request's pool, and our slot of the request's configuration vector points to it.
#[repr(C)]
pub(in crate::httpd) struct Tenancy<T: Ending> {
    /// The first field, since it is read without knowing what the slot points to (`Request::marks`).
    marks: Marks,
    pub(in crate::httpd) lease: Arc<Lease<T>>,
    /// In the first request of a pool: its last redirect; in that, the one before, and so on.
    next: Cell<*const Tenancy<T>>,
    ended: Cell<bool>,
    _one_thread: PhantomData<*const ()>,
}

impl<T: Ending> Tenancy<T> {
    fn new(lease: Arc<Lease<T>>) -> Tenancy<T> {
        Tenancy {
            marks: Marks::new(0),
            lease,
            next: Cell::new(null()),
            ended: Cell::new(false),
            _one_thread: PhantomData,
        }
    }

    /// Lists the redirects that came after this request, the last one first, and then the request itself.
    fn family(&self) -> impl Iterator<Item = &Tenancy<T>> {
        // SAFETY: NULL, or the place of one of the same pool, which is never moved.
        let redirects =
            std::iter::successors(unsafe { self.next.get().as_ref() }, |tenancy| unsafe {
                tenancy.next.get().as_ref()
            });
        redirects.chain([self])
    }

    fn close(&self) {
        if let Some(request) = self.lease.host() {
            T::close(request, &self.lease);
        }
    }

    fn revoke(&self) {
        if let Some(request) = self.lease.host() {
            self.lease.revoke();
            request.forget_lease();
        }
    }

    fn end_family(&self) {
        if self.lease.host().is_some_and(Request::is_outermost) {
            self.lease.turn.end();
        }
        let Some(first) = self.lease.host() else {
            return;
        };
        let _opened = self.lease.turn.open(first.address(), Turn::wait);
        // Looked up anew each time: what ends one request may be the first to need the lease of another.
        while let Some(tenancy) = self.family().find(|tenancy| !tenancy.ended.get()) {
            tenancy.ended.set(true);
            if let Some(request) = tenancy.lease.host() {
                T::end(request, &tenancy.lease);
            }
        }
        let again = |tenancy: &Tenancy<T>| {
            let request = tenancy.lease.host();
            request.is_some_and(|request| T::end_again(request, &tenancy.lease))
        };
        // count() asks all of them, each time; any() would stop at the first one that has done something.
        while self.family().filter(|tenancy| again(tenancy)).count() > 0 {}
        self.family().for_each(|tenancy| T::release(&tenancy.lease));
    }
}

impl<T: Ending> Drop for Tenancy<T> {
    /// Called for the first request of a pool alone: APR knows nothing of those of redirects, which are dropped here.
    fn drop(&mut self) {
        // SAFETY: as in `Lease::host`; the handle does not borrow the lease.
        let request = unsafe { Request::from_raw(self.lease.host.load(Ordering::SeqCst).cast()) };
        let Some(request) = request else {
            return;
        };
        let alone = self.next.get().is_null();
        let settled = alone
            && Arc::get_mut(&mut self.lease).is_some_and(|lease| lease.value.is_settled(request));
        if settled {
            T::close(request, &self.lease);
            // Nobody else has the lease, so nobody can be in the middle of an operation.
            self.lease.host.store(null_mut(), Ordering::SeqCst);
            request.forget_lease();
        } else {
            self.end_family();
            self.family().for_each(Tenancy::close);
            self.family().for_each(Tenancy::revoke);
        }
        let mut redirect = self.next.replace(null()).cast_mut();
        // SAFETY: the pool's memory is still there; nobody drops a redirect's lease but we, and nobody finds it any more.
        while let Some(tenancy) = unsafe { redirect.as_mut() } {
            redirect = tenancy.next.get().cast_mut();
            // SAFETY: as above.
            unsafe { std::ptr::drop_in_place(&raw mut tenancy.lease) };
        }
        // Python has dropped all its references, as a rule: then this thread keeps the lease for its next request.
        if let Some(lease) = Arc::get_mut(&mut self.lease)
            && let Some(turn) = Arc::get_mut(&mut lease.turn)
        {
            turn.reset();
            lease.times.renew();
            lease.value.renew();
            let lease = self.lease.clone();
            // This fails in a thread that ends: it keeps none.
            let _ = T::spare().try_with(|spare| spare.set(Some(lease)));
        }
    }
}

/// The connection's side of its lease, in its pool.
struct ConnectionTenancy(Arc<Lease<OfConnection>>);

impl Drop for ConnectionTenancy {
    fn drop(&mut self) {
        let _taken = self.0.turn.take();
        self.0.host.store(null_mut(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> Arc<Lease<OfConnection>> {
        // The pointer is never followed by these tests.
        Lease::new(
            std::ptr::dangling_mut::<u8>().cast(),
            Arc::default(),
            OfConnection,
        )
    }

    #[test]
    fn a_closed_or_revoked_lease_refuses() {
        let lease = lease();
        assert_eq!(lease.hold().err(), Some(Refusal::Closed));
        let opened = lease.turn().open(NonNull::dangling(), Turn::wait);
        assert!(lease.hold().is_ok());
        drop(opened);
        assert_eq!(lease.hold().err(), Some(Refusal::Closed));
        drop(ConnectionTenancy(lease.clone()));
        assert_eq!(lease.hold().err(), Some(Refusal::Expired));
    }

    #[test]
    fn one_of_a_family_is_used_at_a_time() {
        let first = lease();
        let second = Lease::new(
            std::ptr::dangling_mut::<u8>().cast(),
            first.turn.clone(),
            OfConnection,
        );
        let _opened = first.turn().open(NonNull::dangling(), Turn::wait);
        let held = first.hold();
        assert!(held.is_ok() && second.hold().is_ok());
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(second.hold().err(), Some(Refusal::Busy)));
        });
        drop(held);
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(second.hold().is_ok()));
        });
    }
}
