//! What an event loop's thread is given by others: requests to begin with, and whose waiting has an end. All that has come by the
//! time it looks is one batch, for which it is woken once.

use crate::embed::cell::Ref;
use crate::embed::scoreboard::{Counted, Gauge, Row};
use crate::streams::bell::{Bell, Rope};
use std::io;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// One loop's inbox. Its lock is held for moments, never while Python runs.
pub(super) struct Inbox {
    bell: Bell,
    rope: Rope,
    post: Mutex<Post>,
    /// Where the interpreter's numbers are kept.
    row: Option<&'static Row>,
}

/// What has come. The references are dropped with their interpreter attached: whoever takes them is.
#[derive(Default)]
pub(super) struct Post {
    /// What the loop is to begin with.
    pub(super) begun: Vec<Ref>,
    /// The numbers of those that wait and can go on.
    pub(super) woken: Vec<u64>,
    /// The numbers of those whose tasks are to be cancelled.
    pub(super) cancelled: Vec<u64>,
    /// Since when the loop has been woken, and has not looked yet.
    rung: Option<Instant>,
    /// Has the loop ended?
    is_closed: bool,
}

impl Inbox {
    /// # Errors
    /// No descriptors are left.
    pub(super) fn new(row: Option<&'static Row>) -> io::Result<Inbox> {
        let bell = Bell::new()?;
        let rope = bell.rope();
        Ok(Inbox {
            bell,
            rope,
            post: Mutex::default(),
            row,
        })
    }

    /// Counts one of something, until it is dropped.
    pub(super) fn count(&self, gauge: Gauge) -> Option<Counted> {
        self.row?.count(gauge)
    }

    fn post(&self) -> MutexGuard<'_, Post> {
        self.post.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.bell.descriptor()
    }

    /// Gives the loop something to begin with; back, where the loop has ended. It is woken by `ring`, which is called detached: until
    /// then it could do nothing but wait for the interpreter's lock.
    pub(super) fn begin(&self, object: Ref) -> Result<(), Ref> {
        let mut post = self.post();
        if post.is_closed {
            return Err(object);
        }
        post.begun.push(object);
        Ok(())
    }

    /// Wakes the loop, unless it has taken what there is, or has been woken.
    pub(super) fn ring(&self) {
        let post = self.post();
        if !post.begun.is_empty() {
            self.wake_for(post);
        }
    }

    /// Has what waits under this number look again. Needs no interpreter.
    pub(super) fn wake(&self, number: u64) {
        let mut post = self.post();
        if !post.is_closed {
            post.woken.push(number);
            self.wake_for(post);
        }
    }

    /// Has the task of this number cancelled. Needs no interpreter.
    pub(super) fn cancel(&self, number: u64) {
        let mut post = self.post();
        if !post.is_closed {
            post.cancelled.push(number);
            self.wake_for(post);
        }
    }

    /// Has the loop look.
    fn wake_for(&self, mut post: MutexGuard<'_, Post>) {
        let is_first = post.rung.is_none();
        post.rung.get_or_insert_with(Instant::now);
        drop(post);
        if is_first {
            self.rope.pull();
        }
    }

    /// Takes all that has come.
    pub(super) fn take(&self) -> Post {
        self.bell.hush();
        let mut post = self.post();
        let is_closed = post.is_closed;
        if let (Some(row), Some(rung)) = (self.row, post.rung) {
            row.set_lag(rung.elapsed());
        }
        std::mem::replace(
            &mut *post,
            Post {
                is_closed,
                ..Post::default()
            },
        )
    }

    /// Has the loop ended?
    pub(super) fn is_closed(&self) -> bool {
        self.post().is_closed
    }

    /// Takes nothing more, in a thread that is not attached: what has come stays.
    pub(super) fn shut(&self) {
        self.post().is_closed = true;
    }

    /// Takes nothing more. What has come and was not begun with is given back.
    pub(super) fn close(&self) -> Post {
        self.post().is_closed = true;
        self.take()
    }
}
