//! Taking, setting and dropping exceptions. pyo3's own ways attach the thread by themselves, to the main interpreter, or leave
//! objects for later, perhaps to another interpreter.

use super::attach::called;
use super::interpreter::Cx;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::CStr;

/// Has pyo3 make its class `PanicException`, one for the process, with which it compares every error that it takes. It would be made
/// at the first error: if that came where the stack is full, making it would fail with another error, and wait for itself.
pub(super) fn prepare(py: Python<'_>) {
    py.get_type::<pyo3::panic::PanicException>();
}

/// Makes the exception that a `PyErr` stands for, with its traceback.
pub(crate) fn value<'py>(py: Python<'py>, error: PyErr) -> Bound<'py, PyAny> {
    restore(py, error);
    raised(py)
}

/// Sets the exception that a `PyErr` stands for as the thread's current one. `PyValueError::new_err` and the like only make the
/// exception here, and drop its class and message: the thread has to be attached.
pub(super) fn restore(_py: Python<'_>, error: PyErr) {
    called(|py| error.restore(py));
}

/// Takes the thread's current exception.
pub(crate) fn raised(py: Python<'_>) -> Bound<'_, PyAny> {
    // SAFETY: attached, and an exception is set; each branch takes over the references it is given.
    unsafe {
        #[cfg(Py_3_12)]
        let value = ffi::PyErr_GetRaisedException();
        #[cfg(not(Py_3_12))]
        let value = {
            let (mut kind, mut value, mut traceback) = (
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            );
            ffi::PyErr_Fetch(&raw mut kind, &raw mut value, &raw mut traceback);
            ffi::PyErr_NormalizeException(&raw mut kind, &raw mut value, &raw mut traceback);
            if !traceback.is_null() && !value.is_null() {
                ffi::PyException_SetTraceback(value, traceback);
            }
            ffi::Py_XDECREF(kind);
            ffi::Py_XDECREF(traceback);
            value
        };
        if value.is_null() {
            py.None().into_bound(py)
        } else {
            Bound::from_owned_ptr(py, value)
        }
    }
}

/// Drops an error whose reason does not matter.
pub(crate) fn discard(py: Python<'_>, error: PyErr) {
    drop(value(py, error));
}

/// Gives the value of a result; drops an error and gives None.
pub(crate) fn or_discard<T>(py: Python<'_>, result: PyResult<T>) -> Option<T> {
    result.map_err(|error| discard(py, error)).ok()
}

/// Calls `callable(argument)` (PEP 590); an exception is the `Err`.
pub(crate) fn call<'py>(
    cx: Cx<'py>,
    callable: &Bound<'py, PyAny>,
    argument: &Bound<'py, PyAny>,
) -> Result<Bound<'py, PyAny>, Bound<'py, PyAny>> {
    let mut arguments = [std::ptr::null_mut(), argument.as_ptr()];
    // SAFETY: one argument, with a free place before it as PY_VECTORCALL_ARGUMENTS_OFFSET promises.
    unsafe {
        let result = ffi::PyObject_Vectorcall(
            callable.as_ptr(),
            arguments.as_mut_ptr().add(1),
            1 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
            std::ptr::null_mut(),
        );
        if result.is_null() {
            Err(raised(cx.py))
        } else {
            Ok(Bound::from_owned_ptr(cx.py, result))
        }
    }
}

/// Calls `callable(first, second)` (PEP 590).
///
/// # Errors
/// What it raises.
pub(crate) fn call_two<'py>(
    cx: Cx<'py>,
    callable: &Bound<'py, PyAny>,
    first: &Bound<'py, PyAny>,
    second: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut arguments = [std::ptr::null_mut(), first.as_ptr(), second.as_ptr()];
    // SAFETY: two arguments, with a free place before them.
    unsafe {
        let result = ffi::PyObject_Vectorcall(
            callable.as_ptr(),
            arguments.as_mut_ptr().add(1),
            2 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
            std::ptr::null_mut(),
        );
        Bound::from_owned_ptr_or_err(cx.py, result)
    }
}

/// Is this exception an instance of `class`?
pub(crate) fn is_instance(exception: &Bound<'_, PyAny>, class: &Bound<'_, PyAny>) -> bool {
    // SAFETY: both are live; this check runs no Python code and sets no error.
    unsafe { ffi::PyErr_GivenExceptionMatches(exception.as_ptr(), class.as_ptr()) != 0 }
}

/// Gets an attribute; None where the object has none of that name.
///
/// # Errors
/// What looking it up raises, but for AttributeError.
pub(crate) fn attribute<'py>(
    object: &Bound<'py, PyAny>,
    name: &str,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = object.py();
    object.getattr(name).map(Some).or_else(|error| {
        let error = value(py, error);
        // SAFETY: the builtin exception classes live as long as Python.
        let missing = is_instance(&error, &unsafe {
            Bound::from_borrowed_ptr(py, ffi::PyExc_AttributeError)
        });
        if missing {
            Ok(None)
        } else {
            Err(PyErr::from_value(error))
        }
    })
}

/// Gives the number of an object of the class `int` itself, if it fits; a `bool` or another subclass is None.
pub(crate) fn exact_int(result: &Bound<'_, PyAny>) -> Option<i32> {
    // SAFETY: a live object; PyLong_AsLongAndOverflow sets no error for an exact int.
    unsafe {
        if ffi::PyLong_CheckExact(result.as_ptr()) == 0 {
            return None;
        }
        let mut overflow = 0;
        let value = ffi::PyLong_AsLongAndOverflow(result.as_ptr(), &raw mut overflow);
        if overflow == 0 {
            i32::try_from(value).ok()
        } else {
            None
        }
    }
}

/// What starting something of Python's has come to (PEP 587).
///
/// # Errors
/// Python's message.
pub(super) fn of_status(status: ffi::PyStatus) -> Result<(), String> {
    // SAFETY: a status that Python returned; its message is static.
    unsafe {
        if ffi::PyStatus_Exception(status) == 0 {
            return Ok(());
        }
        let message = if status.err_msg.is_null() {
            "unknown error".into()
        } else {
            CStr::from_ptr(status.err_msg).to_string_lossy()
        };
        Err(message.into_owned())
    }
}
