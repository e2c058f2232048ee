//! `start_response(status, headers, exc_info=None)` and the `write` that it returns.

use super::Object;
use super::head::head;
use crate::embed::Cx;
use crate::embed::cell::{Flag, Number};
use crate::embed::class::{Args, Class, Key, Method, Named, Slots, This, method};
use crate::exchange::{Exchange, RequestLease, write_failed};
use crate::httpd::io::Aborted;
use crate::httpd::io::body::End;
use crate::httpd::request::Request as Host;
use crate::httpd::request::lease::Held;
use crate::httpd::request::response_head::Head;
use crate::report;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use std::ffi::CStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What `start_response` was called with, and how much of the answer has been sent.
pub(super) struct StartResponse {
    lease: RequestLease,
    head: Mutex<Option<Head>>,
    /// The status and Content-Length of `head`, which can be read without its lock. Before there is a head: 0, and ABSENT.
    status: Number,
    length: Number,
    /// Has the head been given to httpd?
    pub(super) installed: Flag,
    /// Has any of the answer left for the client?
    pub(super) left: Flag,
    /// How many bytes of the body have been sent so far.
    pub(super) written: Number,
    /// Has the application given more than its Content-Length?
    pub(super) cut: Flag,
    /// Has the end been sent?
    pub(super) ended: Flag,
}

/// Stands for a Content-Length that has not been set.
const ABSENT: i64 = -1;

impl StartResponse {
    pub(super) fn new(lease: RequestLease) -> StartResponse {
        StartResponse {
            lease,
            head: Mutex::default(),
            status: Number::default(),
            length: Number::new(ABSENT),
            installed: Flag::default(),
            left: Flag::default(),
            written: Number::default(),
            cut: Flag::default(),
            ended: Flag::default(),
        }
    }

    /// Locks the head. Let it go before anything that may wait.
    fn head(&self) -> MutexGuard<'_, Option<Head>> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has start_response been called?
    pub(super) fn is_started(&self) -> bool {
        self.status.get() != 0
    }

    /// Gives the Content-Length, if the application has set one.
    pub(super) fn length(&self) -> Option<i64> {
        Some(self.length.get()).filter(|&length| length != ABSENT)
    }

    /// May this answer have a body?
    pub(super) fn has_body(&self, request: Host<'_>) -> bool {
        let status = self.status.get();
        !request.header_only() && status != 204 && status != 304
    }

    /// Gives the head to httpd, once; `length` is its Content-Length, if the application has set none.
    pub(super) fn install(&self, request: Host<'_>, length: Option<i64>) {
        if self.installed.replace(true) {
            return;
        }
        if let Some(head) = self.head().as_ref() {
            head.install(request);
            if let Some(length) = length.filter(|_| head.length().is_none() && head.status() != 304)
            {
                request.set_content_length(length);
            }
        }
    }

    /// Finds how many of `count` bytes fit into the Content-Length. The rest is to be cut off, which is logged once.
    pub(super) fn room(&self, cx: Cx<'_>, request: Host<'_>, count: i64) -> i64 {
        let Some(length) = self.length() else {
            return count;
        };
        let room = (length - self.written.get()).clamp(0, count);
        if room < count && !self.cut.replace(true) {
            let text = format!(
                "the application gives more than the {length} bytes of its Content-Length; the rest is cut off"
            );
            report::error(cx, request, &text);
        }
        room
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
    if let Some(exc_info) = exc_info.filter(|info| !info.is_none()) {
        let value = raised(&exc_info)?;
        if this.left.get() || this.installed.get() {
            return Err(PyErr::from_value(value));
        }
    } else if this.left.get() || this.installed.get() {
        return Err(PyRuntimeError::new_err(
            "start_response() has been called already, and the headers have been sent",
        ));
    }
    let held = this.lease.hold().map_err(|_| {
        PyRuntimeError::new_err("start_response() has been called after the request's end")
    })?;
    let (head, dropped) = head(held.request(), &status, &headers)?;
    if let Some(name) = dropped {
        let habit = "sets a header that is the server's own to set; it is left out: ";
        super::state(this.cx)?.warn_once(this.cx, &held, habit, &name)?;
    }
    this.status.set(i64::from(head.status()));
    this.length.set(head.length().unwrap_or(ABSENT));
    *this.head() = Some(head);
    this.method(&WRITE)
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
    send(&this, &held, data.as_bytes(), End::Flush).map_err(write_failed)?;
    this.cx.py.None().into_bound_py_any(this.cx.py)
}

/// Sends a block. With the one that completes the Content-Length the answer's end is sent, too.
pub(super) fn send<'py>(
    this: &This<'_, 'py, StartResponse>,
    held: &Held<'_, Exchange>,
    data: &[u8],
    end: End,
) -> Result<(), Aborted> {
    let request = held.request();
    if data.is_empty() || this.ended.get() {
        if !data.is_empty() {
            this.room(
                this.cx,
                request,
                i64::try_from(data.len()).unwrap_or(i64::MAX),
            );
        }
        return Ok(());
    }
    let count = i64::try_from(data.len()).unwrap_or(i64::MAX);
    let room = this.room(this.cx, request, count);
    this.install(request, None);
    this.written.set(this.written.get() + room);
    if !this.has_body(request) {
        return Ok(());
    }
    let kept = data
        .get(..usize::try_from(room).unwrap_or(0))
        .unwrap_or_default();
    held.value().output.borrow_mut().write(request, kept)?;
    let complete = this.length() == Some(this.written.get());
    let end = if complete { End::OfStream } else { end };
    this.ended.set(complete);
    this.left.set(true);
    if end == End::Open {
        return Ok(());
    }
    Exchange::send(this.cx, held, end)
}
