//! Sections' settings as httpd keeps them, and what they have been merged to.
//!
//! httpd merges all sections that a request lies in for that request. Those of its configuration files stay the same for as long as a
//! child lives, so a thread merges each two of them once, and finds the result again. What .htaccess files say goes with its request.

use crate::httpd::apr::pool::{OwnedPool, Pool};
use std::cell::Cell;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

/// Settings, and whether they last as long as the process does. What httpd has is a pointer to the settings.
#[repr(C)]
#[derive(Clone, Copy)]
struct Stored<T> {
    value: T,
    lasts: bool,
}

/// Has the child begun to serve? What is made before is made of httpd's configuration files, and stays.
static SERVES: AtomicBool = AtomicBool::new(false);

/// The child begins to serve: nothing that is stored from now on lasts.
pub(super) fn serve() {
    SERVES.store(true, Ordering::Relaxed);
}

/// Stores settings for httpd.
pub(in crate::httpd) fn store<T: Copy>(pool: Pool<'_>, value: T) -> *mut c_void {
    let lasts = !SERVES.load(Ordering::Relaxed);
    std::ptr::from_mut(pool.store(Stored { value, lasts })).cast()
}

/// So many results a thread finds again.
const KNOWN: usize = 16;
/// So many it keeps: what is found no more is still used by the one or other request.
const MOST: usize = 256;

thread_local! {
    static THREAD: Thread = const {
        Thread {
            known: [const { Cell::new((null_mut(), null_mut(), null_mut())) }; KNOWN],
            kept: Cell::new(0),
            pool: Cell::new(None),
        }
    };
}

/// A base, what has been merged into it, and the result.
type Known = (*mut c_void, *mut c_void, *mut c_void);

struct Thread {
    known: [Cell<Known>; KNOWN],
    /// How many results there are.
    kept: Cell<usize>,
    /// Where they lie: as long as the process.
    pool: Cell<Option<Pool<'static>>>,
}

/// The result of merging two that last, if this thread has merged them already.
#[inline]
pub(super) fn find(base: *mut c_void, over: *mut c_void) -> Option<*mut c_void> {
    THREAD.with(|thread| {
        let (known_base, known_over, merged) = thread.place(base, over)?.get();
        (known_base == base && known_over == over && !base.is_null()).then_some(merged)
    })
}

impl Thread {
    #[inline]
    fn place(&self, base: *mut c_void, over: *mut c_void) -> Option<&Cell<Known>> {
        // Settings are some hundred bytes long.
        let number = (base.addr() >> 5) ^ (over.addr() >> 8) ^ (over.addr() >> 4);
        self.known.get(number % KNOWN)
    }
}

/// Merges two where both last, and remembers the result: `merge` is given a pool that lasts. None where one does not, or there are many.
///
/// # Safety
/// Both have come from `store`, or from here, with this type.
pub(super) unsafe fn keep<T: Copy>(
    base: *mut c_void,
    over: *mut c_void,
    merge: impl FnOnce(Pool<'static>) -> Option<T>,
) -> Option<*mut c_void> {
    // SAFETY: the caller's promise.
    let last = unsafe { (*base.cast::<Stored<T>>()).lasts && (*over.cast::<Stored<T>>()).lasts };
    if !last || !SERVES.load(Ordering::Relaxed) {
        return None;
    }
    THREAD.with(|thread| {
        if thread.kept.get() >= MOST {
            return None;
        }
        let pool = thread.pool.get().or_else(new_pool)?;
        thread.pool.set(Some(pool));
        let value = merge(pool)?;
        thread.kept.set(thread.kept.get() + 1);
        let merged = std::ptr::from_mut(pool.store(Stored { value, lasts: true })).cast();
        if let Some(place) = thread.place(base, over) {
            place.set((base, over, merged));
        }
        Some(merged)
    })
}

/// A pool that nobody gives back: requests may refer to what is in it until the process ends.
fn new_pool() -> Option<Pool<'static>> {
    let kept: &'static ManuallyDrop<OwnedPool> =
        Box::leak(Box::new(ManuallyDrop::new(OwnedPool::new()?)));
    Some(kept.pool())
}
