//! How long a thread is in Python for something: of the time between `enter` and its end, what it has waited for locks is no part, nor what
//! stands apart: sending, and other calls of Python inside of this one, which are measured by themselves.

use super::interpreter::{Cx, PerInterpreter};
use super::threads::Here;
use super::totals::{self, Garbage};
use crate::httpd::clock::{SECOND, now};
use pyo3::prelude::*;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Measures one call of Python.
pub(crate) struct Stopwatch {
    here: Here,
    /// What the thread had waited, and what stood apart, before.
    before: (u64, u64),
    /// When the interpreter was asked for; 0: it was not attached.
    asked: Cell<u64>,
}

/// Times in nanoseconds.
pub(crate) struct Lap {
    /// When it has begun, and when it has ended.
    pub(crate) asked: u64,
    pub(crate) ended: u64,
    /// For interpreters' locks.
    pub(crate) waited: u64,
    /// In Python.
    pub(crate) ran: u64,
}

impl Stopwatch {
    /// Begins to measure; called before `enter`.
    #[inline]
    pub(crate) fn new() -> Stopwatch {
        let here = Here::new();
        here.begin();
        Stopwatch {
            here,
            before: here.spent(),
            asked: Cell::new(0),
        }
    }

    /// What was waited and stood apart since it has begun.
    #[inline]
    fn since(&self) -> (u64, u64) {
        let (waited, apart) = self.here.spent();
        (
            waited.wrapping_sub(self.before.0),
            apart.wrapping_sub(self.before.1),
        )
    }

    /// The interpreter is attached: gives the time.
    #[inline]
    pub(crate) fn attached(&self) -> u64 {
        let seen = match self.here.attached_at() {
            0 => now(),
            seen => seen,
        };
        self.asked.set(seen.saturating_sub(self.since().0));
        self.here.set_fresh(seen);
        seen
    }

    /// It is not any more. None where it never was.
    #[inline]
    pub(crate) fn lap(self) -> Option<Lap> {
        let asked = self.asked.get();
        if asked == 0 {
            return None;
        }
        let (waited, apart) = self.since();
        let ended = now();
        self.here.set_ended(ended);
        self.here.set_fresh(0);
        let whole = ended.saturating_sub(asked);
        // For what this is a part of, all of it stands apart.
        self.here
            .set_spent((self.before.0, self.before.1.wrapping_add(whole)));
        Some(Lap {
            asked,
            ended,
            waited,
            ran: whole.saturating_sub(waited).saturating_sub(apart),
        })
    }
}

/// Measures `body`, which sends something: it stands apart from Python's time. Gives what it took, without waiting for locks.
#[inline]
pub(crate) fn apart<R>(body: impl FnOnce() -> R) -> (R, u64) {
    let here = Here::new();
    apart_since(here, now(), body)
}

/// As `apart`, where Python has just been left (`Stopwatch::lap`): the clock is not read again.
#[inline]
pub(crate) fn apart_behind<R>(body: impl FnOnce() -> R) -> (R, u64) {
    let here = Here::new();
    apart_since(here, here.ended_at(), body)
}

#[inline]
fn apart_since<R>(here: Here, begun: u64, body: impl FnOnce() -> R) -> (R, u64) {
    let (waited_before, apart_before) = here.spent();
    let result = body();
    let whole = now().saturating_sub(begun);
    let (waited, apart) = here.spent();
    let rest = whole.saturating_sub(waited.wrapping_sub(waited_before));
    here.set_spent((waited, apart_before.wrapping_add(rest)));
    let inner = apart.wrapping_sub(apart_before);
    (result, rest.saturating_sub(inner))
}

/// What the garbage collector of an interpreter has said last.
#[derive(Default)]
struct Seen {
    /// When it is asked again.
    next: AtomicU64,
    garbage: [[AtomicU64; 3]; 3],
}

static SEEN: PerInterpreter<Seen> = PerInterpreter::new();

/// Asks the garbage collector, about once a second, what it has done (gc.get_stats).
#[inline]
pub(crate) fn look_at_garbage(cx: Cx<'_>, now: u64) {
    let seen = SEEN.of(cx);
    let next = seen.next.load(Ordering::Relaxed);
    if now >= next
        && seen
            .next
            .compare_exchange(next, now + SECOND, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    {
        ask(cx, seen);
    }
}

#[cold]
#[inline(never)]
fn ask(cx: Cx<'_>, seen: &Seen) {
    let Some(stats) = super::exception::or_discard(cx.py, stats(cx)) else {
        return;
    };
    let more = std::array::from_fn(|generation| {
        std::array::from_fn(|what| {
            let now = stats.get(generation).and_then(|all| all.get(what));
            let before = seen.garbage.get(generation).and_then(|all| all.get(what));
            let (Some(now), Some(before)) = (now, before) else {
                return 0;
            };
            now.saturating_sub(before.fetch_max(*now, Ordering::Relaxed))
        })
    });
    totals::count_garbage(cx.interpreter, &more);
}

fn stats(cx: Cx<'_>) -> PyResult<Garbage> {
    let all = cx.py.import("gc")?.getattr("get_stats")?.call0()?;
    let mut found = Garbage::default();
    for (generation, into) in all.try_iter()?.zip(&mut found) {
        let generation = generation?;
        for (name, into) in ["collections", "collected", "uncollectable"]
            .iter()
            .zip(into)
        {
            *into = generation.get_item(name)?.extract()?;
        }
    }
    Ok(found)
}
