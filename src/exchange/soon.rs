//! What has been written leaves soon, by itself: a page of many writes need not cost a system call each.
//!
//! `req.write()` asks that what it is given be on its way, and mostly the handler writes more at once, or ends. So the output is
//! marked as *due*, and leaves with whatever comes first: the next operation that would show whether it has left, the end of the
//! answer, or a thread of the child's own, a few milliseconds later. That thread takes the request's turn like any other, for
//! moments: it sends only what the kernel takes at once, through filters that wait for nothing.
//!
//! Each thread that writes has a slot, which it fills with a request's lease; the one that sends looks through the slots each
//! millisecond while there is anything in them, and sleeps when there has not been for a while.

use super::state::{Exchange, RequestLease};
use crate::embed::main_thread::spawn;
use crate::httpd::guard::guard;
use crate::httpd::io::output::End;
use crate::httpd::log::{self, Level};
use crate::httpd::request::turn::Turn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{Thread, current, park, sleep};
use std::time::Duration;

/// How often the slots are looked through.
const TICK: Duration = Duration::from_millis(1);
/// After so many ticks that a request has been marked it is sent.
const PATIENCE: u64 = 2;
/// After so many ticks without anything to send the thread sleeps.
const QUIET: u32 = 50;

/// The request that a thread has written to, and when that is due, in ticks.
#[derive(Default)]
struct Slot(Mutex<Option<(RequestLease, u64)>>);

thread_local! {
    static OWN: OnceLock<Arc<Slot>> = const { OnceLock::new() };
}

/// The slots of all threads that have ever written. The lock is held to look through them.
static SLOTS: Mutex<Vec<Weak<Slot>>> = Mutex::new(Vec::new());
/// The thread that sends, once it has been started; None where none could be had.
static SENDER: OnceLock<Option<Thread>> = OnceLock::new();
static SLEEPS: AtomicBool = AtomicBool::new(false);
static NOW: AtomicU64 = AtomicU64::new(0);

/// Has a request's output sent soon. False where nobody can do it.
pub(super) fn mark(lease: &RequestLease) -> bool {
    let Some(sender) = SENDER.get_or_init(start) else {
        return false;
    };
    let due = NOW.load(Ordering::Relaxed) + PATIENCE;
    let filled = OWN.try_with(|own| {
        let slot = own.get_or_init(register);
        let before = lock(&slot.0).replace((lease.clone(), due));
        // Outside the lock, and for the last time, should it be the last to refer to it.
        drop(before);
    });
    if SLEEPS.load(Ordering::SeqCst) {
        sender.unpark();
    }
    filled.is_ok()
}

/// Forgets what this thread has marked.
pub(super) fn forget() {
    let _ = OWN.try_with(|own| own.get().map(|slot| lock(&slot.0).take()));
}

fn register() -> Arc<Slot> {
    let slot = Arc::new(Slot::default());
    lock(&SLOTS).push(Arc::downgrade(&slot));
    slot
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start() -> Option<Thread> {
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
            // Whoever has filled a slot before that has not seen it.
            if !is_anything_marked() {
                park();
            }
            SLEEPS.store(false, Ordering::SeqCst);
            quiet = 0;
        }
    }
}

fn slots() -> Vec<Arc<Slot>> {
    let mut slots = lock(&SLOTS);
    slots.retain(|slot| slot.strong_count() > 0);
    slots.iter().filter_map(Weak::upgrade).collect()
}

fn is_anything_marked() -> bool {
    slots().iter().any(|slot| lock(&slot.0).is_some())
}

/// Sends what is due. Is there anything that is marked?
fn sweep(now: u64) -> bool {
    let mut any = false;
    for slot in slots() {
        let marked = lock(&slot.0)
            .as_ref()
            .map(|(lease, due)| (lease.clone(), *due));
        let Some((lease, due)) = marked else {
            continue;
        };
        any = true;
        if now < due {
            continue;
        }
        let sent = guard("sender", || send(&lease)).unwrap_or_else(|place| {
            log::process(Level::Critical, &place);
            true
        });
        if sent {
            let mut slot = lock(&slot.0);
            // The thread may have marked it again, or another one.
            let is_same =
                |(other, again): &(RequestLease, u64)| Arc::ptr_eq(other, &lease) && *again == due;
            let done = slot.take_if(|marked| is_same(marked));
            drop(slot);
            drop(done);
        }
    }
    any
}

/// Sends a request's output, if that is still due; false where it has to be tried again.
fn send(lease: &RequestLease) -> bool {
    let Ok(held) = lease.hold() else {
        // It is in use, or no phase of it runs any more: then it has been sent, and its slot is emptied by who has filled it.
        return lease.is_expired();
    };
    let Ok(output) = held.value().output.try_borrow_mut() else {
        return false;
    };
    if !output.is_due() {
        return true;
    }
    let request = held.request();
    if !request.connection().has_room(output.pending() + HEAD) {
        return false;
    }
    drop(output);
    // What cannot be sent is told of by the next write: httpd remembers that the connection is gone.
    let _ = Exchange::pass(&held, End::Flush);
    true
}

/// How much of a head there may be beside what has been written.
const HEAD: usize = 1024;
