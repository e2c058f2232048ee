//! `_options(req, names)` and `_switches(req)`: a few settings, without the tables of all of them.

use crate::config::ModPython;
use crate::embed::Cx;
use crate::embed::class::{self, Args};
use crate::embed::text::{self, Encoding};
use crate::httpd::request::Request as Host;
use crate::objects::refusal::hold;
use crate::objects::request::{Made, Request};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

type Object<'py> = Bound<'py, PyAny>;

/// `_options(req, names)`: `names` is a tuple of str.
pub(super) fn options<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let (request, names) = (args.required(0)?, args.required(1)?);
    let names = names.cast::<PyTuple>()?;
    let Some(known) = class::payload::<Request>(cx, &request) else {
        return from_table(cx, &request.call_method0("get_options")?, names);
    };
    if let Some(table) = known.made(cx, Made::Options) {
        // A handler may have changed it.
        return from_table(cx, &table, names);
    }
    let mut texts = Vec::with_capacity(names.len());
    for name in names {
        texts.push(name.cast_into::<PyString>()?);
    }
    let mut wanted = Vec::with_capacity(texts.len());
    for name in &texts {
        let name = text::ascii(name).and_then(|name| std::str::from_utf8(name).ok());
        wanted.push(name.ok_or_else(|| PyTypeError::new_err("a name must be ASCII"))?);
    }
    // Copies: making an object may run any code, and the request is held for moments only.
    let values: Vec<Option<Box<str>>> = {
        let held = hold(cx.py, known.lease())?;
        let common = &held.request().config::<ModPython>().common;
        let set = |name: &&str| common.option(name).filter(|value| !value.is_empty());
        wanted.iter().map(|name| set(name).map(Box::from)).collect()
    };
    let values = values.iter().map(|value| match value {
        Some(value) => Encoding::Utf8.decode(cx.py, value.as_bytes()),
        None => Ok(cx.py.None().into_bound(cx.py)),
    });
    let values: Vec<_> = values.collect::<PyResult<_>>()?;
    PyTuple::new(cx.py, values).map(Bound::into_any)
}

fn from_table<'py>(
    cx: Cx<'py>,
    table: &Object<'py>,
    names: &Bound<'py, PyTuple>,
) -> PyResult<Object<'py>> {
    let get = table.getattr("get")?;
    let values = names.iter().map(|name| get.call1((name, cx.py.None())));
    PyTuple::new(cx.py, values.collect::<PyResult<Vec<_>>>()?).map(Bound::into_any)
}

/// `_switches(req)`.
pub(super) fn switches<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let request = args.required(0)?;
    let known = class::payload::<Request>(cx, &request);
    if let Some(known) = known.filter(|known| known.made(cx, Made::Config).is_none()) {
        let held = hold(cx.py, known.lease())?;
        let switches = of(held.request());
        drop(held);
        return switches.into_bound_py_any(cx.py);
    }
    let get = request.call_method0("get_config")?.getattr("get")?;
    let debug = get.call1(("PythonDebug", "0"))?.str()?;
    let reload = get.call1(("PythonAutoReload", "1"))?.str()?;
    (text::lossy(&debug) == "1", text::lossy(&reload) != "0").into_bound_py_any(cx.py)
}

/// Are PythonDebug and PythonAutoReload on?
pub(super) fn of(request: Host<'_>) -> (bool, bool) {
    let common = &request.config::<ModPython>().common;
    (
        common.debug.unwrap_or(false),
        common.auto_reload.unwrap_or(true),
    )
}
