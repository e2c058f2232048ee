//! What has been written leaves soon, by itself: a page of many writes need not cost a system call each.
//!
//! `req.write()` asks that what it is given be on its way, and mostly the handler writes more at once, or ends. So the output is
//! marked as *due*, and leaves with whatever comes first: the next operation that would show whether it has left, the end of the
//! answer, or a thread of the child's own, a few milliseconds later. That thread takes the request's turn like any other, for
//! moments: it sends only what the kernel takes at once, through filters that wait for nothing.
//!
//! What is marked is in one list, which the thread looks through each millisecond while there is anything in it; it sleeps when there
//! has not been for a while. In the child of a fork there is no such thread, and nothing is marked.

use super::moments::{self, Moment};
use super::state::{Exchange, RequestLease};
use crate::embed::main_thread::spawn;
use crate::httpd::faults;
use crate::httpd::fork::is_forked;
use crate::httpd::guard::guard;
use crate::httpd::io::output::End;
use crate::httpd::log::{self, Level};
use crate::httpd::request::turn::Turn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{Thread, current, park, sleep};
use std::time::Duration;

/// How often the list is looked through.
const TICK: Duration = Duration::from_millis(1);
/// After so many ticks that a request has been marked it is sent.
const PATIENCE: u64 = 2;
/// After so many ticks without anything to send the thread sleeps.
const QUIET: u32 = 50;

/// The requests that are due, and when, in ticks. The lock is held for moments.
static MARKED: Mutex<Vec<(RequestLease, u64)>> = Mutex::new(Vec::new());
/// The thread that sends, once it has been started; None where none could be had.
static SENDER: OnceLock<Option<Thread>> = OnceLock::new();
static SLEEPS: AtomicBool = AtomicBool::new(false);
static NOW: AtomicU64 = AtomicU64::new(0);

/// Has a request's output sent soon. False where nobody can do it.
pub(super) fn mark(lease: &RequestLease) -> bool {
    // The lock may be anybody's.
    if is_forked() {
        return false;
    }
    let Some(sender) = SENDER.get_or_init(start) else {
        return false;
    };
    let due = NOW.load(Ordering::Relaxed) + PATIENCE;
    let mut marked = lock(&MARKED);
    marked.retain(|(other, _)| !Arc::ptr_eq(other, lease));
    marked.push((lease.clone(), due));
    drop(marked);
    if SLEEPS.load(Ordering::SeqCst) {
        sender.unpark();
    }
    true
}

/// Forgets a request: what it has written has left.
pub(super) fn forget(lease: &RequestLease) {
    if !is_forked() {
        lock(&MARKED).retain(|(other, _)| !Arc::ptr_eq(other, lease));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start() -> Option<Thread> {
    moments::follow();
    let (answer, thread) = std::sync::mpsc::channel();
    let spawned = spawn("mod_python sender", move || {
        Turn::be_brief();
        if answer.send(current()).is_ok() {
            run();
        }
    });
    match spawned {
        Ok(()) => thread.recv().ok(),
        Err(reason) => {
            let text = format!("{reason}; each write is sent by itself");
            log::process(Level::Warning, &text);
            None
        }
    }
}

fn run() {
    let mut quiet = 0;
    loop {
        sleep(TICK);
        let now = NOW.fetch_add(1, Ordering::Relaxed) + 1;
        quiet = if sweep(now) { 0 } else { quiet + 1 };
        if quiet > QUIET {
            SLEEPS.store(true, Ordering::SeqCst);
            // Whoever has marked something before that has not seen it.
            if lock(&MARKED).is_empty() {
                park();
            }
            SLEEPS.store(false, Ordering::SeqCst);
            quiet = 0;
        }
    }
}

/// Sends what is due. Is there anything that is marked?
fn sweep(now: u64) -> bool {
    let Some(moment) = Moment::begin() else {
        return true;
    };
    let marked = lock(&MARKED).clone();
    for (lease, due) in &marked {
        if now < *due || moment.is_awaited() {
            continue;
        }
        let sent = guard("sender", || send(lease)).unwrap_or_else(|place| {
            log::process(Level::Critical, &place);
            true
        });
        if sent {
            // It may have been marked again.
            let is_it =
                |(other, again): &(RequestLease, u64)| Arc::ptr_eq(other, lease) && again == due;
            lock(&MARKED).retain(|marked| !is_it(marked));
        }
    }
    !marked.is_empty()
}

/// Sends a request's output, if that is still due; false where it has to be tried again.
fn send(lease: &RequestLease) -> bool {
    let Ok(held) = lease.hold() else {
        // It is in use, or no phase of it runs any more: then it has been sent, and is taken off the list by who has put it there.
        return lease.is_expired();
    };
    if faults::strike("sender is slow") {
        sleep(Duration::from_millis(20));
    }
    let Ok(output) = held.value().output.try_borrow_mut() else {
        return false;
    };
    if !output.is_due() {
        return true;
    }
    let request = held.request();
    let connection = request.connection();
    let is_free = !connection.keeps_output() && connection.has_room(output.pending() + HEAD);
    let waits = || request.would_take_in(output.pending() + HEAD) || !request.has_plain_way_out();
    if !is_free || waits() {
        return false;
    }
    drop(output);
    // What cannot be sent is told of by the next write: httpd remembers that the connection is gone.
    let _ = Exchange::pass(&held, End::Flush);
    true
}

/// How much of a head there may be beside what has been written.
pub(super) const HEAD: usize = 1024;
