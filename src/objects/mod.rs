//! What Python sees: one class a file, all of them safe code over `embed::class` and `httpd`.

pub(crate) mod connection;
pub(crate) mod filter;
pub(crate) mod finfo;
mod functions;
pub(crate) mod hlist;
mod locks;
mod query;
pub(crate) mod request;
pub(crate) mod server;
pub(crate) mod table;
mod table_rules;

pub(crate) use functions::FUNCTIONS;

use crate::embed::{Cx, class};
use crate::httpd::request::lease::Refusal;
use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;

/// Fills `_apache` with what is no function: the class of tables, SERVER_RETURN, constants.
///
/// # Errors
/// What Python raises.
pub(crate) fn populate<'py>(cx: Cx<'py>, module: &Bound<'py, PyModule>) -> PyResult<()> {
    module.setattr("table", class::class_of::<table::Table>(cx)?)?;
    let kind = cx.py.get_type::<PyException>();
    let names = pyo3::types::PyDict::new(cx.py);
    names.set_item("__module__", "_apache")?;
    names.set_item("__doc__", "Ends a handler: SERVER_RETURN(result), or SERVER_RETURN(result, status) to set req.status too.")?;
    module.setattr(
        "SERVER_RETURN",
        cx.py
            .get_type::<pyo3::types::PyType>()
            .call1(("SERVER_RETURN", (kind,), names))?,
    )?;
    functions::constants(module)
}

/// Makes the exception for a request that cannot be held.
fn refused(refusal: Refusal) -> PyErr {
    PyRuntimeError::new_err(match refusal {
        Refusal::Expired => "request object has expired",
        Refusal::Closed => "request object cannot be used between its phases",
        Refusal::Busy => "request object is in use by another thread",
    })
}
