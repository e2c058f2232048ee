//! What Python is told where a request cannot be had.

use crate::embed;
use crate::exchange::{Exchange, RequestLease};
use crate::httpd::request::lease::{Held, Refusal};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// Makes the exception for a request that cannot be held.
pub(crate) fn refused(refusal: Refusal) -> PyErr {
    PyRuntimeError::new_err(match refusal {
        Refusal::Expired => "request object has expired",
        Refusal::Closed => "request object cannot be used between its phases",
        Refusal::Busy => "request object is in use by another thread",
    })
}

/// Holds a request for one operation of this thread's. Waits, detached, for the child's own thread that sends what is due; another
/// thread that is in the middle of something is not waited for.
///
/// # Errors
/// RuntimeError.
#[inline]
pub(crate) fn hold<'l>(py: Python<'_>, lease: &'l RequestLease) -> PyResult<Held<'l, Exchange>> {
    lease
        .hold()
        .or_else(|refusal| after_sender(py, lease, refusal))
}

#[cold]
fn after_sender<'l>(
    py: Python<'_>,
    lease: &'l RequestLease,
    refusal: Refusal,
) -> PyResult<Held<'l, Exchange>> {
    if refusal == Refusal::Busy && lease.turn().is_free_soon() {
        return embed::acquire(py, lease).map_err(refused);
    }
    Err(refused(refusal))
}
