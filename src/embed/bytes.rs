//! A `bytes` that is filled while no interpreter is attached.

use crate::httpd::io::body::ReadBuf;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::c_int;
use std::mem::MaybeUninit;

unsafe extern "C" {
    /// Declared here, since pyo3::ffi does not have it.
    fn _PyBytes_Resize(object: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> c_int;
}

/// Makes a `bytes` of what `fill` writes, at most `capacity` bytes (PyBytes_FromStringAndSize, _PyBytes_Resize).
///
/// # Errors
/// MemoryError; the inner one is `fill`'s.
pub(crate) fn filled<'py, E>(
    py: Python<'py>,
    capacity: usize,
    fill: impl FnOnce(&mut ReadBuf<'_>) -> Result<(), E>,
) -> PyResult<Result<Bound<'py, PyAny>, E>> {
    // SAFETY: nobody else knows the new object before it is complete; its memory stays where it is until then, and as much
    // of it is kept as has been written.
    unsafe {
        let new = ffi::PyBytes_FromStringAndSize(std::ptr::null(), capacity.cast_signed());
        let object = Bound::from_owned_ptr_or_err(py, new)?;
        let memory = ffi::PyBytes_AsString(new).cast::<MaybeUninit<u8>>();
        let mut room = ReadBuf::new(std::slice::from_raw_parts_mut(memory, capacity));
        if let Err(error) = fill(&mut room) {
            return Ok(Err(error));
        }
        let length = room.length();
        let mut raw = object.into_ptr();
        if length < capacity && _PyBytes_Resize(&raw mut raw, length.cast_signed()) != 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(Ok(Bound::from_owned_ptr(py, raw)))
    }
}
