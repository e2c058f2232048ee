//! Processor time and memory of httpd's children, as each says of itself about once a second while it serves requests.

use super::shared::{Segment, Shareable, lives, me};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const CHILDREN: usize = 2048;

/// One child. All zeros is a free place.
#[repr(C)]
struct Child {
    /// 0 where the place is free.
    pid: AtomicI32,
    /// Seconds since the epoch.
    born: AtomicU64,
    /// Resident memory in KiB.
    memory: AtomicU64,
    /// Processor time in microseconds.
    processor: AtomicU64,
}

struct Table {
    /// Processor time of all children, also of those that have ended.
    processor: AtomicU64,
    children: [Child; CHILDREN],
}

// SAFETY: atomics alone; all zeros are free places.
unsafe impl Shareable for Table {}

static TABLE: Segment<Table> = Segment::new();

/// This process's place.
static MINE: AtomicPtr<Child> = AtomicPtr::new(std::ptr::null_mut());

/// Maps the table; called in the parent.
pub(crate) fn share() {
    TABLE.share();
}

/// Takes a place for this child, also one of a child that has gone; where there is none, nobody sees its memory.
pub(crate) fn enter() {
    let me = me();
    let children = TABLE.get().map_or(&[][..], |table| &table.children);
    let place = children.iter().find(|child| {
        let owner = child.pid.load(Ordering::Relaxed);
        (owner == 0 || owner == me || !lives(owner))
            && child
                .pid
                .compare_exchange(owner, me, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    });
    let Some(child) = place else { return };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    child
        .born
        .store(now.unwrap_or_default().as_secs(), Ordering::Relaxed);
    child.processor.store(0, Ordering::Relaxed);
    child.memory.store(0, Ordering::Relaxed);
    MINE.store(std::ptr::from_ref(child).cast_mut(), Ordering::Release);
    look();
}

/// This process's place, while it has one.
fn mine() -> Option<&'static Child> {
    // SAFETY: NULL, or a place in memory that is never given up.
    unsafe { MINE.load(Ordering::Acquire).as_ref() }
}

/// Measures this child.
pub(crate) fn look() {
    if let Some(child) = mine() {
        child.count();
        child.memory.store(memory(), Ordering::Relaxed);
    }
}

/// Counts what processor time this child has used, and gives its place up. On prefork this may run in a signal handler: nothing is
/// allocated here.
pub(crate) fn leave() {
    if let Some(child) = mine() {
        child.count();
        MINE.store(std::ptr::null_mut(), Ordering::Release);
        child.pid.store(0, Ordering::Release);
    }
}

impl Child {
    /// Adds the processor time that this process has used since to that of all.
    fn count(&self) {
        let used = processor();
        // Where two threads look at once, the later one adds what is missing.
        let more = used.saturating_sub(self.processor.fetch_max(used, Ordering::Relaxed));
        if let Some(table) = TABLE.get() {
            table.processor.fetch_add(more, Ordering::Relaxed);
        }
    }
}

/// This process's processor time in microseconds (getrusage).
fn processor() -> u64 {
    // SAFETY: a structure of numbers, which is filled.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let [user, system] = [usage.ru_utime, usage.ru_stime]
        .map(|time| time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_usec.unsigned_abs());
    user + system
}

/// This process's resident memory in KiB (proc(5), statm).
fn memory() -> u64 {
    // SAFETY: asks for a constant.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.unsigned_abs() / 1024;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|text| text.parse().ok());
    page * pages.unwrap_or(0)
}

/// A child that lives, as it was when it was looked at last.
pub(crate) struct Entry {
    pub(crate) pid: i32,
    pub(crate) born: u64,
    pub(crate) memory: u64,
    pub(crate) processor: u64,
}

/// The children that live.
pub(crate) fn entries() -> Vec<Entry> {
    let children = TABLE.get().map_or(&[][..], |table| &table.children);
    let living = children.iter().filter_map(|child| {
        let pid = child.pid.load(Ordering::Acquire);
        (pid > 0 && lives(pid)).then(|| Entry {
            pid,
            born: child.born.load(Ordering::Relaxed),
            memory: child.memory.load(Ordering::Relaxed),
            processor: child.processor.load(Ordering::Relaxed),
        })
    });
    living.collect()
}

/// Processor time, in microseconds, of all children that there have been, and the memory in KiB of those that live.
pub(crate) fn sums() -> (u64, u64) {
    let used = TABLE
        .get()
        .map_or(0, |table| table.processor.load(Ordering::Relaxed));
    let memory = entries().iter().map(|child| child.memory).sum();
    (used, memory)
}
