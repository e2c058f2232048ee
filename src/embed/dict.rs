//! Reading and setting items of a dict, where the key is a `str` that the interpreter keeps.

use super::cell::Ref;
use super::exception;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Finds the value of a `str` key in a module's dictionary (PyDict_GetItemRef, PyDict_GetItemWithError); None where there is none.
///
/// # Errors
/// What comparing the key with another one raises: an application may put a key of any class into its module's dictionary.
pub(crate) fn get<'py>(
    dict: &Bound<'py, PyAny>,
    key: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    // SAFETY: a dict and a str; the result is new, or NULL, perhaps with an error set.
    #[cfg(Py_3_13)]
    let found = unsafe {
        let mut found = std::ptr::null_mut();
        ffi::PyDict_GetItemRef(dict.as_ptr(), key.as_ptr(), &raw mut found);
        Bound::from_owned_ptr_or_opt(dict.py(), found)
    };
    // SAFETY: as above; the result is borrowed.
    #[cfg(not(Py_3_13))]
    let found = unsafe {
        let found = ffi::PyDict_GetItemWithError(dict.as_ptr(), key.as_ptr());
        Bound::from_borrowed_ptr_or_opt(dict.py(), found)
    };
    // SAFETY: attached; looks whether an error is set.
    if found.is_none() && !unsafe { ffi::PyErr_Occurred() }.is_null() {
        return Err(PyErr::from_value(exception::raised(dict.py())));
    }
    Ok(found)
}

/// Sets an item: `dict[key] = value` (PyDict_SetItem).
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

/// Sets an item where the dict has none of this key; otherwise gives the value that it has (PyDict_SetDefault).
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
