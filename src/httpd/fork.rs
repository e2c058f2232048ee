//! Forks that applications make: whoever has threads, locks or descriptors has each fork done with his part in order (pthread_atfork).
//!
//! In the new process there is one thread; what another one has held is held for ever there. So nothing here takes a lock or memory once
//! it has been registered.

use crate::httpd::guard::guard;
use crate::httpd::log::{self, Level};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// What one part does at each fork.
pub(crate) struct AtFork {
    /// In the thread that forks, before: who has registered last comes first.
    pub(crate) prepare: fn(),
    /// In the same thread, after: in the order of registration, as in the new process.
    pub(crate) parent: fn(),
    /// In the new process. It may neither wait nor take memory.
    pub(crate) child: fn(),
}

/// A part, and those that have registered before it. Never freed.
struct Part {
    what: AtFork,
    before: *mut Part,
}

static LAST: AtomicPtr<Part> = AtomicPtr::new(null_mut());
static IS_FOLLOWED: AtomicBool = AtomicBool::new(false);
static FORKED: AtomicBool = AtomicBool::new(false);

/// Is this a process that an application has forked, once forks are followed?
#[inline]
pub(crate) fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Has forks of this child known as such from now on.
pub(crate) fn follow() {
    if !IS_FOLLOWED.swap(true, Ordering::AcqRel) {
        // SAFETY: functions that live as long as the process; httpd keeps modules loaded in its children.
        unsafe { libc::pthread_atfork(Some(on_prepare), Some(in_parent), Some(in_child)) };
    }
}

/// Has this done at each fork from now on, too. To be called once for each part.
pub(crate) fn at_fork(what: AtFork) {
    let part = Box::into_raw(Box::new(Part {
        what,
        before: LAST.load(Ordering::Acquire),
    }));
    loop {
        // SAFETY: nobody else has seen it yet.
        let before = unsafe { (*part).before };
        match LAST.compare_exchange(before, part, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => break,
            // SAFETY: as above.
            Err(found) => unsafe { (*part).before = found },
        }
    }
    follow();
}

impl Part {
    /// The one that has registered before.
    fn before(&self) -> Option<&'static Part> {
        // SAFETY: NULL, or a part, which is never freed, nor changed once it is in the list.
        unsafe { self.before.as_ref() }
    }
}

fn last() -> Option<&'static Part> {
    // SAFETY: as in `before`.
    unsafe { LAST.load(Ordering::Acquire).as_ref() }
}

thread_local! {
    /// What this thread's fork was prepared for. Whoever registers meanwhile, in another thread, has not prepared, and has no end to make.
    static PREPARED: Cell<Option<&'static Part>> = const { Cell::new(None) };
}

fn prepared() -> Option<&'static Part> {
    PREPARED.try_with(Cell::take).ok().flatten()
}

fn in_order(part: Option<&'static Part>, what: fn(&AtFork)) {
    if let Some(part) = part {
        in_order(part.before(), what);
        what(&part.what);
    }
}

/// Not in the new process: this takes locks and memory.
fn complain(done: Result<(), String>) {
    if let Err(place) = done {
        log::process(Level::Critical, &place);
    }
}

unsafe extern "C" fn on_prepare() {
    let prepared = guard("fork", || {
        let mut part = last();
        let _ = PREPARED.try_with(|all| all.set(part));
        while let Some(one) = part {
            (one.what.prepare)();
            part = one.before();
        }
    });
    complain(prepared);
}

unsafe extern "C" fn in_parent() {
    complain(guard("fork", || {
        in_order(prepared(), |what| (what.parent)())
    }));
}

unsafe extern "C" fn in_child() {
    FORKED.store(true, Ordering::Relaxed);
    let _ = guard("fork", || in_order(prepared(), |what| (what.child)()));
}
