//! What Python passes to methods and functions.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

type Object<'py> = Bound<'py, PyAny>;

/// Positional arguments.
#[derive(Clone, Copy)]
pub(crate) struct Args<'a, 'py> {
    pub(super) py: Python<'py>,
    pub(super) values: &'a [*mut ffi::PyObject],
}

impl<'py> Args<'_, 'py> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The argument at a place, if it was given.
    pub(crate) fn get(&self, place: usize) -> Option<Object<'py>> {
        // SAFETY: the caller of the method keeps its arguments alive.
        self.values
            .get(place)
            .map(|&value| unsafe { Bound::from_borrowed_ptr(self.py, value) })
    }

    /// The argument at a place.
    ///
    /// # Errors
    /// TypeError where it is missing.
    pub(crate) fn required(&self, place: usize) -> PyResult<Object<'py>> {
        self.get(place)
            .ok_or_else(|| PyTypeError::new_err("a required argument is missing"))
    }

    /// An integer argument, or a default.
    ///
    /// # Errors
    /// TypeError, OverflowError.
    pub(crate) fn integer_or(&self, place: usize, default: i64) -> PyResult<i64> {
        self.get(place).map_or(Ok(default), |value| integer(&value))
    }
}

/// Arguments by name.
pub(crate) struct Named<'a, 'py> {
    pub(super) py: Python<'py>,
    /// A tuple of as many names as there are values.
    pub(super) names: Option<Object<'py>>,
    pub(super) values: &'a [*mut ffi::PyObject],
}

impl<'py> Named<'_, 'py> {
    /// Names and values.
    ///
    /// # Errors
    /// What Python raises.
    pub(crate) fn pairs(&self) -> PyResult<Vec<(String, Object<'py>)>> {
        let Some(names) = &self.names else {
            return Ok(Vec::new());
        };
        let values = self.values.iter().enumerate();
        values
            .map(|(place, &value)| {
                let name = names.get_item(place)?.extract()?;
                // SAFETY: the caller keeps its arguments alive.
                Ok((name, unsafe { Bound::from_borrowed_ptr(self.py, value) }))
            })
            .collect()
    }
}

/// Can it be asked for its length and its items by their places (PySequence_Check)? pyo3's PySequence keeps a class of one
/// interpreter for all.
pub(crate) fn is_sequence(object: &Object<'_>) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PySequence_Check(object.as_ptr()) != 0 }
}

/// An integer as C code takes it (`int`, `bool`, `__index__`).
///
/// # Errors
/// TypeError, OverflowError.
pub(crate) fn integer(value: &Object<'_>) -> PyResult<i64> {
    // SAFETY: a live object; -1 with an error set means failure.
    unsafe {
        let number = ffi::PyNumber_Index(value.as_ptr());
        if number.is_null() {
            return Err(PyErr::fetch(value.py()));
        }
        let result = ffi::PyLong_AsLongLong(number);
        ffi::Py_DECREF(number);
        if result == -1 && !ffi::PyErr_Occurred().is_null() {
            Err(PyErr::fetch(value.py()))
        } else {
            Ok(result)
        }
    }
}
