//! Instances of classes in Python that are made and filled without calling what the class defines.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

type Object<'py> = Bound<'py, PyAny>;

/// Makes an instance that nothing has been set of (`object.__new__(class)`).
///
/// # Errors
/// TypeError for what is no class, or not of Python's own making; MemoryError.
pub(crate) fn instance<'py>(class: &Object<'py>) -> PyResult<Object<'py>> {
    let py = class.py();
    let class = class.cast::<PyType>()?;
    let nothing = PyTuple::empty(py);
    // SAFETY: object's own function, with a live class that is laid out as an object (what has the same `tp_new` is), an empty
    // tuple, and no names.
    unsafe {
        let base = ffi::PyBaseObject_Type.tp_new;
        let own = (*class.as_type_ptr()).tp_new;
        let new = base.filter(|&base| own.is_some_and(|own| std::ptr::fn_addr_eq(own, base)));
        let Some(new) = new else {
            return Err(PyTypeError::new_err("not a plain class"));
        };
        let made = new(class.as_type_ptr(), nothing.as_ptr(), std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(py, made)
    }
}

/// Sets an attribute, whatever the class's `__setattr__` is (PyObject_GenericSetAttr, `object.__setattr__`).
///
/// # Errors
/// AttributeError, TypeError, MemoryError.
pub(crate) fn set(object: &Object<'_>, name: &Object<'_>, value: &Object<'_>) -> PyResult<()> {
    // SAFETY: live objects of the attached interpreter; anything but a `str` as a name is an error.
    match unsafe { ffi::PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), value.as_ptr()) } {
        0 => Ok(()),
        _ => Err(PyErr::fetch(object.py())),
    }
}
