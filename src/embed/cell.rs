//! Owned Python references and cells for places that pyo3's own would leak across interpreters.

use pyo3::{Bound, PyAny, Python, ffi};
use std::cell::Cell;
use std::ptr::NonNull;

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

    /// Is this the only reference?
    pub(crate) fn is_unique(&self, _py: Python<'_>) -> bool {
        // SAFETY: a live object of the attached interpreter.
        unsafe { ffi::Py_REFCNT(self.0.as_ptr()) == 1 }
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

/// A place for an object that is made at first use: the value is kept, so that its identity is stable.
#[derive(Default)]
pub(crate) struct Slot(Cell<Option<Ref>>);

impl Slot {
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let value = self.0.take();
        let bound = value.as_ref().map(|value| value.bind(py));
        self.0.set(value);
        bound
    }

    pub(crate) fn set(&self, object: &Bound<'_, PyAny>) {
        drop(self.0.replace(Some(Ref::new(object.clone()))));
    }

    pub(crate) fn is_empty(&self) -> bool {
        let value = self.0.take();
        let empty = value.is_none();
        self.0.set(value);
        empty
    }

    pub(crate) fn clear(&self) {
        drop(self.0.take());
    }

    /// For traversal by the garbage collector.
    pub(super) fn as_ptr(&self) -> *mut ffi::PyObject {
        let value = self.0.take();
        let pointer = value.as_ref().map_or(std::ptr::null_mut(), Ref::as_ptr);
        self.0.set(value);
        pointer
    }
}
