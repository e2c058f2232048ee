//! What each thread is to have done by when: the state that the watcher (`deadlines.rs`) and the thread itself share.
//!
//! A thread *arms* before it calls code of users, and *closes* behind it, attached both times. In between the watcher may raise an
//! exception in it (PyThreadState_SetAsyncExc). That none reaches what comes behind rests on this: the watcher raises with the
//! interpreter attached, and holds the thread's entry meanwhile, having looked that it is still the one that has passed; closing takes the
//! entry, and then, still attached, takes back what has been raised and has not been delivered. An interpreter with a lock has one of
//! both done at a time by that alone; the entry's lock is for Python without one (PEP 703).
//!
//! An entry's lock is held for moments, never while Python runs, something blocks, or a thread is attached: so an attached thread may
//! wait for it.

use super::in_flight::{is_forked, this_thread};
use super::interpreter::{Cx, Interpreter};
use pyo3::ffi;
use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What answers the client of a thread that does not come back.
pub(crate) trait Rescue: Send + Sync {
    /// Answers, or breaks the answer off. Waits for nothing. The thread is in the middle of a user's code, and stays there meanwhile
    /// as far as the request is concerned.
    fn answer(&self) -> Rescued;

    /// Writes lines to the request's log; false where that cannot be done now.
    fn log(&self, text: &str) -> bool;
}

/// What has become of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rescued {
    /// The request is in use: to be tried again.
    Busy,
    /// It has been told that the time is up (504).
    Told,
    /// Its connection has been shut.
    BrokenOff,
    /// There is nobody to be told, or no way to.
    Not,
}

/// What a thread is to have done by when.
pub(super) struct Entry {
    /// No other entry of the process has it.
    pub(super) number: u64,
    pub(super) interpreter: &'static Interpreter,
    /// The thread's state in it, for the watcher to look at where it cannot attach.
    pub(super) state: usize,
    /// In nanoseconds of `now`.
    pub(super) due: u64,
    pub(super) limit: u64,
    /// Since when it waits for its client, which does not count.
    pub(super) paused: Option<u64>,
    /// Does the exception end it? Not where it only waits for an event loop.
    pub(super) raises: bool,
    /// How often the exception has been raised, and when it is again.
    pub(super) raised: u32,
    pub(super) next: u64,
    /// Has the log been told of it?
    pub(super) is_told: bool,
    /// Does somebody else tell of it?
    pub(super) is_quiet: bool,
    /// Is it a step of a task, in an event loop's thread?
    pub(super) is_step: bool,
    pub(super) rescued: Option<Rescued>,
    /// Is the child to end, because it does not come back?
    pub(super) is_given_up: bool,
    /// The user's code has ended.
    is_over: bool,
    pub(super) rescue: Option<Arc<dyn Rescue>>,
}

impl Entry {
    /// Has its time passed?
    pub(super) fn has_passed(&self, now: u64) -> bool {
        !self.is_over && self.paused.is_none() && now >= self.due
    }

    /// Is the exception to be raised now?
    pub(super) fn is_to_be_raised(&self, now: u64) -> bool {
        self.has_passed(now) && self.raises && (self.raised == 0 || now >= self.next)
    }

    /// Takes back what has been raised and has not been delivered. Has the time passed, so that something was done about it?
    fn end(&mut self, thread: u64) -> bool {
        self.is_over = true;
        if self.raised > 0 {
            // SAFETY: the thread is attached to the interpreter in which it has been raised; a class that lives as long.
            unsafe { ffi::PyThreadState_SetAsyncExc(thread.cast_signed(), std::ptr::null_mut()) };
        }
        self.raised > 0 || self.rescued.is_some_and(|rescued| rescued != Rescued::Busy)
    }
}

/// A thread's entry.
pub(super) struct Desk {
    pub(super) thread: u64,
    entry: Mutex<Option<Entry>>,
}

impl Desk {
    pub(super) fn entry(&self) -> MutexGuard<'_, Option<Entry>> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The desks of all threads that have armed once.
static DESKS: Mutex<Vec<Arc<Desk>>> = Mutex::new(Vec::new());
/// Has any thread of this process armed?
static ANY: AtomicBool = AtomicBool::new(false);

pub(super) fn desks() -> MutexGuard<'static, Vec<Arc<Desk>>> {
    DESKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has any thread of this process armed?
#[inline]
pub(super) fn is_any() -> bool {
    ANY.load(Ordering::Relaxed)
}

thread_local! {
    static HERE: Here = const { Here(OnceCell::new()) };
}

struct Here(OnceCell<Arc<Desk>>);

impl Here {
    #[inline]
    fn desk(&self) -> &Arc<Desk> {
        self.0.get_or_init(|| {
            let desk = Arc::new(Desk {
                thread: this_thread(),
                entry: Mutex::new(None),
            });
            desks().push(desk.clone());
            ANY.store(true, Ordering::Relaxed);
            desk
        })
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        if let Some(desk) = self.0.get()
            && !is_forked()
        {
            desks().retain(|other| !Arc::ptr_eq(other, desk));
        }
    }
}

/// Nanoseconds of a clock that goes forward, and costs next to nothing (CLOCK_MONOTONIC_COARSE: to a few milliseconds).
pub(super) fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: fills the structure.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

/// What this thread does now is to be done by a time, until this is closed. Closed in the same thread, with the same interpreter attached.
pub(crate) struct Armed {
    desk: Option<Arc<Desk>>,
    /// What it is inside of.
    outer: Option<Box<Entry>>,
}

/// A user's code that takes as long as it likes.
pub(super) const UNARMED: Armed = Armed {
    desk: None,
    outer: None,
};

/// Puts an entry on this thread's desk. One that it is inside of counts, too: whichever ends first.
pub(super) fn arm(
    cx: Cx<'_>,
    limit: Option<Duration>,
    due: Option<u64>,
    rescue: Option<Arc<dyn Rescue>>,
) -> Armed {
    static NUMBERS: AtomicU64 = AtomicU64::new(1);
    if is_forked() {
        return UNARMED;
    }
    let desk = HERE.try_with(|here| here.desk().clone());
    let Ok(desk) = desk else { return UNARMED };
    let mut place = desk.entry();
    let outer = place.take();
    let around = outer
        .as_ref()
        .filter(|outer| !outer.is_over && outer.paused.is_none() && outer.raises);
    let own = limit.map(|limit| (due, nanoseconds(limit)));
    let now = now();
    let own = own.map(|(due, limit)| (due.unwrap_or_else(|| now.saturating_add(limit)), limit));
    let around = around.map(|outer| (outer.due, outer.limit));
    let Some((due, limit)) = own.into_iter().chain(around).min() else {
        *place = outer;
        return UNARMED;
    };
    *place = Some(Entry {
        number: NUMBERS.fetch_add(1, Ordering::Relaxed),
        interpreter: cx.interpreter,
        // SAFETY: attached.
        state: unsafe { ffi::PyThreadState_Get() }.addr(),
        due,
        limit,
        paused: None,
        raises: true,
        raised: 0,
        next: due,
        is_told: false,
        is_quiet: false,
        is_step: false,
        rescued: None,
        is_given_up: false,
        is_over: false,
        rescue,
    });
    drop(place);
    Armed {
        desk: Some(desk),
        outer: outer.map(Box::new),
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
        let mut place = desk.entry();
        let ended = std::mem::replace(&mut *place, self.outer.take().map(|outer| *outer));
        let Some(mut ended) = ended else { return false };
        // With the entry's lock: the watcher has raised before, or will not any more.
        let has_passed = ended.end(desk.thread);
        drop(place);
        has_passed
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        self.end();
    }
}

/// A step of a task in an event loop's thread begins, attached: it is to be over when the request's time, `due`, has passed.
pub(super) fn begin_step(cx: Cx<'_>, due: u64, limit: u64) {
    let limit = Duration::from_nanos(limit);
    let mut armed = arm(cx, Some(limit), Some(due), None);
    armed.desk.take();
    // Whoever waits for the task tells of it.
    is_told_already();
    with(|_, entry| entry.is_step = true);
}

/// Nobody has to be told when the time on this thread's desk has passed.
pub(super) fn is_told_already() {
    with(|_, entry| {
        entry.is_told = true;
        entry.is_quiet = true;
    });
}

/// The step has ended, with or without an exception.
pub(crate) fn end_step(_cx: Cx<'_>) {
    if is_forked() {
        return;
    }
    let _ = HERE.try_with(|here| {
        let Some(desk) = here.0.get() else { return };
        let mut place = desk.entry();
        if let Some(mut entry) = place.take() {
            entry.end(desk.thread);
        }
    });
}

/// The entry on this thread's desk, if something is to be done by a time.
fn with<R>(body: impl FnOnce(u64, &mut Entry) -> R) -> Option<R> {
    if !is_any() || is_forked() {
        return None;
    }
    let found = HERE.try_with(|here| {
        let desk = here.0.get()?;
        let mut place = desk.entry();
        let entry = place.as_mut().filter(|entry| !entry.is_over)?;
        Some(body(desk.thread, entry))
    });
    found.ok().flatten()
}

/// The user's code has ended, before the entry is closed: nothing is raised any more. Had its time passed?
#[inline]
pub(crate) fn over(_cx: Cx<'_>) -> bool {
    with(|thread, entry| entry.end(thread)).unwrap_or(false)
}

/// This thread waits for an event loop from now on, and looks itself how long: nothing is raised in it. Gives the time that is left, if there
/// is a limit.
///
/// # Errors
/// The time has passed.
pub(crate) fn hand_over(_cx: Cx<'_>) -> Result<Option<Duration>, ()> {
    let left = with(|thread, entry| {
        if entry.raised > 0 {
            entry.end(thread);
            return Err(());
        }
        entry.raises = false;
        entry.paused = Some(now());
        Ok(Duration::from_nanos(entry.due.saturating_sub(now())))
    });
    left.transpose()
}

/// It has waited for too long, and goes on as soon as it has the interpreter's lock. That may be never.
pub(crate) fn late() {
    with(|_, entry| {
        entry.paused = None;
        entry.due = now();
    });
}

/// This thread waits for its client, which is for httpd's Timeout to end, until this is dropped.
pub(crate) struct Paused(());

/// Has time not count while this thread waits for its client.
#[inline]
pub(crate) fn pause() -> Option<Paused> {
    let paused = with(|_, entry| match entry.paused {
        Some(_) => false,
        None => entry.paused.replace(now()).is_none(),
    });
    paused.filter(|&is_first| is_first).map(|_| Paused(()))
}

impl Drop for Paused {
    fn drop(&mut self) {
        with(|_, entry| {
            if let Some(since) = entry.paused.take() {
                let waited = now().saturating_sub(since);
                entry.due = entry.due.saturating_add(waited);
                entry.next = entry.next.saturating_add(waited);
            }
        });
    }
}
