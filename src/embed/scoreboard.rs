//! What the interpreters of all children have done: a table in memory that httpd's parent shares with them.
//!
//! The parent maps it before it starts children, and keeps it through restarts. A child takes a row for each interpreter,
//! also one of a child that has gone. An interpreter for which no row is free counts in memory of its own, which nobody else sees.

use super::shared::{Segment, Shareable, Text, lives, me};
use crate::config::Gil;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ROWS: usize = 2048;
const NAME: usize = 96;

/// One interpreter of one child. All zeros is a free row.
#[repr(C)]
pub(crate) struct Row {
    /// The child's process; 0 where the row is free, and the negative number while the child fills the row.
    pid: AtomicI32,
    own_gil: AtomicU32,
    /// Seconds since the epoch.
    made: AtomicU64,
    milliseconds: AtomicU32,
    /// The interpreter's name.
    name: Text<{ NAME / 8 }>,
    requests: AtomicU64,
    errors: AtomicU64,
    /// How many there are now, in the order of `Gauge`.
    gauges: [AtomicI64; GAUGES],
    /// Microseconds.
    lag: AtomicU64,
}

/// What an interpreter has a number of at any time.
#[derive(Clone, Copy)]
pub(crate) enum Gauge {
    /// Requests and WebSockets that an event loop has in hand.
    Tasks,
    /// Open WebSockets.
    WebSockets,
    /// Requests that go on without a worker, WebSockets among them.
    Detached,
}

const GAUGES: usize = 3;

/// Counts one, until it is dropped.
pub(crate) struct Counted(&'static AtomicI64);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A row as it was when it was read.
pub(crate) struct Entry {
    pub(crate) pid: i32,
    pub(crate) name: String,
    pub(crate) own_gil: bool,
    pub(crate) made: u64,
    pub(crate) milliseconds: u32,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    /// In the order of `Gauge`.
    pub(crate) gauges: [i64; GAUGES],
    /// How long the event loop has had the last requests wait, in microseconds.
    pub(crate) lag: u64,
}

/// The rows of all children.
struct Table([Row; ROWS]);

// SAFETY: atomics alone; all zeros are free rows.
unsafe impl Shareable for Table {}

static TABLE: Segment<Table> = Segment::new();

/// Maps the table for the children to come; called in the parent.
pub(crate) fn share() {
    TABLE.share();
}

fn rows() -> &'static [Row] {
    TABLE.get().map_or(&[], |table| &table.0)
}

/// Gives the number by which others find a row; one that no row has, where nobody else sees it.
pub(super) fn number_of(row: &Row) -> u32 {
    let first = std::ptr::from_ref(rows()).addr();
    let distance = std::ptr::from_ref(row).addr().wrapping_sub(first);
    let number = distance / size_of::<Row>();
    u32::try_from(number)
        .ok()
        .filter(|_| number < ROWS)
        .unwrap_or(u32::MAX)
}

/// Gives the name in the row that has this number.
pub(crate) fn name_of(number: u32) -> Option<String> {
    let row = rows().get(usize::try_from(number).ok()?)?;
    Some(row.read(0).name)
}

/// Takes a row for a new interpreter of this process.
pub(super) fn enter(name: &str, gil: Gil, took: Duration) -> &'static Row {
    let me = me();
    let row = rows().iter().find(|row| row.take(me));
    let row = row.unwrap_or_else(|| Box::leak(Box::new(Row::free())));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    row.own_gil
        .store(u32::from(gil == Gil::Own), Ordering::Relaxed);
    row.made.store(now.as_secs(), Ordering::Relaxed);
    let milliseconds = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
    row.milliseconds.store(milliseconds, Ordering::Relaxed);
    row.requests.store(0, Ordering::Relaxed);
    row.errors.store(0, Ordering::Relaxed);
    row.lag.store(0, Ordering::Relaxed);
    for gauge in &row.gauges {
        gauge.store(0, Ordering::Relaxed);
    }
    row.name.set(name);
    row.pid.store(me, Ordering::Release);
    row
}

/// Reads the rows of all children that live.
pub(crate) fn entries() -> Vec<Entry> {
    let living = rows().iter().filter_map(|row| {
        let pid = row.pid.load(Ordering::Acquire);
        (pid > 0 && lives(pid)).then(|| row.read(pid))
    });
    living.collect()
}

impl Row {
    const fn free() -> Row {
        Row {
            pid: AtomicI32::new(0),
            own_gil: AtomicU32::new(0),
            made: AtomicU64::new(0),
            milliseconds: AtomicU32::new(0),
            name: Text::empty(),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            gauges: [const { AtomicI64::new(0) }; GAUGES],
            lag: AtomicU64::new(0),
        }
    }

    /// Takes the row if it is free, or its child has gone. Has it been taken?
    fn take(&self, me: i32) -> bool {
        let owner = self.pid.load(Ordering::Relaxed);
        (owner == 0 || (owner.abs() != me && !lives(owner.abs())))
            && self
                .pid
                .compare_exchange(owner, -me, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    fn read(&self, pid: i32) -> Entry {
        Entry {
            pid,
            name: self.name.get(),
            own_gil: self.own_gil.load(Ordering::Relaxed) != 0,
            made: self.made.load(Ordering::Relaxed),
            milliseconds: self.milliseconds.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            gauges: std::array::from_fn(|place| {
                let gauge = self.gauges.get(place);
                gauge.map_or(0, |gauge| gauge.load(Ordering::Relaxed))
            }),
            lag: self.lag.load(Ordering::Relaxed),
        }
    }

    /// Counts one more.
    pub(crate) fn count(&'static self, gauge: Gauge) -> Option<Counted> {
        let gauge = self.gauges.get(gauge as usize)?;
        gauge.fetch_add(1, Ordering::Relaxed);
        Some(Counted(gauge))
    }

    /// Remembers how long the event loop has had requests wait.
    pub(crate) fn set_lag(&self, lag: Duration) {
        let lag = u64::try_from(lag.as_micros()).unwrap_or(u64::MAX);
        self.lag.store(lag, Ordering::Relaxed);
    }

    /// Counts a request that has come to its content phase.
    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a handler that has failed.
    pub(crate) fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written() {
        share();
        let long = "long ".repeat(40);
        let row = enter("interpreter", Gil::Own, Duration::from_millis(7));
        enter(&long, Gil::Shared, Duration::ZERO);
        row.count_request();
        row.count_error();
        row.set_lag(Duration::from_millis(2));
        let counted = [Gauge::Tasks, Gauge::Tasks, Gauge::Detached].map(|gauge| row.count(gauge));
        drop(row.count(Gauge::WebSockets));
        let all = entries();
        let found = all.iter().find(|entry| entry.name == "interpreter");
        let found = found.unwrap();
        assert!(found.own_gil && found.milliseconds == 7 && found.made > 0);
        assert_eq!((found.requests, found.errors), (1, 1));
        assert_eq!((found.gauges, found.lag), ([2, 0, 1], 2000));
        drop(counted);
        assert!(
            all.iter()
                .any(|entry| entry.name.starts_with("long long ") && entry.name.len() == NAME)
        );
    }
}
