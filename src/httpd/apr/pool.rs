//! APR pools: memory with a lifetime. `Pool<'p>` hands out memory that lives exactly as long as `'p`.

use crate::httpd::sys;
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// A borrowed apr_pool_t. One thread at a time uses it (invariant 7), so it is neither Send nor Sync.
#[derive(Clone, Copy)]
pub(crate) struct Pool<'p>(NonNull<sys::apr_pool_t>, PhantomData<&'p sys::apr_pool_t>);

impl<'p> Pool<'p> {
    /// # Safety
    /// `pool` is NULL or a live pool that is not cleared during `'p`.
    pub(in crate::httpd) unsafe fn from_raw(pool: *mut sys::apr_pool_t) -> Option<Pool<'p>> {
        NonNull::new(pool).map(|pool| Pool(pool, PhantomData))
    }

    pub(in crate::httpd) fn as_ptr(self) -> *mut sys::apr_pool_t {
        self.0.as_ptr()
    }

    /// Moves a value that needs no destructor into the pool.
    pub(crate) fn store<T: Copy>(self, value: T) -> &'p mut T {
        // SAFETY: apr_palloc returns size_of::<T>() bytes, aligned to 8, or aborts the process as httpd configures it to.
        unsafe {
            const { assert!(align_of::<T>() <= 8) };
            let place = sys::apr_palloc(self.as_ptr(), size_of::<T>().max(1)).cast::<T>();
            place.write(value);
            &mut *place
        }
    }

    /// Copies `first`, and `second` behind it, into one slice in the pool.
    pub(crate) fn concat<T: Copy>(self, first: &[T], second: &[T]) -> &'p [T] {
        let length = first.len() + second.len();
        // SAFETY: apr_palloc gives room for `length` values; both copies stay inside it.
        unsafe {
            const { assert!(align_of::<T>() <= 8) };
            let place =
                sys::apr_palloc(self.as_ptr(), (size_of::<T>() * length).max(1)).cast::<T>();
            place.copy_from_nonoverlapping(first.as_ptr(), first.len());
            place
                .add(first.len())
                .copy_from_nonoverlapping(second.as_ptr(), second.len());
            std::slice::from_raw_parts(place, length)
        }
    }

    /// Copies `text` into the pool.
    pub(crate) fn text(self, text: &str) -> &'p str {
        let bytes = self.concat(text.as_bytes(), &[]);
        // SAFETY: a copy of a str is UTF-8.
        unsafe { std::str::from_utf8_unchecked(bytes) }
    }

    /// Copies `text` into the pool as a C string, up to its first NUL.
    pub(crate) fn c_string(self, text: &[u8]) -> &'p CStr {
        // SAFETY: apr_pstrmemdup copies `len` bytes and adds a NUL.
        unsafe {
            CStr::from_ptr(sys::apr_pstrmemdup(
                self.as_ptr(),
                text.as_ptr().cast::<c_char>(),
                text.len(),
            ))
        }
    }

    /// Moves a value into the pool, which never drops it.
    pub(in crate::httpd) fn place<T: 'static>(self, value: T) -> &'p T {
        // SAFETY: the place is large and aligned enough, and stays until the end of `'p`.
        unsafe {
            const { assert!(align_of::<T>() <= 8) };
            let place = sys::apr_palloc(self.as_ptr(), size_of::<T>().max(1)).cast::<T>();
            place.write(value);
            &*place
        }
    }

    /// Moves a value into the pool; it is dropped when the pool is cleared or destroyed. Its drop must not look at anything
    /// that may lie in a pool below this one: APR has destroyed those by then (apr_pool_cleanup_register).
    pub(crate) fn on_end<T: 'static>(self, value: T) -> &'p T {
        let place = self.place(value);
        // SAFETY: the clean-up owns the value from now on and runs exactly once, at the end of `'p`, before the memory goes.
        unsafe {
            sys::apr_pool_cleanup_register(
                self.as_ptr(),
                std::ptr::from_ref(place).cast::<c_void>(),
                Some(drop_value::<T>),
                Some(sys::apr_pool_cleanup_null),
            );
        }
        place
    }

    /// As `on_end`, but dropped before the pools below this one are destroyed (apr_pool_pre_cleanup_register): for what looks at a
    /// request or connection when it ends.
    pub(crate) fn before_end<T: 'static>(self, value: T) -> &'p T {
        let place = self.place(value);
        // SAFETY: as in `on_end`.
        unsafe {
            sys::apr_pool_pre_cleanup_register(
                self.as_ptr(),
                std::ptr::from_ref(place).cast::<c_void>(),
                Some(drop_value::<T>),
            );
        }
        place
    }
}

/// A pool that belongs to whoever has this, for tables that belong to no request.
pub(crate) struct OwnedPool(NonNull<sys::apr_pool_t>);

// SAFETY: an owned pool has an allocator of its own; moving it moves the only user.
unsafe impl Send for OwnedPool {}

/// So many pools a thread keeps for its next tables: APR asks the system for the memory of each, and gives it back (mmap).
const SPARES: usize = 4;
/// Bytes that each of them keeps.
const KEPT: usize = 16_384;

thread_local! {
    static SPARE: RefCell<Vec<Spare>> = const { RefCell::new(Vec::new()) };
}

/// An empty pool that nobody holds. Owned by the thread, which destroys it at its end.
struct Spare(NonNull<sys::apr_pool_t>);

impl OwnedPool {
    /// Makes a pool; None when memory is short.
    pub(crate) fn new() -> Option<OwnedPool> {
        let spare = SPARE.try_with(|spares| spares.borrow_mut().pop());
        match spare.ok().flatten() {
            Some(spare) => Some(OwnedPool(ManuallyDrop::new(spare).0)),
            None => OwnedPool::fresh(),
        }
    }

    fn fresh() -> Option<OwnedPool> {
        #[cfg(test)]
        initialize_apr();
        let mut pool = std::ptr::null_mut();
        // SAFETY: an unmanaged pool has neither parent nor shared allocator, so it needs no lock.
        let status =
            unsafe { sys::apr_pool_create_unmanaged_ex(&raw mut pool, None, std::ptr::null_mut()) };
        let pool = NonNull::new(pool).filter(|_| status == 0)?;
        // SAFETY: the new pool's own allocator.
        unsafe {
            sys::apr_allocator_max_free_set(sys::apr_pool_allocator_get(pool.as_ptr()), KEPT)
        };
        Some(OwnedPool(pool))
    }

    pub(crate) fn pool(&self) -> Pool<'_> {
        Pool(self.0, PhantomData)
    }
}

impl Drop for OwnedPool {
    fn drop(&mut self) {
        // SAFETY: the pool is ours, and every borrow of it ended with `self`.
        unsafe { sys::apr_pool_clear(self.0.as_ptr()) }
        let spare = Spare(self.0);
        // Where the thread has enough of them, or ends, it goes.
        let _ = SPARE.try_with(|spares| {
            let mut spares = spares.borrow_mut();
            if spares.len() < SPARES {
                spares.push(spare);
            }
        });
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        // SAFETY: nobody else knows the pool.
        unsafe { sys::apr_pool_destroy(self.0.as_ptr()) }
    }
}

unsafe extern "C" fn drop_value<T>(value: *mut c_void) -> sys::apr_status_t {
    // SAFETY: registered by `on_end` with the place of a value that nobody else drops.
    let dropped = crate::httpd::guard::guard("pool cleanup", || unsafe {
        value.cast::<T>().drop_in_place()
    });
    if let Err(place) = dropped {
        crate::httpd::log::process(crate::httpd::log::Level::Critical, &place);
    }
    0
}

/// Initialises APR, in unit tests, where there is no httpd that has done so.
#[cfg(test)]
fn initialize_apr() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    // SAFETY: called once, before any other use of APR.
    ONCE.call_once(|| unsafe {
        sys::apr_initialize();
    });
}
