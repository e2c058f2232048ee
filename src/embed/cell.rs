//! References to Python objects that stay within their interpreter, where pyo3's `Py` might be released in another one; and cells
//! that several threads may use, also where the interpreter has no lock (PEP 703).

use pyo3::{Bound, PyAny, Python, ffi};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, Ordering};

/// An owned reference. Dropping it releases the object at once, which `Py` does only where pyo3 knows that the thread is attached.
/// So it may only be kept where it is dropped while its interpreter is attached: in Python objects, and in what an interpreter
/// keeps.
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

    /// Is this the only reference? False where the interpreter has no lock: another thread may be taking one just now.
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

/// A place for an object that is made at first use. It is filled once and never changed: so everybody gets the same object, and no
/// thread can take away what another one is just reading.
#[derive(Default)]
pub(crate) struct Slot(AtomicPtr<ffi::PyObject>);

impl Slot {
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        // SAFETY: NULL, or a reference that the slot owns until its object goes, to a live object of the interpreter.
        unsafe { Bound::from_borrowed_ptr_or_opt(py, self.as_ptr()) }
    }

    /// Fills the slot, unless another thread has done so first. Gives the object that is in it afterwards.
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

    /// Empties the slot, for the garbage collector, which knows that nobody can reach its object any more.
    pub(super) fn clear(&self) {
        let object = self.0.swap(null_mut(), Ordering::AcqRel);
        // SAFETY: the slot's own reference, or NULL.
        unsafe { ffi::Py_XDECREF(object) };
    }

    /// Gives the object to the garbage collector's traversal; NULL where there is none.
    pub(super) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A `bool` that any thread may read and set: a `Cell<bool>` that is `Sync`.
#[derive(Default)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: bool) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Sets it, and gives the value before.
    pub(crate) fn replace(&self, value: bool) -> bool {
        self.0.swap(value, Ordering::Relaxed)
    }
}

/// A number that any thread may read and set: a `Cell<i64>` that is `Sync`.
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

    /// Adds, and gives the value before.
    pub(crate) fn add(&self, more: i64) -> i64 {
        self.0.fetch_add(more, Ordering::Relaxed)
    }
}
