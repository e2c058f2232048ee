//! How long a thread is in Python for something: of the time between `enter` and its end, what it has waited for locks is no part, nor what
//! stands apart: sending, and other calls of Python inside of this one, which are measured by themselves.

use super::interpreter::{Cx, PerInterpreter};
use super::threads;
use super::totals::{self, Garbage};
use crate::httpd::clock::{SECOND, now};
use pyo3::prelude::*;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Measures one call of Python, or several behind one another.
pub(crate) struct Stopwatch {
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
        Stopwatch {
            before: threads::begin(),
            asked: Cell::new(0),
        }
    }

    /// The interpreter is attached: gives the time.
    #[inline]
    pub(crate) fn attached(&self) -> u64 {
        let (waited, _) = threads::spent();
        let seen = match threads::attached_at() {
            0 => now(),
            seen => seen,
        };
        let waited = waited.wrapping_sub(self.before.0);
        self.asked.set(seen.saturating_sub(waited));
        seen
    }

    /// It is not any more. None where it never was.
    #[inline]
    pub(crate) fn lap(self) -> Option<Lap> {
        let asked = self.asked.get();
        if asked == 0 {
            return None;
        }
        let (waited, apart) = threads::spent();
        let waited = waited.wrapping_sub(self.before.0);
        let apart = apart.wrapping_sub(self.before.1);
        let end = now();
        let whole = end.saturating_sub(asked);
        threads::stand_apart(self.before, whole);
        Some(Lap {
            asked,
            ended: end,
            waited,
            ran: whole.saturating_sub(waited).saturating_sub(apart),
        })
    }
}

/// Measures `body`, which sends something: it stands apart from Python's time. Gives what it took, without waiting for locks.
#[inline]
pub(crate) fn apart<R>(body: impl FnOnce() -> R) -> (R, u64) {
    let before = threads::spent();
    let begun = now();
    let result = body();
    let end = now();
    let whole = end.saturating_sub(begun);
    let (waited, inner) = threads::spent();
    let waited = waited.wrapping_sub(before.0);
    let inner = inner.wrapping_sub(before.1);
    let took = whole.saturating_sub(waited).saturating_sub(inner);
    let spent = (waited.wrapping_add(before.0), before.1);
    threads::stand_apart(spent, whole.saturating_sub(waited));
    (result, took)
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
