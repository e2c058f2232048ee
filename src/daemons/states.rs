//! What Python is told of daemons, for `mod_python.status`.

use super::keep;
use crate::embed::Cx;
use crate::embed::class::{Args, Function, function};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;

/// The functions of `_apache` for it.
pub(crate) static FUNCTIONS: &[Function] = &[function!(
    c"_daemons()",
    c"the directory of the daemons' sockets and states; None without daemons.",
    directory,
)];

fn directory<'py>(cx: Cx<'py>, _: Args<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let directory = keep::directory().map(|path| path.to_string_lossy().into_owned());
    directory.into_bound_py_any(cx.py)
}
