//! Pools: several interpreters, each with a lock of its own, that serve one application in one child.

use super::interpreter::Interpreter;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The interpreters of a pool. It lives as long as the process.
pub(crate) struct Pool {
    members: Vec<Member>,
}

struct Member {
    interpreter: &'static Interpreter,
    /// How many requests have a place in it.
    busy: AtomicUsize,
}

/// The place that a request has in a pool, from its first phase in Python to its end: it stays in one interpreter.
pub(crate) struct Seat {
    pool: &'static Pool,
    member: &'static Member,
}

impl Pool {
    pub(super) fn new(interpreters: Vec<&'static Interpreter>) -> Pool {
        let members = interpreters.into_iter().map(|interpreter| Member {
            interpreter,
            busy: AtomicUsize::new(0),
        });
        Pool {
            members: members.collect(),
        }
    }

    /// Gives a request a place in the interpreter that is least busy.
    pub(crate) fn enter(&'static self) -> Option<Seat> {
        let member = enter_least(&self.members, |member| &member.busy)?;
        Some(Seat { pool: self, member })
    }

    pub(super) fn interpreters(&self) -> impl Iterator<Item = &'static Interpreter> {
        self.members.iter().map(|member| member.interpreter)
    }
}

/// Counts one more where the fewest are. Who counts there at the same moment has it choose anew.
fn enter_least<'a, T>(all: &'a [T], count: impl Fn(&'a T) -> &'a AtomicUsize) -> Option<&'a T> {
    loop {
        let seen = all.iter().map(|one| count(one).load(Ordering::Relaxed));
        let (least, one) = seen.zip(all).min_by_key(|&(seen, _)| seen)?;
        let (order, more) = (Ordering::Relaxed, least.saturating_add(1));
        if count(one)
            .compare_exchange(least, more, order, order)
            .is_ok()
        {
            return Some(one);
        }
    }
}

impl Seat {
    pub(crate) fn interpreter(&self) -> &'static Interpreter {
        self.member.interpreter
    }

    pub(crate) fn is_in(&self, pool: &'static Pool) -> bool {
        std::ptr::eq(self.pool, pool)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.member.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn two_requests_at_one_moment_go_to_two_members() {
        let all = [const { AtomicUsize::new(0) }; 2];
        let looks = Cell::new(0);
        // When both have been looked at, another request comes before the first is entered.
        let count = |one| {
            looks.set(looks.get() + 1);
            if looks.get() == 3 {
                all[0].fetch_add(1, Ordering::Relaxed);
            }
            one
        };
        let entered = enter_least(&all, count);
        assert!(entered.is_some_and(|one| std::ptr::eq(one, &raw const all[1])));
        let counts = all.each_ref().map(|one| one.load(Ordering::Relaxed));
        assert_eq!(counts, [1, 1]);
    }

    #[test]
    fn without_members_nobody_enters() {
        let none: [AtomicUsize; 0] = [];
        assert!(enter_least(&none, |one| one).is_none());
    }
}
