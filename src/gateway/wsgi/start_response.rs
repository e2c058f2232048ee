//! `start_response(status, headers, exc_info=None)` and the `write` that it returns.

use super::gateway::GATEWAY;
use super::head::head;
use crate::embed::class::{Args, Class, Key, Method, Named, Slots, This, method};
use crate::exchange::{RequestLease, write_failed};
use crate::gateway::answer::{Answer, Stage};
use crate::gateway::memory;
use crate::httpd::io::output::End;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use std::ffi::CStr;

type Object<'py> = Bound<'py, PyAny>;

/// What an application is given to answer with.
pub(super) struct StartResponse {
    lease: RequestLease,
    pub(super) answer: Answer,
}

impl StartResponse {
    pub(super) fn new(lease: RequestLease) -> StartResponse {
        StartResponse {
            lease,
            answer: Answer::default(),
        }
    }
}

const WRITE: Method<StartResponse> = method!(
    StartResponse,
    c"write(data, /)",
    c"sends bytes at once, before what the application returns.",
    write,
);

impl Class for StartResponse {
    const NAME: &'static CStr = c"mp_start_response";
    const DOC: &'static CStr = c"start_response(status, headers, exc_info=None) of PEP 3333.";
    const REUSED: bool = true;
    const METHODS: &'static [Method<Self>] = &[WRITE];
    const SLOTS: Slots<Self> = Slots {
        call: Some(start),
        ..Slots::NONE
    };

    fn key() -> &'static Key<Self> {
        static KEY: Key<StartResponse> = Key::new();
        &KEY
    }
}

fn start<'py>(
    this: This<'_, 'py, StartResponse>,
    args: Args<'_, 'py>,
    named: Named<'_, 'py>,
) -> PyResult<Object<'py>> {
    let [status, headers, exc_info] = arguments(&args, &named)?;
    let missing = |name: &str| PyTypeError::new_err(format!("start_response() needs {name}"));
    let status = status.ok_or_else(|| missing("a status"))?;
    let headers = headers.ok_or_else(|| missing("headers"))?;
    let is_late = this.answer.stage() == Stage::Given;
    if let Some(exc_info) = exc_info.filter(|info| !info.is_none()) {
        let value = raised(&exc_info)?;
        if is_late {
            return Err(PyErr::from_value(value));
        }
    } else if is_late {
        return Err(called_already());
    }
    let held = this.lease.hold().map_err(|_| {
        PyRuntimeError::new_err("start_response() has been called after the request's end")
    })?;
    let (head, left_out) = head(held.request(), &status, &headers)?;
    if let Some(name) = left_out {
        let habit = "sets a header that is the server's own to set; it is left out: ";
        memory::warn_once(this.cx, &GATEWAY, &held, habit, &name)?;
    }
    this.answer.start(head).map_err(|_| called_already())?;
    this.method(&WRITE)
}

fn called_already() -> PyErr {
    PyRuntimeError::new_err(
        "start_response() has been called already, and the headers have been sent",
    )
}

/// Reads status, headers and exc_info, by their places or names.
fn arguments<'py>(
    args: &Args<'_, 'py>,
    named: &Named<'_, 'py>,
) -> PyResult<[Option<Object<'py>>; 3]> {
    if args.len() > 3 {
        let given = args.len();
        return Err(PyTypeError::new_err(format!(
            "start_response() takes at most 3 arguments ({given} given)"
        )));
    }
    let mut found = [args.get(0), args.get(1), args.get(2)];
    for (name, value) in named.pairs()? {
        let place = ["status", "headers", "exc_info"]
            .iter()
            .position(|known| *known == name);
        let slot = place.and_then(|place| found.get_mut(place));
        match slot {
            Some(slot) if slot.is_none() => *slot = Some(value),
            Some(_) => {
                return Err(PyTypeError::new_err(format!(
                    "start_response() got several values for {name:?}"
                )));
            }
            None => {
                return Err(PyTypeError::new_err(format!(
                    "start_response() has no argument {name:?}"
                )));
            }
        }
    }
    Ok(found)
}

/// Gives the exception of an `exc_info`, with its traceback.
fn raised<'py>(exc_info: &Object<'py>) -> PyResult<Object<'py>> {
    let wrong =
        || PyTypeError::new_err("exc_info must be None or a tuple (type, value, traceback)");
    let parts = exc_info.cast::<PyTuple>().map_err(|_| wrong())?;
    if parts.len() != 3 {
        return Err(wrong());
    }
    let (value, traceback) = (parts.get_item(1)?, parts.get_item(2)?);
    if !value.is_instance_of::<pyo3::exceptions::PyBaseException>() {
        return Err(wrong());
    }
    if !traceback.is_none() {
        value.setattr("__traceback__", traceback)?;
    }
    Ok(value)
}

fn write<'py>(this: This<'_, 'py, StartResponse>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let data = args.required(0)?;
    let data = data
        .cast::<PyBytes>()
        .map_err(|_| PyTypeError::new_err("write() takes bytes"))?;
    let held = this
        .lease
        .hold()
        .map_err(|_| PyRuntimeError::new_err("write() has been called after the request's end"))?;
    this.answer
        .block(this.cx, &held, data.as_bytes(), End::Flush)
        .map_err(write_failed)?;
    this.cx.py.None().into_bound_py_any(this.cx.py)
}
