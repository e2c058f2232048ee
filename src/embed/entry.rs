//! What a thread is to have done by when, and what has been done about it: what lies on its desk (`armed.rs`).

use super::interpreter::Interpreter;
use crate::httpd::log::Extra;
use crate::httpd::request::lease::InCall;
use pyo3::ffi;
use std::sync::Arc;

/// What answers the client of a thread that does not come back.
pub(crate) trait Rescue: Send + Sync {
    /// Answers, or breaks the answer off. Waits for nothing. The thread is in the middle of a user's code, and stays there meanwhile
    /// as far as the request is concerned.
    fn answer(&self) -> Rescued;

    /// Breaks the answer off although the request is in use, by the thread that does not come back: it sends, and a filter of Python's is
    /// stuck on the answer's way.
    fn cut(&self, call: &InCall<'_>) -> Rescued;

    /// What of httpd's the thread keeps.
    fn keeps(&self, call: &InCall<'_>) -> Keeps;

    /// The child ends, and the thread with it: httpd's other modules log the request as it is (mod_log_config), without Python, and it is
    /// counted. Nothing where the request is in use.
    fn close(&self);

    /// Writes lines to the request's log; false where that cannot be done now.
    fn log(&self, text: &str, extra: Extra<'_>) -> bool;
}

/// What of httpd's a thread keeps that does not come back.
pub(crate) enum Keeps {
    /// A connection that no other thread can keep.
    Own,
    /// One that others may keep as well (HTTP/2's, by the address of its record).
    Shared(usize),
    /// Nothing that httpd says it is at: it has begun to close the connection.
    Nothing,
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
    /// No other entry of the desk has it.
    pub(super) number: u64,
    pub(super) interpreter: &'static Interpreter,
    /// The thread's state in it, for the watcher to look at where it cannot attach.
    pub(super) state: usize,
    /// In nanoseconds of `clock::now`.
    pub(super) due: u64,
    pub(super) limit: u64,
    /// Since when it waits for its client, which does not count; 0: it does not.
    pub(super) paused: u64,
    /// For how long it has waited for it: what it is inside of has waited, too.
    pub(super) waited: u64,
    /// Does the exception end it? Not where it only waits for an event loop.
    pub(super) raises: bool,
    /// Has the log been told of it?
    pub(super) is_told: bool,
    /// Is it a step of a task, in an event loop's thread?
    pub(super) is_step: bool,
    /// The user's code has ended.
    pub(super) is_over: bool,
    pub(super) rescue: Option<Arc<dyn Rescue>>,
    /// What has been done about it; nothing, as a rule.
    pub(super) late: Option<Box<Late>>,
}

/// What has been done about an entry whose time has passed.
#[derive(Default)]
pub(super) struct Late {
    /// How often the exception has been raised, and when it is again.
    pub(super) raised: u32,
    pub(super) next: u64,
    /// Has it been told that the interpreter's lock cannot be had? Where the thread stands then follows when it can.
    pub(super) is_lock_told: bool,
    /// When it was seen in the middle of an import, which is not broken off.
    pub(super) spared: u64,
    pub(super) rescued: Option<Rescued>,
    /// Is the child to end, because it does not come back?
    pub(super) is_given_up: bool,
}

impl Entry {
    /// Has its time passed?
    pub(super) fn has_passed(&self, now: u64) -> bool {
        self.counts() && now >= self.due
    }

    /// Does its time go on?
    #[inline]
    pub(super) fn counts(&self) -> bool {
        !self.is_over && self.paused == 0
    }

    /// Is the exception to be raised now?
    pub(super) fn is_to_be_raised(&self, now: u64) -> bool {
        let next = self.late.as_ref().map_or(0, |late| late.next);
        self.has_passed(now) && self.raises && now >= next
    }

    /// It has waited for so long, which does not count.
    pub(super) fn put_off(&mut self, waited: u64) {
        self.waited = self.waited.saturating_add(waited);
        self.due = self.due.saturating_add(waited);
        if let Some(late) = &mut self.late {
            late.next = late.next.saturating_add(waited);
        }
    }

    /// How often the exception has been raised.
    pub(super) fn raised(&self) -> u32 {
        self.late.as_ref().map_or(0, |late| late.raised)
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.late.as_ref().is_some_and(|late| late.is_given_up)
    }

    pub(super) fn late(&mut self) -> &mut Late {
        self.late.get_or_insert_default()
    }

    /// Takes back what has been raised and has not been delivered. Has the time passed, so that something was done about it?
    #[inline]
    pub(super) fn end(&mut self, thread: u64) -> bool {
        self.is_over = true;
        self.late
            .as_ref()
            .is_some_and(|late| end_of_late(late, thread))
    }
}

#[cold]
fn end_of_late(late: &Late, thread: u64) -> bool {
    if late.raised > 0 {
        // SAFETY: the thread is attached to the interpreter in which it has been raised; a class that lives as long.
        unsafe { ffi::PyThreadState_SetAsyncExc(thread.cast_signed(), std::ptr::null_mut()) };
    }
    late.raised > 0 || late.rescued.is_some_and(|rescued| rescued != Rescued::Busy)
}
