//! What `_apache` has beside its functions.

use super::functions;
use super::table::Table;
use crate::embed::{Cx, class};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

/// Fills `_apache` with what is no function: the class of tables, SERVER_RETURN, constants.
///
/// # Errors
/// What Python raises.
pub(crate) fn populate<'py>(cx: Cx<'py>, module: &Bound<'py, PyModule>) -> PyResult<()> {
    module.setattr("table", class::class_of::<Table>(cx)?)?;
    let kind = cx.py.get_type::<PyException>();
    let names = PyDict::new(cx.py);
    names.set_item("__module__", "_apache")?;
    names.set_item("__doc__", "Ends a handler: SERVER_RETURN(result), or SERVER_RETURN(result, status) to set req.status too.")?;
    module.setattr(
        "SERVER_RETURN",
        cx.py
            .get_type::<PyType>()
            .call1(("SERVER_RETURN", (kind,), names))?,
    )?;
    functions::constants(module)
}
