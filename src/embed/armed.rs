//! What each thread is to have done by when: the state that the watcher (`deadlines.rs`) and the thread itself share.
//!
//! A thread *arms* before it calls code of users, and *closes* behind it, attached both times. In between the watcher may raise an
//! exception in it (PyThreadState_SetAsyncExc). That none reaches what comes behind rests on this: the watcher raises with the
//! interpreter attached, and has the thread's entry meanwhile, having looked that it is still the one that has passed; closing takes the
//! entry, and then, still attached, takes back what has been raised and has not been delivered. An interpreter with a lock has one of
//! both done at a time by that alone; having the entry is for Python without one (PEP 703).
//!
//! A request that is in time costs its thread an exchange of one word to arm and one to close, and no lock: the entry lies in the open
//! (`OUT`), and who is at it, the thread or the watcher, has taken it from there. What has passed the watcher *claims*: from then on
//! its lock says who is at it. That is held for moments, never while Python runs, something blocks, or a thread is attached: so an
//! attached thread may wait for it.

pub(super) use super::entry::Entry;
pub(crate) use super::entry::{Keeps, Rescue, Rescued};
use super::in_flight::this_thread;
use super::interpreter::Cx;
use super::threads::Here;
use crate::httpd::clock::now;
use crate::httpd::fork::is_forked;
use crate::httpd::request::lease::InCall;
use pyo3::ffi;
use std::cell::{Cell, UnsafeCell};
use std::num::NonZeroU64;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A thread's entry. Desks live as long as the process: a thread that ends leaves its own to another one.
pub(super) struct Desk {
    /// Whose it is, as `threading.get_ident()` numbers threads; 0: nobody's.
    thread: AtomicU64,
    /// Who may be at the entry (`FREE` and so on).
    state: AtomicU32,
    /// When it has passed, as far as it counts (`clock::now`).
    due: AtomicU64,
    slot: UnsafeCell<Slot>,
    /// Held by whoever is at an entry that is claimed.
    claimed: Mutex<()>,
}

#[derive(Default)]
struct Slot {
    entry: Option<Entry>,
    /// How many entries there have been.
    count: u64,
}

// SAFETY: whoever is at the slot has taken it: by `state`, or, where that says so, by the lock. What is in it may be used in any thread.
unsafe impl Sync for Desk {}

/// There is no entry: the thread's.
const FREE: u32 = 0;
/// There is one, and its thread is at it.
const OWN: u32 = 1;
/// Nobody is at it.
const OUT: u32 = 2;
/// Who has the lock is at it.
const CLAIMED: u32 = 3;

const NEVER: u64 = u64::MAX;

/// How often is looked at what is late.
pub(super) const TICK: Duration = Duration::from_millis(50);

impl Desk {
    fn new() -> Desk {
        Desk {
            thread: AtomicU64::new(0),
            state: AtomicU32::new(FREE),
            due: AtomicU64::new(NEVER),
            slot: UnsafeCell::default(),
            claimed: Mutex::new(()),
        }
    }

    pub(super) fn thread(&self) -> u64 {
        self.thread.load(Ordering::Relaxed)
    }

    /// Is its thread to have done something?
    pub(super) fn is_armed(&self) -> bool {
        self.state.load(Ordering::SeqCst) != FREE
    }

    /// What the thread has not done in time, for the watcher.
    pub(super) fn claim(&self, now: u64) -> Option<Claimed<'_>> {
        match self.state.load(Ordering::Acquire) {
            CLAIMED => {}
            OUT if self.due.load(Ordering::Relaxed) <= now => {}
            _ => return None,
        }
        let lock = self.lock();
        if self.state.load(Ordering::Acquire) != CLAIMED {
            let claimed =
                self.state
                    .compare_exchange(OUT, CLAIMED, Ordering::Acquire, Ordering::Relaxed);
            claimed.ok()?;
        }
        // SAFETY: it is claimed, and the lock is ours.
        let entry = unsafe { (*self.slot.get()).entry.as_mut() }?;
        Some(Claimed { entry, _lock: lock })
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the entry of this thread, whose desk it is, unless something has been done about it. Gives what it has.
    #[inline(always)]
    fn clear(&self) -> Option<Option<Arc<dyn Rescue>>> {
        self.state
            .compare_exchange(OUT, OWN, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        // SAFETY: it has been taken.
        let slot = unsafe { &mut *self.slot.get() };
        match &mut slot.entry {
            Some(entry) if entry.late.is_none() => {
                let rescue = entry.rescue.take();
                slot.entry = None;
                self.state.store(FREE, Ordering::Release);
                Some(rescue)
            }
            _ => {
                self.state.store(OUT, Ordering::SeqCst);
                None
            }
        }
    }

    /// Takes the slot.
    ///
    /// # Safety
    /// Called by the thread whose desk it is, which has not taken it already.
    #[inline]
    unsafe fn take(&self) -> Taken<'_> {
        let free = self.state.load(Ordering::Relaxed) == FREE;
        let has = free
            || self
                .state
                .compare_exchange(OUT, OWN, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        let lock = if has { None } else { Some(self.lock()) };
        Taken {
            desk: self,
            // SAFETY: where there is no entry nobody else looks; otherwise it has been taken, or is claimed, and the lock is ours.
            slot: unsafe { &mut *self.slot.get() },
            lock,
        }
    }
}

/// A claimed entry, for as long as the watcher is at it.
pub(super) struct Claimed<'d> {
    entry: &'d mut Entry,
    _lock: MutexGuard<'d, ()>,
}

impl Claimed<'_> {
    /// Its thread is in the call that the entry is for, and does not leave it while the entry is claimed.
    pub(super) fn call(&self) -> InCall<'_> {
        // SAFETY: closing the entry, which comes first behind the call, waits for its lock.
        unsafe { InCall::new() }
    }
}

impl Deref for Claimed<'_> {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        self.entry
    }
}

impl DerefMut for Claimed<'_> {
    fn deref_mut(&mut self) -> &mut Entry {
        self.entry
    }
}

/// The slot, for as long as its thread is at it.
struct Taken<'d> {
    desk: &'d Desk,
    slot: &'d mut Slot,
    /// The entry is claimed.
    lock: Option<MutexGuard<'d, ()>>,
}

impl Drop for Taken<'_> {
    #[inline]
    fn drop(&mut self) {
        let state = match &self.slot.entry {
            None => FREE,
            Some(_) if self.lock.is_some() => return,
            Some(entry) => {
                let due = if entry.counts() { entry.due } else { NEVER };
                self.desk.due.store(due, Ordering::Relaxed);
                OUT
            }
        };
        if state == FREE {
            return self.desk.state.store(FREE, Ordering::Release);
        }
        // Not before this has been seen is looked whether the watcher sleeps (`deadlines::watch`).
        self.desk.state.swap(OUT, Ordering::SeqCst);
    }
}

/// The desks of all threads that have armed once.
static DESKS: Mutex<Vec<&'static Desk>> = Mutex::new(Vec::new());
/// Has any thread of this process armed?
static ANY: AtomicBool = AtomicBool::new(false);

pub(super) fn desks() -> MutexGuard<'static, Vec<&'static Desk>> {
    DESKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has any thread of this process armed?
#[inline]
pub(super) fn is_any() -> bool {
    ANY.load(Ordering::Relaxed)
}

thread_local! {
    /// This thread's, once it has one.
    static HERE: Cell<Option<&'static Desk>> = const { Cell::new(None) };
    static LEAVES: Leaves = const { Leaves };
}

/// This thread's desk; None where it has none, or is the child of a fork's: the watcher may have been anywhere.
#[inline]
fn here() -> Option<&'static Desk> {
    if !is_any() || is_forked() {
        return None;
    }
    HERE.get()
}

/// Takes a desk for this thread; None where it ends.
#[cold]
#[inline(never)]
fn sit_down() -> Option<&'static Desk> {
    LEAVES.try_with(|_| ()).ok()?;
    let mut all = desks();
    let is_free = |desk: &&&'static Desk| desk.thread() == 0;
    let desk = all.iter().find(is_free).copied().unwrap_or_else(|| {
        let desk: &'static Desk = Box::leak(Box::new(Desk::new()));
        all.push(desk);
        desk
    });
    desk.thread.store(this_thread(), Ordering::Relaxed);
    ANY.store(true, Ordering::Relaxed);
    HERE.set(Some(desk));
    Some(desk)
}

/// Gives this thread's desk away when the thread ends.
struct Leaves;

impl Drop for Leaves {
    fn drop(&mut self) {
        let desk = HERE.take();
        if let Some(desk) = desk.filter(|desk| !is_forked() && !desk.is_armed()) {
            // With the lock, under which others look for one.
            let _all = desks();
            desk.thread.store(0, Ordering::Relaxed);
        }
    }
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    time.as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(time.subsec_nanos()))
}

/// What this thread does now is to be done by a time, until this is closed. Closed in the same thread, with the same interpreter attached.
pub(crate) struct Armed {
    desk: Option<&'static Desk>,
    /// What it is inside of.
    outer: Option<Box<Entry>>,
}

/// A user's code that takes as long as it likes.
pub(super) const UNARMED: Armed = Armed {
    desk: None,
    outer: None,
};

/// Puts an entry on this thread's desk. One that it is inside of counts, too: whichever ends first.
#[inline(always)]
pub(super) fn arm(
    cx: Cx<'_>,
    limit: Option<NonZeroU64>,
    due: Option<u64>,
    rescue: Option<Arc<dyn Rescue>>,
) -> Armed {
    let Some(desk) = here().or_else(|| {
        let is_first = limit.is_some() && !is_forked();
        is_first.then(sit_down).flatten()
    }) else {
        return UNARMED;
    };
    if desk.state.load(Ordering::Relaxed) != FREE {
        return arm_inside(cx, desk, limit, due, rescue);
    }
    let Some(limit) = limit.map(NonZeroU64::get) else {
        return UNARMED;
    };
    let due = due.unwrap_or_else(|| Here::new().take_fresh().saturating_add(limit));
    // SAFETY: there is no entry, so the slot is its thread's.
    let slot = unsafe { &mut *desk.slot.get() };
    slot.put(cx, due, limit, rescue);
    desk.due.store(due, Ordering::Relaxed);
    // Not before this has been seen is looked whether the watcher sleeps (`deadlines::watch`).
    desk.state.swap(OUT, Ordering::SeqCst);
    Armed {
        desk: Some(desk),
        outer: None,
    }
}

/// As `arm`, inside of another entry.
#[cold]
#[inline(never)]
fn arm_inside(
    cx: Cx<'_>,
    desk: &'static Desk,
    limit: Option<NonZeroU64>,
    due: Option<u64>,
    rescue: Option<Arc<dyn Rescue>>,
) -> Armed {
    // SAFETY: this thread's; nothing below takes it.
    let taken = unsafe { desk.take() };
    let own = limit.map(|limit| {
        let limit = limit.get();
        (due.unwrap_or_else(|| now().saturating_add(limit)), limit)
    });
    let outer = taken.slot.entry.take().map(Box::new);
    let around = outer
        .as_ref()
        .filter(|outer| outer.counts() && outer.raises)
        .map(|outer| (outer.due, outer.limit));
    let Some((due, limit)) = own.into_iter().chain(around).min() else {
        taken.slot.entry = outer.map(|outer| *outer);
        return UNARMED;
    };
    taken.slot.put(cx, due, limit, rescue);
    drop(taken);
    Armed {
        desk: Some(desk),
        outer,
    }
}

impl Slot {
    #[inline(always)]
    fn put(&mut self, cx: Cx<'_>, due: u64, limit: u64, rescue: Option<Arc<dyn Rescue>>) {
        self.count += 1;
        // SAFETY: nothing is dropped: there is no entry.
        unsafe {
            std::ptr::write(
                &raw mut self.entry,
                Some(Entry {
                    number: self.count,
                    interpreter: cx.interpreter,
                    // Attached.
                    state: ffi::PyThreadState_Get().addr(),
                    due,
                    limit,
                    paused: 0,
                    waited: 0,
                    raises: true,
                    is_told: false,
                    is_step: false,
                    is_over: false,
                    rescue,
                    late: None,
                }),
            );
        }
    }
}

impl Armed {
    /// The user's code has ended. Had its time passed, so that something was done about it?
    #[inline]
    pub(crate) fn close(mut self) -> bool {
        self.end()
    }

    #[inline]
    fn end(&mut self) -> bool {
        let Some(desk) = self.desk.take() else {
            return false;
        };
        if is_forked() {
            return false;
        }
        if self.outer.is_none()
            && let Some(rescue) = desk.clear()
        {
            drop(rescue);
            return false;
        }
        self.end_late(desk)
    }

    #[cold]
    #[inline(never)]
    fn end_late(&mut self, desk: &'static Desk) -> bool {
        // SAFETY: this thread's; nothing below takes it.
        let taken = unsafe { desk.take() };
        // With the entry taken: the watcher has raised before, or will not any more.
        let entry = taken.slot.entry.take();
        taken.slot.entry = self.outer.take().map(|outer| *outer);
        let Some(mut entry) = entry else {
            return false;
        };
        if let Some(outer) = &mut taken.slot.entry {
            outer.put_off(entry.waited);
        }
        let has_passed = entry.end(desk.thread());
        drop(taken);
        has_passed
    }
}

impl Drop for Armed {
    #[inline]
    fn drop(&mut self) {
        if self.desk.is_some() {
            self.end();
        }
    }
}

/// A step of a task in an event loop's thread begins, attached: it is to be over when the request's time, `due`, has passed.
pub(super) fn begin_step(cx: Cx<'_>, due: u64, limit: u64) {
    let mut armed = arm(cx, NonZeroU64::new(limit), Some(due), None);
    armed.desk.take();
    // Whoever waits for the task tells of it.
    is_told_already();
    with(|_, entry| entry.is_step = true);
}

/// Nobody has to be told when the time on this thread's desk has passed.
pub(super) fn is_told_already() {
    with(|_, entry| entry.is_told = true);
}

/// The step has ended, with or without an exception.
pub(crate) fn end_step(_cx: Cx<'_>) {
    if let Some(desk) = here().filter(|desk| desk.is_armed()) {
        // SAFETY: this thread's; nothing below takes it.
        let taken = unsafe { desk.take() };
        if let Some(entry) = &mut taken.slot.entry {
            entry.end(desk.thread());
        }
        taken.slot.entry = None;
    }
}

/// The entry on this thread's desk, if something is to be done by a time.
#[inline]
fn with<R>(body: impl FnOnce(u64, &mut Entry) -> R) -> Option<R> {
    let desk = here().filter(|desk| desk.is_armed())?;
    // SAFETY: this thread's; `body` takes none.
    let taken = unsafe { desk.take() };
    let entry = taken.slot.entry.as_mut().filter(|entry| !entry.is_over)?;
    Some(body(desk.thread(), entry))
}

/// The user's code has ended, before the entry is closed: nothing is raised any more. Had its time passed?
#[inline]
pub(crate) fn over(_cx: Cx<'_>) -> bool {
    let Some(desk) = here().filter(|desk| desk.is_armed()) else {
        return false;
    };
    let taken = desk
        .state
        .compare_exchange(OUT, OWN, Ordering::Acquire, Ordering::Relaxed);
    if taken.is_err() {
        return over_late();
    }
    // SAFETY: it has been taken.
    let slot = unsafe { &mut *desk.slot.get() };
    let has_passed = slot
        .entry
        .as_mut()
        .is_some_and(|entry| !entry.is_over && entry.end(desk.thread()));
    desk.due.store(NEVER, Ordering::Relaxed);
    desk.state.store(OUT, Ordering::Release);
    has_passed
}

#[cold]
#[inline(never)]
fn over_late() -> bool {
    with(|thread, entry| entry.end(thread)).unwrap_or(false)
}

/// This thread waits for an event loop from now on, and looks itself how long: nothing is raised in it. Gives the time that is left, if there
/// is a limit.
///
/// # Errors
/// The time has passed.
pub(crate) fn hand_over(_cx: Cx<'_>) -> Result<Option<Duration>, ()> {
    let left = with(|thread, entry| {
        if entry.raised() > 0 {
            entry.end(thread);
            return Err(());
        }
        entry.raises = false;
        entry.paused = now();
        Ok(Duration::from_nanos(entry.due.saturating_sub(now())))
    });
    left.transpose()
}

/// It has waited for too long, and goes on as soon as it has the interpreter's lock. That may be never.
pub(crate) fn late() {
    with(|_, entry| {
        entry.paused = 0;
        entry.due = now();
    });
}

/// This thread waits for its client, which is for httpd's Timeout to end, until this is dropped.
pub(crate) struct Paused(());

/// Has time not count while this thread waits for its client.
#[inline]
pub(crate) fn pause() -> Option<Paused> {
    let paused = with(|_, entry| {
        let is_first = entry.paused == 0;
        if is_first {
            entry.paused = now();
        }
        is_first
    });
    paused.filter(|&is_first| is_first).map(|_| Paused(()))
}

impl Drop for Paused {
    fn drop(&mut self) {
        with(|_, entry| {
            let since = std::mem::take(&mut entry.paused);
            if since > 0 {
                entry.put_off(now().saturating_sub(since));
            }
        });
    }
}
