//! A dict whose keys are ours: interned `str`, kept by the interpreter.

use super::cell::Ref;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// `dict[key] = value` (PyDict_SetItem).
///
/// # Errors
/// MemoryError.
pub(crate) fn set(dict: &Bound<'_, PyDict>, key: &Ref, value: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: live objects of the attached interpreter.
    match unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) } {
        0 => Ok(()),
        _ => Err(PyErr::fetch(dict.py())),
    }
}

/// Sets the item where there is none; gives the one there is (PyDict_SetDefault).
///
/// # Errors
/// MemoryError.
pub(crate) fn set_default<'py>(
    dict: &Bound<'py, PyDict>,
    key: &Ref,
    value: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let size = dict.len();
    // SAFETY: live objects of the attached interpreter; the result is borrowed from the dict, or NULL with an error set.
    let there = unsafe {
        let there = ffi::PyDict_SetDefault(dict.as_ptr(), key.as_ptr(), value.as_ptr());
        Bound::from_borrowed_ptr_or_err(dict.py(), there)?
    };
    Ok((dict.len() == size).then_some(there))
}
