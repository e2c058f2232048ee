//! What Python sees: one class a file, all of them safe code over `embed::class` and `httpd`.

pub(crate) mod connection;
pub(crate) mod exchange;
pub(crate) mod filter;
pub(crate) mod finfo;
mod functions;
pub(crate) mod hlist;
mod locks;
pub(crate) mod query;
pub(crate) mod request;
pub(crate) mod server;
pub(crate) mod table;
mod table_rules;

pub(crate) use functions::FUNCTIONS;

use crate::embed::Cx;
use crate::embed::class::{self, Class};
use crate::httpd::lease::Refusal;
use crate::httpd::log::Level;
use crate::httpd::request::Request as Host;
use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;

/// Makes the classes of this interpreter, in the order of their places.
///
/// # Errors
/// What Python raises.
pub(crate) fn classes<'py>(
    cx: Cx<'py>,
    module: &Bound<'py, PyModule>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let classes = vec![
        class::define::<request::Request>(cx, module)?,
        class::define::<server::Server>(cx, module)?,
        class::define::<connection::Connection>(cx, module)?,
        class::define::<table::Table>(cx, module)?,
        class::define::<table::Entries>(cx, module)?,
        class::define::<hlist::HandlerList>(cx, module)?,
        class::define::<finfo::FileInfo>(cx, module)?,
        class::define::<filter::Filter>(cx, module)?,
    ];
    module.setattr("table", classes.get(table::Table::PLACE))?;
    Ok(classes)
}

/// Fills `_apache` with what is no class of ours: SERVER_RETURN, constants.
///
/// # Errors
/// What Python raises.
pub(crate) fn populate<'py>(cx: Cx<'py>, module: &Bound<'py, PyModule>) -> PyResult<()> {
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

/// Writes to a request's error log, which may be a pipe that is full: detached.
pub(crate) fn log(cx: Cx<'_>, request: Host<'_>, level: Level, text: &str) {
    let entry = (level as i32, text.as_bytes());
    cx.detached((request, entry), |(request, (level, text))| {
        crate::httpd::log::request_raw(request, level, text);
    });
}

/// What Python gets for a request that it cannot have.
pub(crate) fn refused(refusal: Refusal) -> PyErr {
    PyRuntimeError::new_err(match refusal {
        Refusal::Expired => "request object has expired",
        Refusal::Closed => "request object cannot be used between its phases",
        Refusal::Busy => "request object is in use by another thread",
    })
}
