//! What Python is told where a request cannot be had.

use crate::httpd::request::lease::Refusal;
use pyo3::PyErr;
use pyo3::exceptions::PyRuntimeError;

/// Makes the exception for a request that cannot be held.
pub(crate) fn refused(refusal: Refusal) -> PyErr {
    PyRuntimeError::new_err(match refusal {
        Refusal::Expired => "request object has expired",
        Refusal::Closed => "request object cannot be used between its phases",
        Refusal::Busy => "request object is in use by another thread",
    })
}
