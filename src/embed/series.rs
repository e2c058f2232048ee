//! The rates of all children together, in shared memory: what `totals` and `children` count, spread over the steps of `rates`.
//!
//! No thread is there for it. Whoever ends a request in a new second looks at the counters, and so does whoever reads. What was counted
//! between two looks came before the last change of a counter: so the time after that, in which nothing happened, gets nothing.
//!
//! One process looks at a time, the holder of a lease. What it writes follows from the last state that was made complete, so where it is
//! killed half way, the next one writes the same steps anew.

use super::children;
use super::rates::{ARCHIVES, Archive, Growth};
use super::shared::{Segment, Shareable, lives, me};
use super::totals::{self, COUNTERS};
use crate::httpd::clock::{self, SECOND, since_start as now};
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Behind the counters of `totals`: processor time in microseconds, and memory in KiB times milliseconds.
const PROCESSOR: usize = COUNTERS;
const MEMORY: usize = COUNTERS + 1;
pub(crate) const SERIES: usize = COUNTERS + 2;

const POINTS: usize = 600 + 1_440 + 2_016;
/// After so many seconds somebody else may take over from a process that still lives: its number may be another's by now.
const LEASE: u64 = 60;

/// How far all has been counted.
#[repr(C)]
struct State {
    /// Milliseconds of `clock::since_start`.
    at: AtomicU64,
    counted: [AtomicU64; SERIES],
    /// What the step of `at` has, in each archive.
    open: [[AtomicU64; SERIES]; ARCHIVES.len()],
}

/// The series. All zeros are series that nothing is known of.
#[repr(C)]
struct Table {
    /// The process that looks, in the lower half, and the second in which it has begun; 0 for nobody.
    holder: AtomicU64,
    /// Which of the states is complete: its lowest bit.
    turn: AtomicU64,
    states: [State; 2],
    points: [[AtomicU64; POINTS]; SERIES],
}

// SAFETY: atomics alone; all zeros are empty series.
unsafe impl Shareable for Table {}

static TABLE: Segment<Table> = Segment::new();

/// When this process has to look again.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Maps the series, which begin now; called in the parent.
pub(crate) fn share() {
    if TABLE.share()
        && let Some(table) = TABLE.get()
        && let [state, _] = &table.states
    {
        state.at.store(now() / 1_000_000, Ordering::Relaxed);
    }
}

/// Something was counted at this time: looks at all counters, in the first request of a second.
#[inline]
pub(crate) fn tick(now: u64) {
    let next = NEXT.load(Ordering::Relaxed);
    if now >= next {
        look_at(now, next);
    }
}

#[cold]
#[inline(never)]
fn look_at(now: u64, next: u64) {
    let after = (now / SECOND + 1) * SECOND;
    // One of the threads that see the new second does it.
    if NEXT
        .compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed)
        .is_ok()
    {
        children::look();
        if let Some(table) = TABLE.get() {
            table.look();
        }
    }
}

/// Looks at all counters now.
pub(crate) fn look() {
    children::look();
    if let Some(table) = TABLE.get() {
        table.look();
    }
}

/// What has been seen of the counters.
struct Seen {
    at: u64,
    /// When a counter of requests was changed last.
    touched: u64,
    counters: totals::Counts,
    processor: u64,
    memory: u64,
}

impl Seen {
    fn now() -> Seen {
        let (counters, touched) = totals::sums();
        let (processor, memory) = children::sums();
        Seen {
            at: now() / 1_000_000,
            // The end of the millisecond in which it was changed.
            // A machine that has slept since has done so behind it.
            touched: (touched + now().saturating_sub(clock::now())).div_ceil(1_000_000),
            counters,
            processor,
            memory,
        }
    }
}

impl Table {
    /// Looks, unless another process does.
    fn look(&self) {
        let Some(lease) = self.take() else { return };
        let seen = Seen::now();
        let turn = self.turn.load(Ordering::Acquire);
        self.record(turn, &seen);
        if self.holder.load(Ordering::Relaxed) == lease {
            self.turn.store(turn + 1, Ordering::Release);
        }
        let free = self
            .holder
            .compare_exchange(lease, 0, Ordering::Release, Ordering::Relaxed);
        // Where it fails, somebody has taken over.
        let _ = free;
    }

    fn take(&self) -> Option<u64> {
        let holder = self.holder.load(Ordering::Relaxed);
        let (seconds, me) = (now() / SECOND, u64::from(me().unsigned_abs()));
        let is_free = holder == 0 || {
            let pid = i32::try_from(holder & u64::from(u32::MAX)).unwrap_or(0);
            !lives(pid) || seconds.saturating_sub(holder >> 32) > LEASE
        };
        let lease = seconds << 32 | me;
        let taken = is_free
            && self
                .holder
                .compare_exchange(holder, lease, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        taken.then_some(lease)
    }

    /// Writes what has come since the last complete state, and the state that is complete next.
    fn record(&self, turn: u64, seen: &Seen) {
        let (Some(before), Some(after)) = (self.state(turn), self.state(turn + 1)) else {
            return;
        };
        let from = before.at.load(Ordering::Relaxed);
        let at = seen.at.max(from);
        after.at.store(at, Ordering::Relaxed);
        for (series, points) in self.points.iter().enumerate() {
            let get = |values: &[AtomicU64; SERIES]| {
                let value = values.get(series);
                value.map_or(0, |value| value.load(Ordering::Relaxed))
            };
            let set = |values: &[AtomicU64; SERIES], new| {
                if let Some(value) = values.get(series) {
                    value.store(new, Ordering::Relaxed);
                }
            };
            let counted = get(&before.counted);
            let total = match series {
                MEMORY => 0,
                PROCESSOR => seen.processor,
                _ => seen.counters.get(series).copied().unwrap_or(counted),
            };
            // Where another process had seen more, that is not taken back.
            let total = total.max(counted);
            let amount = match series {
                MEMORY => seen.memory.saturating_mul(at - from),
                _ => total - counted,
            };
            let to = match series {
                PROCESSOR | MEMORY => at,
                _ => seen.touched.clamp(from, at),
            };
            for (archive, (old, new)) in before.open.iter().zip(&after.open).enumerate() {
                let Some((kept, base)) = place(archive) else {
                    continue;
                };
                let write = |step: u64, value| {
                    let point = base + usize::try_from(step % kept.steps).unwrap_or(0);
                    if let Some(point) = points.get(point) {
                        point.store(value, Ordering::Relaxed);
                    }
                };
                let open = kept.advance(get(old), Growth { from, to, amount }, write);
                let rest = Growth {
                    from: to,
                    to: at,
                    amount: 0,
                };
                set(new, kept.advance(open, rest, write));
            }
            set(&after.counted, total);
        }
    }

    fn state(&self, turn: u64) -> Option<&State> {
        self.states.get(usize::from(turn & 1 == 1))
    }
}

/// An archive, and where its points begin.
fn place(archive: usize) -> Option<(Archive, usize)> {
    let before: u64 = ARCHIVES.get(..archive)?.iter().map(|one| one.steps).sum();
    Some((*ARCHIVES.get(archive)?, usize::try_from(before).ok()?))
}

/// Series as they were when they were read.
pub(crate) struct Reading {
    /// The length of a step in milliseconds.
    pub(crate) step: u64,
    /// How many milliseconds ago the last look was, and how many of the newest step had gone by then.
    pub(crate) age: u64,
    pub(crate) open: u64,
    /// The points of each series, the oldest first.
    pub(crate) series: Vec<Vec<u64>>,
}

/// Reads an archive; may wait a moment for a process that looks.
pub(crate) fn read(archive: usize) -> Option<Reading> {
    let table = TABLE.get()?;
    let (kept, base) = place(archive)?;
    let mut tries = 0;
    loop {
        let turn = table.turn.load(Ordering::Acquire);
        let reading = table.reading(turn, kept, base);
        fence(Ordering::Acquire);
        let quiet = table.holder.load(Ordering::Relaxed) == 0;
        tries += 1;
        // What is read in vain for so long is better than nothing: of the newest steps something may be missing.
        if quiet && table.turn.load(Ordering::Relaxed) == turn || tries > 100 {
            return reading;
        }
        std::thread::yield_now();
    }
}

impl Table {
    fn reading(&self, turn: u64, kept: Archive, base: usize) -> Option<Reading> {
        let at = self.state(turn)?.at.load(Ordering::Relaxed);
        let newest = kept.step_of(at);
        let oldest = (newest + 1).saturating_sub(kept.steps);
        let series = self.points.iter().map(|points| {
            let steps = (oldest..=newest).map(|step| {
                let point = base + usize::try_from(step % kept.steps).unwrap_or(0);
                let point = points.get(point);
                point.map_or(0, |point| point.load(Ordering::Relaxed))
            });
            steps.collect()
        });
        Some(Reading {
            step: kept.step,
            age: (now() / 1_000_000).saturating_sub(at),
            open: at - newest * kept.step,
            series: series.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> &'static Table {
        // SAFETY: all zeros are empty series.
        let table: &'static Table = unsafe { Box::leak(Box::<Table>::new_zeroed().assume_init()) };
        table.states[0].at.store(BEGUN, Ordering::Relaxed);
        table
    }

    const BEGUN: u64 = 1_000_000;

    fn seen(at: u64, touched: u64, count: u64) -> Seen {
        Seen {
            at,
            touched,
            counters: [count; COUNTERS],
            processor: count,
            memory: 3,
        }
    }

    fn look(table: &Table, seen: &Seen) {
        let turn = table.turn.load(Ordering::Relaxed);
        table.record(turn, seen);
        table.turn.store(turn + 1, Ordering::Relaxed);
    }

    fn series(table: &Table, archive: usize) -> Vec<Vec<u64>> {
        let (kept, base) = place(archive).unwrap();
        let turn = table.turn.load(Ordering::Relaxed);
        table.reading(turn, kept, base).unwrap().series
    }

    #[test]
    fn each_series_adds_up_to_its_counter() {
        let table = table();
        let mut count = 0;
        for number in 1..200_u64 {
            count += number * number % 17;
            let at = BEGUN + number * 1_313;
            look(table, &seen(at, at - 700, count));
            if number % 7 == 0 {
                // Killed in the middle: another one goes on.
                table.record(
                    table.turn.load(Ordering::Relaxed),
                    &seen(at + 5, at + 1, count + 1),
                );
            }
        }
        for archive in 0..ARCHIVES.len() {
            let series = series(table, archive);
            for points in &series[..=PROCESSOR] {
                assert_eq!(points.iter().sum::<u64>(), count, "{archive}");
            }
            assert_eq!(series[MEMORY].iter().sum::<u64>(), 3 * 199 * 1_313);
        }
    }

    #[test]
    fn after_the_last_change_nothing_is_counted() {
        let table = table();
        look(table, &seen(BEGUN + 3_600_000, BEGUN + 900, 500));
        let series = series(table, 1);
        let all: Vec<u64> = series[0]
            .iter()
            .copied()
            .filter(|&value| value > 0)
            .collect();
        assert_eq!(all, [500]);
    }

    #[test]
    fn a_clock_that_stands_still_or_a_counter_that_has_less_takes_nothing_back() {
        let table = table();
        look(table, &seen(BEGUN + 6_000, BEGUN + 5_500, 9));
        look(table, &seen(4_000, BEGUN + 9_999, 7));
        look(table, &seen(BEGUN + 6_000, BEGUN + 6_000, 10));
        assert_eq!(series(table, 0)[0].iter().sum::<u64>(), 10);
    }

    #[test]
    fn one_process_looks_at_a_time_and_the_next_takes_over() {
        let table = table();
        let lease = table.take().unwrap();
        assert!(table.take().is_none());
        // Its process has gone.
        table.holder.store(
            lease & !u64::from(u32::MAX) | 0x7FFF_FFFE,
            Ordering::Relaxed,
        );
        assert!(table.take().is_some());
        // It has been at it for too long.
        table
            .holder
            .store(u64::from(std::process::id()), Ordering::Relaxed);
        assert_eq!(table.take().is_some(), now() / SECOND > LEASE);
    }
}
