//! Owned Python references, for places where pyo3's own would leak across interpreters, and cells that are safe without an
//! interpreter's lock, too (PEP 703).

use pyo3::{Bound, PyAny, Python, ffi};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, Ordering};

/// An owned reference. Unlike `Py`, dropping it always releases at once: it lives only inside Python objects and
/// interpreter state, which are dropped while their interpreter is attached.
pub(crate) struct Ref(NonNull<ffi::PyObject>);

impl Ref {
    pub(crate) fn new(object: Bound<'_, PyAny>) -> Ref {
        // SAFETY: `into_ptr` gives a new, non-NULL reference.
        Ref(unsafe { NonNull::new_unchecked(object.into_ptr()) })
    }

    pub(crate) fn bind<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        // SAFETY: the pointer is a live object of the attached interpreter.
        unsafe { Bound::from_borrowed_ptr(py, self.0.as_ptr()) }
    }

    pub(crate) fn into_bound(self, py: Python<'_>) -> Bound<'_, PyAny> {
        // SAFETY: we own one reference to a live object of the attached interpreter, and give it away.
        unsafe { Bound::from_owned_ptr(py, std::mem::ManuallyDrop::new(self).as_ptr()) }
    }

    pub(crate) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// Is this the only reference? Without the interpreter's lock nobody can tell: another thread may be taking one.
    pub(crate) fn is_unique(&self, _py: Python<'_>) -> bool {
        // SAFETY: a live object of the attached interpreter.
        cfg!(not(Py_GIL_DISABLED)) && unsafe { ffi::Py_REFCNT(self.0.as_ptr()) == 1 }
    }
}

impl Drop for Ref {
    fn drop(&mut self) {
        // SAFETY: we own one reference; see the type's comment for the interpreter.
        unsafe { ffi::Py_DECREF(self.0.as_ptr()) }
    }
}

// SAFETY: a reference is only used and dropped while its interpreter is attached.
unsafe impl Send for Ref {}
// SAFETY: as above.
unsafe impl Sync for Ref {}

/// A place for an object that is made at first use. It is filled once, so that the object's identity is stable and a
/// thread that reads it cannot meet another that replaces it, with or without a lock of the interpreter's.
#[derive(Default)]
pub(crate) struct Slot(AtomicPtr<ffi::PyObject>);

impl Slot {
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        // SAFETY: NULL, or a reference that the slot owns until its object goes, to a live object of the interpreter.
        unsafe { Bound::from_borrowed_ptr_or_opt(py, self.as_ptr()) }
    }

    /// Fills the slot; gives what it holds afterwards: what another thread has put there first, if one has.
    pub(crate) fn fill<'py>(&self, object: Bound<'py, PyAny>) -> Bound<'py, PyAny> {
        let py = object.py();
        let new = object.clone().into_ptr();
        match self
            .0
            .compare_exchange(null_mut(), new, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => object,
            Err(first) => {
                // SAFETY: the reference was not given away, and the first one is the slot's own.
                unsafe {
                    ffi::Py_DECREF(new);
                    Bound::from_borrowed_ptr(py, first)
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.as_ptr().is_null()
    }

    /// For the garbage collector: nobody else can reach the object any more.
    pub(super) fn clear(&self) {
        let object = self.0.swap(null_mut(), Ordering::AcqRel);
        // SAFETY: the slot's own reference, or NULL.
        unsafe { ffi::Py_XDECREF(object) };
    }

    /// For traversal by the garbage collector.
    pub(super) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A yes or no that any thread may read and set (Cell<bool>, but Sync).
#[derive(Default)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: bool) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Sets it; gives what it was.
    pub(crate) fn replace(&self, value: bool) -> bool {
        self.0.swap(value, Ordering::Relaxed)
    }
}

/// A number that any thread may read and set (Cell<i64>, but Sync).
#[derive(Default)]
pub(crate) struct Number(AtomicI64);

impl Number {
    pub(crate) const fn new(value: i64) -> Number {
        Number(AtomicI64::new(value))
    }

    pub(crate) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds; gives what it was.
    pub(crate) fn add(&self, more: i64) -> i64 {
        self.0.fetch_add(more, Ordering::Relaxed)
    }
}
