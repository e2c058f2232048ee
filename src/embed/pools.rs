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
        let free = |member: &&Member| member.busy.load(Ordering::Relaxed);
        let member = self.members.iter().min_by_key(free)?;
        member.busy.fetch_add(1, Ordering::Relaxed);
        Some(Seat { pool: self, member })
    }

    pub(super) fn interpreters(&self) -> impl Iterator<Item = &'static Interpreter> {
        self.members.iter().map(|member| member.interpreter)
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
