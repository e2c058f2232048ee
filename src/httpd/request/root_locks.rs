//! Locks that belong to a root request, that is, one which the client has sent: its sub-requests and redirects share them, in
//! whatever interpreter, phase and thread. Sessions are locked by these.
//!
//! Locks that are still held when the root's pool ends are freed by a clean-up of that pool. It is an ordinary one, so it runs
//! after the pre-clean-ups, in which Python code runs for the last time, and when the pools of sub-requests have gone. It needs
//! no Python.

use crate::httpd::apr::key_locks::{Attempt, Lock};
use crate::httpd::request::Request;
use crate::httpd::request::server::mpm_query;
use crate::httpd::sys;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// How long a thread that would wait for ever waits on in a child that is about to end.
const LAST: Duration = Duration::from_secs(10);
/// How often a thread that waits looks whether its child is about to end.
const LOOK: Duration = Duration::from_millis(500);
/// The longest pause between two attempts to take what another process has.
const PAUSE: Duration = Duration::from_millis(8);

/// A root request, by a number that no other one of the child ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Root(u64);

/// Why a lock was not had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Others have had it for longer than this request may wait.
    Busy,
    /// The request has ended meanwhile.
    Ended,
    /// The system has no locks left.
    Failed,
}

/// Which root holds which lock in this child. It is in TABLE, which is locked for moments only, and never while a thread waits.
struct Table {
    /// The roots that live, by their address.
    roots: BTreeMap<usize, Root>,
    living: BTreeSet<Root>,
    held: BTreeMap<Lock, Holder>,
    last: u64,
    /// How many threads wait for a change.
    waiting: usize,
}

struct Holder {
    /// The root; None where it has ended while one of its threads was waiting for another process.
    root: Option<Root>,
    /// How often the root has taken it. 0 while a thread waits for another process that has it.
    count: usize,
}

static TABLE: Mutex<Table> = Mutex::new(Table {
    roots: BTreeMap::new(),
    living: BTreeSet::new(),
    held: BTreeMap::new(),
    last: 0,
    waiting: 0,
});
static CHANGED: Condvar = Condvar::new();

fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the root that a request belongs to.
pub(crate) fn root_of(request: Request<'_>) -> Root {
    let mut top = request;
    while let Some(outer) = top.main().or_else(|| top.prev()) {
        top = outer;
    }
    let address = top.address().as_ptr() as usize;
    let mut table = table();
    if let Some(&root) = table.roots.get(&address) {
        return root;
    }
    table.last += 1;
    let root = Root(table.last);
    table.roots.insert(address, root);
    table.living.insert(root);
    drop(table);
    top.pool().on_end(End { address, root });
    root
}

/// Takes a lock for a root, which may have it already, and gives how often the root has it now. Waits for so many milliseconds at
/// most, for ever if the number is negative. Call it detached.
///
/// # Errors
/// Why the lock was not had.
pub(crate) fn lock((root, lock, milliseconds): (Root, Lock, i64)) -> Result<usize, Refusal> {
    let mut patience = Patience::new(milliseconds);
    let mut known = table();
    loop {
        if !known.living.contains(&root) {
            return Err(Refusal::Ended);
        }
        match known.held.get_mut(&lock) {
            None => break,
            Some(holder) if holder.root == Some(root) && holder.count > 0 => {
                holder.count += 1;
                return Ok(holder.count);
            }
            Some(_) => {}
        }
        let Some(pause) = patience.pause(LOOK) else {
            return Err(Refusal::Busy);
        };
        known.waiting += 1;
        known = CHANGED
            .wait_timeout(known, pause)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        known.waiting -= 1;
    }
    let holder = Holder {
        root: Some(root),
        count: 0,
    };
    known.held.insert(lock, holder);
    drop(known);
    let taken = wait_for_others(root, lock, &mut patience);
    settle(root, lock, taken)
}

/// Takes a lock that another process may have. Nobody tells when it is free, so it is tried again and again.
fn wait_for_others(root: Root, lock: Lock, patience: &mut Patience) -> Result<(), Refusal> {
    let mut longest = Duration::from_millis(1);
    loop {
        match lock.attempt() {
            Attempt::Taken => return Ok(()),
            Attempt::Failed => return Err(Refusal::Failed),
            Attempt::Busy => {}
        }
        let pause = patience.pause(longest).ok_or(Refusal::Busy)?;
        std::thread::sleep(pause);
        longest = (longest * 2).min(PAUSE);
        if !table().living.contains(&root) {
            return Err(Refusal::Ended);
        }
    }
}

fn settle(root: Root, lock: Lock, taken: Result<(), Refusal>) -> Result<usize, Refusal> {
    let mut table = table();
    let holder = table.held.get_mut(&lock);
    let result = match (taken, holder) {
        (Ok(()), Some(holder)) if holder.root == Some(root) => {
            holder.count = 1;
            Ok(1)
        }
        (Ok(()), _) => {
            lock.free();
            Err(Refusal::Ended)
        }
        (Err(refusal), _) => Err(refusal),
    };
    if result.is_err() {
        table.held.remove(&lock);
    }
    table.tell();
    result
}

/// Gives a lock back once, and gives how often the root still has it.
pub(crate) fn unlock((root, lock): (Root, Lock)) -> usize {
    let mut table = table();
    let Some(holder) = table.held.get_mut(&lock) else {
        return 0;
    };
    if holder.root != Some(root) || holder.count == 0 {
        return 0;
    }
    holder.count -= 1;
    if holder.count > 0 {
        return holder.count;
    }
    lock.free();
    table.held.remove(&lock);
    table.tell();
    0
}

impl Table {
    fn tell(&self) {
        if self.waiting > 0 {
            CHANGED.notify_all();
        }
    }

    fn end(&mut self, address: usize, root: Root) {
        self.living.remove(&root);
        if self.roots.get(&address) == Some(&root) {
            self.roots.remove(&address);
        }
        self.held.retain(|lock, holder| {
            if holder.root != Some(root) {
                return true;
            }
            if holder.count == 0 {
                // A thread waits for the lock: it will see that its root has ended.
                holder.root = None;
                return true;
            }
            lock.free();
            false
        });
        self.tell();
    }
}

/// How long a thread may still wait.
struct Patience {
    until: Option<Instant>,
}

impl Patience {
    fn new(milliseconds: i64) -> Patience {
        let limit = u64::try_from(milliseconds).ok().map(Duration::from_millis);
        Patience {
            until: limit.and_then(|limit| Instant::now().checked_add(limit)),
        }
    }

    /// Gives how long to wait now, `longest` at most; None when the time is up.
    fn pause(&mut self, longest: Duration) -> Option<Duration> {
        let now = Instant::now();
        let stops = || mpm_query(sys::AP_MPMQ_MPM_STATE) == sys::AP_MPMQ_STOPPING;
        if self.until.is_none() && stops() {
            self.until = now.checked_add(LAST);
        }
        let Some(until) = self.until else {
            return Some(longest);
        };
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then(|| left.min(longest))
    }
}

/// Frees what the root still has, when it is dropped with the root's pool.
struct End {
    address: usize,
    root: Root,
}

impl Drop for End {
    fn drop(&mut self) {
        // The prefork MPM ends a child from a signal handler, perhaps while this very thread has the table locked. Nobody unlocks
        // it then; so this tries for a while, and leaves the locks, which end with the process.
        for _ in 0..1000 {
            match TABLE.try_lock() {
                Ok(mut table) => return table.end(self.address, self.root),
                Err(TryLockError::Poisoned(table)) => {
                    return table.into_inner().end(self.address, self.root);
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::httpd::apr::key_locks;

    const FOR_EVER: i64 = -1;

    fn begin(key: &[u8]) -> (Root, Root, Lock) {
        key_locks::create();
        key_locks::adopt();
        let mut table = table();
        let mut root = || {
            table.last += 1;
            let root = Root(table.last);
            table.living.insert(root);
            root
        };
        (root(), root(), Lock::of(key))
    }

    #[test]
    fn a_root_has_a_lock_as_often_as_it_likes() {
        let (one, two, key) = begin(b"counted");
        assert_eq!(lock((one, key, FOR_EVER)), Ok(1));
        assert_eq!(lock((one, key, FOR_EVER)), Ok(2));
        assert_eq!(lock((two, key, 0)), Err(Refusal::Busy));
        assert_eq!(unlock((two, key)), 0, "not its own");
        assert_eq!(unlock((one, key)), 1);
        assert_eq!(lock((two, key, 5)), Err(Refusal::Busy));
        assert_eq!(lock((two, Lock::of(b"other"), 0)), Ok(1));
        assert_eq!(unlock((one, key)), 0);
        assert_eq!(lock((two, key, 0)), Ok(1));
        assert_eq!(unlock((one, key)), 0);
        assert_eq!(unlock((two, key)), 0);
    }

    #[test]
    fn a_root_s_end_frees_its_locks_and_refuses_its_threads() {
        let (one, two, key) = begin(b"ended");
        assert_eq!(lock((one, key, FOR_EVER)), Ok(1));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| lock((two, key, 60_000)));
            while table().waiting == 0 {
                std::thread::yield_now();
            }
            table().end(0, one);
            assert_eq!(waits.join().ok(), Some(Ok(1)));
        });
        assert_eq!(lock((one, key, FOR_EVER)), Err(Refusal::Ended));
        table().end(0, two);
        assert!(!table().held.contains_key(&key));
    }

    #[test]
    fn threads_of_one_root_share_what_one_of_them_waits_for() {
        let (one, two, key) = begin(b"shared");
        assert_eq!(lock((one, key, FOR_EVER)), Ok(1));
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| lock((two, key, 60_000))))
                .collect();
            while table().waiting < 4 {
                std::thread::yield_now();
            }
            assert_eq!(unlock((one, key)), 0);
            let mut counts: Vec<_> = all.into_iter().filter_map(|one| one.join().ok()).collect();
            counts.sort_by_key(|count| count.ok());
            assert_eq!(counts, [Ok(1), Ok(2), Ok(3), Ok(4)]);
        });
        table().end(0, two);
    }
}
