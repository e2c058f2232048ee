//! Sections' settings as httpd keeps them, and what they have been merged to.
//!
//! httpd merges all sections that a request lies in for that request. Those of its configuration files stay the same for as long as a
//! child lives, so each two of them are merged once, and the result is found again. What .htaccess files say goes with its request.

use crate::httpd::apr::pool::{OwnedPool, Pool};
use rustc_hash::FxHashMap;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

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

/// So many results a thread finds without a lock.
const NEAR: usize = 16;
/// So many results are kept; where sections are more manifold than that, some are merged for each request.
const MOST: usize = 4096;

/// The addresses of a base, and of what has been merged into it.
type Key = (usize, usize);

thread_local! {
    static THREAD: [Cell<(Key, *mut c_void)>; NEAR] =
        const { [const { Cell::new(((0, 0), null_mut())) }; NEAR] };
}

/// All results, and the pool in which they lie: as long as the process. Used by whoever has the lock, for moments.
struct Kept {
    pool: Option<OwnedPool>,
    results: FxHashMap<Key, usize>,
}

static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(|| {
    Mutex::new(Kept {
        pool: OwnedPool::new(),
        results: FxHashMap::default(),
    })
});

#[inline]
fn place(key: Key) -> usize {
    // Settings are some hundred bytes long.
    ((key.0 >> 5) ^ (key.1 >> 8) ^ (key.1 >> 4)) % NEAR
}

/// The result of merging two that last, if this thread has it near.
#[inline]
pub(super) fn find(base: *mut c_void, over: *mut c_void) -> Option<*mut c_void> {
    let key = (base.addr(), over.addr());
    let near = THREAD.with(|near| near.get(place(key)).map(Cell::get));
    near.filter(|(known, merged)| *known == key && !merged.is_null())
        .map(|(_, merged)| merged)
}

/// The result of merging two that both last: `merge` is given a pool that lasts where nobody has merged them before. None where one does
/// not last, or there are many.
///
/// # Errors
/// Those of `merge`.
///
/// # Safety
/// Both have come from `store`, or from here, with this type.
#[cold]
pub(super) unsafe fn keep<'p, T: Copy>(
    base: *mut c_void,
    over: *mut c_void,
    merge: impl FnOnce(Pool<'p>) -> Result<T, String>,
) -> Result<Option<*mut c_void>, String> {
    // SAFETY: the caller's promise.
    let last = unsafe { (*base.cast::<Stored<T>>()).lasts && (*over.cast::<Stored<T>>()).lasts };
    if !last || !SERVES.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let key = (base.addr(), over.addr());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let known = kept.results.get(&key).copied();
    let merged: *mut c_void = match known {
        Some(address) => std::ptr::with_exposed_provenance_mut(address),
        None if kept.results.len() >= MOST => return Ok(None),
        None => {
            let pool = kept.pool.as_ref().map(|pool| pool.pool().as_ptr());
            // SAFETY: a pool that is never given back; the lock is ours.
            let pool: Option<Pool<'p>> = pool.and_then(|pool| unsafe { Pool::from_raw(pool) });
            let Some(pool) = pool else { return Ok(None) };
            let value = merge(pool)?;
            let merged = std::ptr::from_mut(pool.store(Stored { value, lasts: true }));
            kept.results.insert(key, merged.expose_provenance());
            merged.cast()
        }
    };
    drop(kept);
    THREAD.with(|near| {
        if let Some(place) = near.get(place(key)) {
            place.set((key, merged));
        }
    });
    Ok(Some(merged))
}
