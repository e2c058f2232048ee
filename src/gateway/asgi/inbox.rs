//! What an event loop's thread is given by others: requests to begin with, and whose waiting has an end. All that has come by the
//! time it looks is one batch, for which it is woken once.

use crate::embed::Cx;
use crate::embed::cell::Ref;
use crate::embed::scoreboard::{Counted, Gauge, Row};
use crate::streams::bell::{Bell, Rope};
use pyo3::prelude::*;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One loop's inbox. Its lock is held for moments, never while Python runs.
pub(super) struct Inbox {
    bell: Bell,
    rope: Rope,
    post: Mutex<Post>,
    /// Where the interpreter's numbers are kept.
    row: Option<&'static Row>,
    batch: Mutex<Batch>,
}

/// The answers that have become complete while the loop begins with what has come, and whose workers are woken when it has.
///
/// A worker that is woken earlier would run into the interpreter's lock, which the loop's thread has until it waits: each of them
/// would cost two changes of threads more.
#[derive(Default)]
struct Batch {
    is_open: bool,
    /// When the first of them was complete.
    since: Option<Instant>,
    complete: Vec<Arc<dyn Sleeper>>,
}

/// Whose worker sleeps.
pub(super) trait Sleeper: Send + Sync {
    /// Wakes it.
    fn wake(&self);
}

/// What a loop is given to begin with.
pub(super) enum Beginning {
    /// As its code takes it.
    Object(Ref),
    /// What its thread makes that of.
    Arrival(Box<dyn Arrival>),
}

/// A request whose worker is not attached. Where it is dropped, its worker is told to do all by itself.
pub(super) trait Arrival: Send {
    /// Makes what the loop begins with; None where the worker has to do that. `later` is the class of what makes a request's object.
    fn prepare<'py>(&self, cx: Cx<'py>, later: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>>;
}

/// For so long a complete answer waits for the others of its batch; a worker that waits for longer looks by itself, each second.
const LONG: Duration = Duration::from_micros(200);

/// What has come. The references are dropped with their interpreter attached: whoever takes them is.
#[derive(Default)]
pub(super) struct Post {
    /// What the loop is to begin with.
    pub(super) begun: Vec<Beginning>,
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
            batch: Mutex::default(),
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
    pub(super) fn begin(&self, object: Beginning) -> Result<(), Beginning> {
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

    fn batch(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop begins with what it has taken: answers that are complete at once leave together.
    pub(super) fn open_batch(&self) {
        self.batch().is_open = true;
    }

    /// Wakes the workers of the answers that have become complete.
    pub(super) fn close_batch(&self) {
        let batch = std::mem::take(&mut *self.batch());
        batch.complete.iter().for_each(|sleeper| sleeper.wake());
    }

    /// Has the worker of a complete answer woken, now or with others. Called in the loop's thread, where the application runs, or
    /// in any other that sends for it.
    pub(super) fn complete(&self, sleeper: Arc<dyn Sleeper>) {
        let mut batch = self.batch();
        if !batch.is_open {
            drop(batch);
            return sleeper.wake();
        }
        batch.complete.push(sleeper);
        let since = *batch.since.get_or_insert_with(Instant::now);
        if since.elapsed() < LONG {
            return;
        }
        batch.since = None;
        let complete = std::mem::take(&mut batch.complete);
        drop(batch);
        complete.iter().for_each(|sleeper| sleeper.wake());
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
