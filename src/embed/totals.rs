//! What all children have done since httpd was started, by interpreter and application: counters in shared memory that only grow.
//!
//! A counter belongs to a name, not to a child: where a child ends, or is killed, nothing has to be carried over, and nothing is lost.
//! So that threads on many processors do not wait for one another's memory, each adds to one of some stripes; readers sum them. A
//! table that is full counts under the name `other`.

use super::interpreter::Interpreter;
use super::shared::{Segment, Shareable, Text, lives, me};
use rustc_hash::FxHashMap;
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

/// The upper bounds of the latency histogram, in nanoseconds.
pub(crate) const BOUNDS: [u64; 17] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    60_000_000_000,
];

/// What is counted, in this order; behind it a counter a bucket of the histogram, the last for what is longer than all bounds. Times are
/// read in microseconds; the table has them in nanoseconds.
pub(crate) const NAMES: [&str; 12] = [
    "errors", "1xx", "2xx", "3xx", "4xx", "5xx", "bytes", "waiting", "python", "sending",
    "duration", "timeouts",
];
const ERRORS: usize = 0;
const CLASSES: usize = 1;
const BYTES: usize = 6;
const WAITING: usize = 7;
const PYTHON: usize = 8;
const SENDING: usize = 9;
const DURATION: usize = 10;
const TIMEOUTS: usize = 11;
const TIMES: [usize; 4] = [WAITING, PYTHON, SENDING, DURATION];
const BUCKETS: usize = NAMES.len();

pub(crate) const COUNTERS: usize = BUCKETS + BOUNDS.len() + 1;

/// The counters' values, in their order.
pub(crate) type Counts = [u64; COUNTERS];

const ROWS: usize = 512;
const STRIPES: usize = 16;
const NAME: usize = 96;
/// The row for what has none of its own.
const OTHER: usize = 0;
/// `Row::state` of a row that has its names.
const READY: i32 = i32::MAX;
/// Generations of Python's garbage collector, and what it says of each: collections, collected, uncollectable.
pub(crate) type Garbage = [[u64; 3]; 3];

/// What one application has done in the interpreters of one name. All zeros is a free row.
#[repr(C, align(64))]
struct Row {
    /// 0: free; READY; or the negative number of the process that fills it.
    state: AtomicI32,
    interpreter: Text<{ NAME / 8 }>,
    application: Text<{ NAME / 8 }>,
    garbage: [[AtomicU64; 3]; 3],
    stripes: [Stripe; STRIPES],
}

#[repr(C, align(64))]
struct Stripe {
    counters: [AtomicU64; COUNTERS],
    /// When something was counted last (`httpd::clock`).
    touched: AtomicU64,
}

struct Table([Row; ROWS]);

// SAFETY: atomics alone; all zeros are free rows.
unsafe impl Shareable for Table {}

static TABLE: Segment<Table> = Segment::new();

/// Maps the table; called in the parent.
pub(crate) fn share() {
    if TABLE.share()
        && let Some(other) = row(OTHER)
    {
        other.name("other", "other");
    }
}

fn rows() -> &'static [Row] {
    TABLE.get().map_or(&[], |table| &table.0)
}

fn row(place: usize) -> Option<&'static Row> {
    rows().get(place)
}

impl Row {
    fn name(&self, interpreter: &str, application: &str) {
        self.interpreter.set(interpreter);
        self.application.set(application);
        self.state.store(READY, Ordering::Release);
    }

    /// Takes the row if it is free, or whoever was about to fill it has gone. Has it been taken?
    fn take(&self, state: i32, me: i32) -> bool {
        (state == 0 || (state < 0 && state != -me && !lives(-state)))
            && self
                .state
                .compare_exchange(state, -me, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }
}

/// Finds the row of a name, or gives it one. Two that look at once may both give it one: readers add up what has one name.
fn find(interpreter: &str, application: &str) -> usize {
    let me = me();
    for (place, row) in rows().iter().enumerate().skip(OTHER + 1) {
        let state = row.state.load(Ordering::Acquire);
        if state == READY {
            if row.interpreter.is(interpreter) && row.application.is(application) {
                return place;
            }
        } else if row.take(state, me) {
            row.name(interpreter, application);
            return place;
        }
    }
    OTHER
}

/// How many names of an interpreter a thread remembers: an application may choose names.
const MOST_KNOWN: usize = 2 * ROWS;

thread_local! {
    static THREAD: Thread = const {
        Thread { last: Cell::new(None), current: Cell::new(None), stripe: Cell::new(STRIPES) }
    };
    /// The names that this thread has asked for, by the interpreter's address, and their rows.
    static KNOWN: RefCell<FxHashMap<usize, Names>> = RefCell::default();
}

/// Where something is counted that an interpreter does for an application.
#[derive(Clone, Copy)]
struct Known {
    interpreter: *const Interpreter,
    application: &'static str,
    row: usize,
}

/// Applications of an interpreter, and their rows.
type Names = FxHashMap<&'static str, usize>;

struct Thread {
    /// What was asked for last.
    last: Cell<Option<Known>>,
    /// Where errors are counted.
    current: Cell<Option<usize>>,
    stripe: Cell<usize>,
}

/// Where an interpreter's work for an application is counted: the number of its row, and of this thread's stripe there. Empty is the
/// application's name for what belongs to none.
#[inline]
pub(crate) fn place(interpreter: &'static Interpreter, application: &str) -> usize {
    let (last, stripe) = THREAD.with(|thread| (thread.last.get(), thread.stripe()));
    let row = match last {
        Some(last)
            if std::ptr::eq(last.interpreter, interpreter) && last.application == application =>
        {
            last.row
        }
        last => other_row(last, interpreter, application),
    };
    row * STRIPES + stripe
}

#[cold]
#[inline(never)]
fn other_row(last: Option<Known>, interpreter: &'static Interpreter, application: &str) -> usize {
    let found = KNOWN.try_with(|known| look_up(&mut known.borrow_mut(), interpreter, application));
    let found = found.ok().flatten();
    THREAD.with(|thread| thread.last.set(found.or(last)));
    found.map_or_else(|| find(interpreter.name(), application), |found| found.row)
}

/// None where the thread remembers too many names.
#[cold]
#[inline(never)]
fn look_up(
    known: &mut FxHashMap<usize, Names>,
    interpreter: &'static Interpreter,
    application: &str,
) -> Option<Known> {
    let names = known
        .entry(std::ptr::from_ref(interpreter).addr())
        .or_default();
    let (application, row) = match names.get_key_value(application) {
        Some((name, row)) => (*name, *row),
        None if names.len() >= MOST_KNOWN => return None,
        None => {
            let application: &'static str = Box::leak(application.into());
            let row = find(interpreter.name(), application);
            names.insert(application, row);
            (application, row)
        }
    };
    Some(Known {
        interpreter,
        application,
        row,
    })
}

impl Thread {
    /// The stripe that this thread adds to.
    #[inline]
    fn stripe(&self) -> usize {
        let stripe = self.stripe.get();
        if stripe < STRIPES {
            return stripe;
        }
        self.take_stripe()
    }

    #[cold]
    fn take_stripe(&self) -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Children, which all begin to count at 0, take different ones.
        let process = usize::try_from(std::process::id()).unwrap_or_default();
        let stripe = (process + NEXT.fetch_add(1, Ordering::Relaxed)) % STRIPES;
        self.stripe.set(stripe);
        stripe
    }
}

/// While it lives, errors in this thread are those of a row.
pub(crate) struct Current(Option<usize>);

impl Current {
    #[inline]
    pub(crate) fn new(place: usize) -> Current {
        Current(THREAD.with(|thread| thread.current.replace(Some(place))))
    }
}

impl Drop for Current {
    #[inline]
    fn drop(&mut self) {
        THREAD.with(|thread| thread.current.set(self.0));
    }
}

#[inline]
fn stripe(place: usize) -> Option<&'static Stripe> {
    row(place / STRIPES)?.stripes.get(place % STRIPES)
}

impl Stripe {
    #[inline]
    fn add(&self, counter: usize, amount: u64) {
        if amount > 0
            && let Some(counter) = self.counters.get(counter)
        {
            counter.fetch_add(amount, Ordering::Relaxed);
        }
    }
}

/// Counts an error of an interpreter's.
pub(crate) fn count_error(interpreter: &'static Interpreter) {
    count_one(interpreter, ERRORS);
}

/// Counts a call of Python that PythonTimeout has ended.
pub(crate) fn count_timeout(interpreter: &'static Interpreter) {
    count_one(interpreter, TIMEOUTS);
}

fn count_one(interpreter: &'static Interpreter, what: usize) {
    let current = THREAD.with(|thread| thread.current.get());
    let place = current.unwrap_or_else(|| place(interpreter, ""));
    if let Some(stripe) = stripe(place) {
        stripe.add(what, 1);
        stripe
            .touched
            .store(crate::httpd::clock::now(), Ordering::Relaxed);
    }
}

/// What is counted at a request's end. Times are in nanoseconds.
#[derive(Default)]
pub(crate) struct Done {
    /// The status that it was answered with; None where another module has answered it.
    pub(crate) status: Option<i64>,
    pub(crate) bytes: u64,
    pub(crate) waited: u64,
    pub(crate) ran: u64,
    pub(crate) sent: u64,
    /// None where it says nothing of how fast the application is.
    pub(crate) duration: Option<u64>,
}

/// Counts a request at its end.
#[inline]
pub(crate) fn count(place: usize, now: u64, done: &Done) {
    let Some(stripe) = stripe(place) else {
        return;
    };
    stripe.add(WAITING, done.waited);
    stripe.add(PYTHON, done.ran);
    stripe.add(SENDING, done.sent);
    if let Some(status) = done.status {
        stripe.add(CLASSES + class(status), 1);
        stripe.add(BYTES, done.bytes);
    }
    if let Some(duration) = done.duration {
        stripe.add(DURATION, duration);
        stripe.add(BUCKETS + bucket(duration), 1);
    }
    stripe.touched.store(now, Ordering::Relaxed);
}

/// 0 to 4 for 1xx to 5xx; what is none of these has become an error.
fn class(status: i64) -> usize {
    if (200..300).contains(&status) {
        return 1;
    }
    usize::try_from(status / 100 - 1).map_or(4, |class| class.min(4))
}

fn bucket(duration: u64) -> usize {
    let bucket = BOUNDS.iter().position(|&bound| duration <= bound);
    bucket.unwrap_or(BOUNDS.len())
}

/// Counts what Python's garbage collector has done, as differences.
pub(super) fn count_garbage(interpreter: &'static Interpreter, more: &Garbage) {
    let Some(row) = row(place(interpreter, "") / STRIPES) else {
        return;
    };
    for (counter, more) in row.garbage.iter().flatten().zip(more.iter().flatten()) {
        counter.fetch_add(*more, Ordering::Relaxed);
    }
}

/// A row as it was when it was read.
pub(crate) struct Entry {
    pub(crate) interpreter: String,
    pub(crate) application: String,
    pub(crate) counts: Counts,
    pub(crate) garbage: Garbage,
}

/// Reads all rows that have names. Two may have the same.
pub(crate) fn entries() -> Vec<Entry> {
    let named = named().map(|row| {
        let mut counts = [0; COUNTERS];
        row.sum(&mut counts);
        Entry {
            interpreter: row.interpreter.get(),
            application: row.application.get(),
            counts,
            garbage: std::array::from_fn(|generation| {
                let row = row.garbage.get(generation);
                std::array::from_fn(|what| {
                    let counter = row.and_then(|row| row.get(what));
                    counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
                })
            }),
        }
    });
    named.collect()
}

/// All counters, each summed over all rows, and when one of them was changed last.
pub(super) fn sums() -> (Counts, u64) {
    let mut counts = [0; COUNTERS];
    let touched = named().map(|row| row.sum(&mut counts)).max();
    (counts, touched.unwrap_or(0))
}

fn named() -> impl Iterator<Item = &'static Row> {
    let states = rows()
        .iter()
        .map(|row| (row, row.state.load(Ordering::Acquire)));
    states
        .take_while(|(_, state)| *state != 0)
        .filter(|(_, state)| *state == READY)
        .map(|(row, _)| row)
}

impl Row {
    /// Adds the row's counters to others; gives when one of them was changed last. Each row's times are cut to microseconds by themselves:
    /// whoever adds up rows gets the same.
    fn sum(&self, counts: &mut Counts) -> u64 {
        let (mut own, mut touched) = ([0_u64; COUNTERS], 0);
        for stripe in &self.stripes {
            for (count, counter) in own.iter_mut().zip(&stripe.counters) {
                *count = count.wrapping_add(counter.load(Ordering::Relaxed));
            }
            touched = touched.max(stripe.touched.load(Ordering::Relaxed));
        }
        for time in TIMES {
            if let Some(time) = own.get_mut(time) {
                *time /= 1000;
            }
        }
        for (count, own) in counts.iter_mut().zip(own) {
            *count = count.wrapping_add(own);
        }
        touched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_rows_until_there_are_no_more() {
        share();
        let shop = find("main", "shop:app");
        assert_ne!(shop, OTHER);
        assert_eq!(find("main", "shop:app"), shop);
        assert_ne!(find("main", ""), shop);
        // A child was killed while it filled a row; this process has no such number.
        let left = find("left", "");
        row(left)
            .unwrap()
            .state
            .store(-(i32::MAX - 1), Ordering::Relaxed);
        assert_eq!(find("taken over", ""), left);
        for number in 0..2 * ROWS {
            find(&format!("{number}"), "");
        }
        assert_eq!(find("one too many", "x"), OTHER);
        let all = entries();
        assert_eq!(all.len(), ROWS);
        let other = all.first().unwrap();
        assert_eq!(
            (&*other.interpreter, &*other.application),
            ("other", "other")
        );
    }

    #[test]
    fn a_request_is_counted_once_in_each_way() {
        share();
        let done = Done {
            status: Some(404),
            bytes: 12,
            waited: 1_600,
            ran: 20_000,
            sent: 0,
            duration: Some(300_000),
        };
        let found = find("counted", "once");
        let place = found * STRIPES + 3;
        count(place, 77, &done);
        let mut counts = [0; COUNTERS];
        assert_eq!(row(found).unwrap().sum(&mut counts), 77);
        let (named, buckets) = counts.split_at(BUCKETS);
        assert_eq!(named, [0, 0, 0, 0, 1, 0, 12, 1, 20, 0, 300, 0]);
        assert_eq!(buckets.iter().sum::<u64>(), 1);
        assert_eq!(buckets[2], 1);
    }

    #[test]
    fn every_status_and_duration_has_its_place() {
        assert_eq!(
            [0, 99, 100, 200, 304, 418, 599, 600, -1].map(class),
            [4, 4, 0, 1, 2, 3, 4, 4, 4]
        );
        assert_eq!(
            [0, 100_000, 100_001, u64::MAX].map(bucket),
            [0, 0, 1, BOUNDS.len()]
        );
    }
}
