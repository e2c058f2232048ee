//! Whose turn it is: a request, its sub-requests and its redirects are used by one thread at a time (invariant 7).
//!
//! They share pools, so they share one turn. It is *open* while a phase of one of them runs Python, and at their end; then any
//! thread may *take* it for one operation. A thread that has to wait for it is parked, and has it next.

use crate::httpd::fork::is_forked;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// The turn of one family of requests, or of a connection or table. Owned by their leases, freed with the last of them.
#[derive(Default)]
pub(crate) struct Turn {
    /// How many phases are running, one inside the other; 0 where the turn is closed.
    open: AtomicUsize,
    /// The thread whose turn it is, as `this_thread` numbers it; 0 is nobody.
    owner: AtomicUsize,
    /// How often the owner has taken it; touched by the owner alone.
    depth: Cell<usize>,
    /// How many threads are parked. While there is one, a thread that would not wait is refused.
    parked: AtomicUsize,
    /// The request whose phase runs. The pointer is compared, never followed.
    served: AtomicPtr<c_void>,
    /// Has the answer been sent? Then nothing can be read, written or redirected any more.
    over: AtomicBool,
    /// How many Python filters are running on the answer's way, and on the body's (`Way`). Nobody may begin that way again
    /// meanwhile: filters above them are in the middle of their work.
    under_way: [AtomicUsize; 2],
    /// Has the owner it for a moment alone, in place of the thread that serves the request?
    is_brief: AtomicBool,
    gate: Mutex<()>,
    given: Condvar,
}

// SAFETY: `depth` is touched by the owning thread alone, and ownership passes through `owner`.
unsafe impl Sync for Turn {}

/// The ways through httpd's filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The answer's, through the output filters.
    Out,
    /// The request body's, through the input filters.
    In,
}

/// Says, while it lives, that a Python filter is running on a way.
pub(crate) struct UnderWay<'t>(&'t AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Says, while it lives, that the turn is taken for a moment alone.
pub(crate) struct Briefly<'t>(&'t AtomicBool);

impl Drop for Briefly<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Keeps the turn open while it lives. When it is dropped it waits for an operation that another thread is in the middle of.
pub(crate) struct Opened<'t, W: Fn(&Turn)> {
    turn: &'t Turn,
    before: *mut c_void,
    wait: W,
}

impl<W: Fn(&Turn)> Drop for Opened<'_, W> {
    fn drop(&mut self) {
        let turn = self.turn;
        turn.served.store(self.before, Ordering::Relaxed);
        // From here on no thread can begin an operation.
        if turn.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            let owner = turn.owner.load(Ordering::SeqCst);
            if owner != 0 && owner != this_thread() {
                (self.wait)(turn);
            }
        }
    }
}

/// This thread's turn, until it is dropped.
pub(crate) struct Taken<'t>(&'t Turn, std::marker::PhantomData<*const ()>);

impl Turn {
    /// Opens the turn, for a phase of the request (or connection) `served`, until what this gives is dropped, also by a panic.
    /// `wait` calls `Turn::wait` detached. Called by the thread that serves the request.
    pub(crate) fn open<W: Fn(&Turn)>(&self, served: NonNull<c_void>, wait: W) -> Opened<'_, W> {
        let before = self.served.swap(served.as_ptr(), Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::SeqCst);
        Opened {
            turn: self,
            before,
            wait,
        }
    }

    /// Says whose phase runs, while it is open.
    pub(in crate::httpd) fn serve(&self, served: NonNull<c_void>) {
        self.served.store(served.as_ptr(), Ordering::Relaxed);
    }

    /// Closes the turn once, where it was opened to stay so (`Lease::stay_open`). Waits for an operation that another thread is in the
    /// middle of: call it detached.
    pub(in crate::httpd) fn close(&self) {
        self.served.store(std::ptr::null_mut(), Ordering::Relaxed);
        if self.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            let owner = self.owner.load(Ordering::SeqCst);
            if owner != 0 && owner != this_thread() {
                self.wait();
            }
        }
    }

    /// Is it the phase of this request that runs, and not that of another one of the family, for which this one waits?
    pub(in crate::httpd) fn is_served(&self, request: NonNull<c_void>) -> bool {
        std::ptr::eq(self.served.load(Ordering::Relaxed), request.as_ptr())
    }

    /// Does a phase run?
    #[inline]
    pub(in crate::httpd) fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst) != 0
    }

    /// Remembers that a Python filter is running on a way, until what this gives is dropped.
    pub(crate) fn set_out(&self, way: Way) -> UnderWay<'_> {
        let [out, body] = &self.under_way;
        let count = if way == Way::Out { out } else { body };
        count.fetch_add(1, Ordering::SeqCst);
        UnderWay(count)
    }

    /// Is a Python filter running on this way?
    pub(crate) fn is_under_way(&self, way: Way) -> bool {
        let [out, body] = &self.under_way;
        let count = if way == Way::Out { out } else { body };
        count.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(in crate::httpd) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Takes the turn, unless another thread has it or waits for it.
    #[inline]
    pub(crate) fn try_take(&self) -> Option<Taken<'_>> {
        let me = this_thread();
        if self.owner.load(Ordering::Relaxed) == me {
            return Some(self.again());
        }
        if self.parked.load(Ordering::SeqCst) != 0 {
            return None;
        }
        self.claim(me).or_else(|| self.after_the_brief_one(me))
    }

    /// Waits a moment for the thread that sends what is due, also attached: mostly it needs no more.
    #[cold]
    fn after_the_brief_one(&self, me: usize) -> Option<Taken<'_>> {
        if let Some(taken) = self.take_over(me) {
            return Some(taken);
        }
        for _ in 0..YIELDS {
            if !self.is_with_the_sender() {
                break;
            }
            std::thread::yield_now();
        }
        self.claim(me)
    }

    /// In the child of a fork that has not waited for it: who had the turn for a moment is not there, and does not give it back.
    #[cold]
    fn take_over(&self, me: usize) -> Option<Taken<'_>> {
        // Whoever clears it, has it: threads of the new process may look at the same time.
        if !is_forked() || !self.is_brief.swap(false, Ordering::SeqCst) {
            return None;
        }
        self.depth.set(0);
        self.owner.store(me, Ordering::SeqCst);
        Some(self.again())
    }

    /// Says that the owner, a thread of the child's own, has it for a moment alone. Called by the owner.
    pub(crate) fn briefly(&self) -> Briefly<'_> {
        self.is_brief.store(true, Ordering::SeqCst);
        Briefly(&self.is_brief)
    }

    /// Has the thread that sends what is due it, that of streams, or one that has it for a moment? Whoever may wait, may wait for those.
    fn is_with_the_sender(&self) -> bool {
        let owner = self.owner.load(Ordering::SeqCst);
        let is_it = |brief: &AtomicUsize| owner == brief.load(Ordering::Relaxed);
        owner != 0 && (is_it(&BRIEF) || is_it(&STREAMS) || self.is_brief.load(Ordering::SeqCst))
    }

    /// Has nobody it for long? Nobody has it, or one of those threads: it may have changed hands since it was refused.
    pub(crate) fn is_free_soon(&self) -> bool {
        self.owner.load(Ordering::SeqCst) == 0 || self.is_with_the_sender()
    }

    /// Says that this thread is the one of streams, which is brief, too.
    pub(crate) fn serve_streams() {
        STREAMS.store(this_thread(), Ordering::Relaxed);
    }

    /// Is there such a thread in this process?
    pub(in crate::httpd) fn is_there_a_sender() -> bool {
        BRIEF.load(Ordering::Relaxed) != 0
    }

    /// There is no such thread any more: this is the child of a fork.
    pub(crate) fn forget_the_sender() {
        BRIEF.store(0, Ordering::Relaxed);
    }

    /// Says that this thread is the one that sends what is due.
    pub(crate) fn be_brief() {
        BRIEF.store(this_thread(), Ordering::Relaxed);
    }

    /// Takes the turn; waits for it. Call it detached.
    pub(crate) fn take(&self) -> Taken<'_> {
        if let Some(taken) = self.try_take() {
            return taken;
        }
        let me = this_thread();
        self.parked.fetch_add(1, Ordering::SeqCst);
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = loop {
            if let Some(taken) = self.claim(me).or_else(|| self.take_over(me)) {
                break taken;
            }
            gate = self
                .given
                .wait(gate)
                .unwrap_or_else(PoisonError::into_inner);
        };
        self.parked.fetch_sub(1, Ordering::SeqCst);
        taken
    }

    /// Waits until no other thread has the turn. Call it detached.
    pub(crate) fn wait(&self) {
        drop(self.take());
    }

    #[inline]
    fn claim(&self, me: usize) -> Option<Taken<'_>> {
        let free = self
            .owner
            .compare_exchange(0, me, Ordering::SeqCst, Ordering::SeqCst);
        free.ok().map(|_| self.again())
    }

    #[inline]
    fn again(&self) -> Taken<'_> {
        self.depth.set(self.depth.get() + 1);
        Taken(self, std::marker::PhantomData)
    }

    /// Wakes a thread that is parked.
    #[cold]
    fn give(&self) {
        // The gate is locked once, so that a thread which has counted itself as parked either waits already, or will see that the
        // turn is free.
        drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
        self.given.notify_one();
    }

    /// Makes it as it was when it was new, for another family. Only where nobody else refers to it.
    pub(in crate::httpd) fn reset(&mut self) {
        *self.open.get_mut() = 0;
        *self.owner.get_mut() = 0;
        self.depth.set(0);
        *self.over.get_mut() = false;
    }
}

impl Drop for Taken<'_> {
    #[inline]
    fn drop(&mut self) {
        let turn = self.0;
        let depth = turn.depth.get() - 1;
        turn.depth.set(depth);
        if depth == 0 {
            turn.owner.store(0, Ordering::SeqCst);
            if turn.parked.load(Ordering::SeqCst) != 0 {
                turn.give();
            }
        }
    }
}

/// So often it is looked whether the thread that sends has ended what it does.
const YIELDS: usize = 100;
/// The number of the thread that has said `be_brief`; 0 is none.
static BRIEF: AtomicUsize = AtomicUsize::new(0);
/// The number of the streams' thread; 0 is none.
static STREAMS: AtomicUsize = AtomicUsize::new(0);

/// Gives a number that no other living thread has, and that is never 0. (A thread-local of ours would take longer to find.)
fn this_thread() -> usize {
    // SAFETY: no conditions.
    unsafe { libc::pthread_self() as usize }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicI32;

    #[test]
    fn one_thread_takes_it_at_a_time_and_may_take_it_again() {
        let turn = Turn::default();
        let first = turn.try_take();
        let second = turn.try_take();
        assert!(first.is_some() && second.is_some());
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(turn.try_take().is_none()));
        });
        drop((first, second));
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(turn.try_take().is_some()));
        });
    }

    #[test]
    fn who_has_it_for_a_moment_may_be_waited_for() {
        let turn = Turn::default();
        let taken = turn.try_take();
        assert!(!turn.is_free_soon());
        let brief = turn.briefly();
        assert!(turn.is_free_soon());
        drop(brief);
        assert!(!turn.is_free_soon());
        drop(taken);
        assert!(turn.is_free_soon());
    }

    #[test]
    fn in_the_child_of_a_fork_nobody_has_it_for_a_moment() {
        crate::httpd::fork::follow();
        let turn = Turn::default();
        let (taken, over) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _taken = turn.try_take();
                let _brief = turn.briefly();
                taken.wait();
                over.wait();
            });
            taken.wait();
            // SAFETY: the new process does nothing but with atomics, and ends.
            let ended = unsafe {
                let child = libc::fork();
                if child == 0 {
                    let first = turn.try_take();
                    let is_taken = first.is_some() && turn.try_take().is_some();
                    drop(first);
                    libc::_exit(i32::from(!is_taken || turn.try_take().is_none()));
                }
                let mut status = -1;
                libc::waitpid(child, &raw mut status, 0);
                status
            };
            assert!(turn.try_take().is_none());
            over.wait();
            assert_eq!(ended, 0);
        });
        assert!(turn.try_take().is_some());
    }

    #[test]
    fn who_waits_comes_next_however_busy_the_others_are() {
        let (turn, inside) = (Turn::default(), AtomicI32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        if let Some(_taken) = turn.try_take() {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                });
            }
            for _ in 0..1_000 {
                let _taken = turn.take();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                inside.fetch_sub(1, Ordering::SeqCst);
            }
        });
        assert!(turn.try_take().is_some());
    }
}
