//! Moments in which a thread of the child's own uses a request under its turn, in place of the thread that serves it (`soon.rs`, `rescue.rs`).
//!
//! None is under way while a fork is made: what such a thread held then would be held for ever in the new process, where it is not. The
//! fork waits for a while at most; the new process takes over what is held even so (`Turn`).

use crate::httpd::fork::{AtFork, at_fork};
use crate::httpd::request::turn::Turn;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{sleep, yield_now};
use std::time::{Duration, Instant};

/// How many moments there are now.
static NOW: AtomicUsize = AtomicUsize::new(0);
/// How many forks are being made.
static FORKS: AtomicUsize = AtomicUsize::new(0);
/// How long a fork waits at most: a log may be a pipe that is full.
const BEFORE_A_FORK: Duration = Duration::from_millis(500);

/// A moment, until it is dropped. Taken before the request is held, and kept for longer.
pub(super) struct Moment(());

impl Moment {
    /// None while a fork is being made.
    pub(super) fn begin() -> Option<Moment> {
        follow();
        NOW.fetch_add(1, Ordering::SeqCst);
        let moment = Moment(());
        (FORKS.load(Ordering::SeqCst) == 0).then_some(moment)
    }

    /// As `begin`, when no fork is being made any more.
    pub(super) fn wait() -> Moment {
        loop {
            if let Some(moment) = Moment::begin() {
                return moment;
            }
            sleep(Duration::from_millis(1));
        }
    }

    /// Is a fork to be made, which waits for its end?
    pub(super) fn is_awaited(&self) -> bool {
        FORKS.load(Ordering::SeqCst) != 0
    }
}

impl Drop for Moment {
    fn drop(&mut self) {
        NOW.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Has forks wait from now on.
pub(super) fn follow() {
    static FOLLOWED: Once = Once::new();
    FOLLOWED.call_once(|| {
        at_fork(AtFork {
            prepare: before_fork,
            parent: after_fork,
            child: in_child_of_fork,
        });
    });
}

fn before_fork() {
    FORKS.fetch_add(1, Ordering::SeqCst);
    let begun = Instant::now();
    while NOW.load(Ordering::SeqCst) != 0 && begun.elapsed() < BEFORE_A_FORK {
        yield_now();
    }
}

fn after_fork() {
    FORKS.fetch_sub(1, Ordering::SeqCst);
}

fn in_child_of_fork() {
    // Where the wait has been given up; forks of the child wait for nobody.
    NOW.store(0, Ordering::SeqCst);
    Turn::forget_the_sender();
}
