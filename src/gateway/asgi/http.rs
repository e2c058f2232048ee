//! `receive` and `send` of one request: what the loop's coroutines call, an object a request. Nothing here blocks.

use super::channel::{Channel, Event, Next, Refusal, Stage};
use super::messages::{Message, keys};
use super::parts::HeadParts;
use crate::embed::cell::Ref;
use crate::embed::class::{Args, Class, Key, Method, This, method};
use crate::embed::text::{self, Encoding};
use crate::embed::{Cx, exception};
use crate::exchange::RequestLease;
use crate::gateway::headers;
use crate::httpd::io::file_part::FilePart;
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request as Host;
use crate::httpd::request::header;
use crate::objects::request;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{
    PyConnectionError, PyKeyError, PyMemoryError, PyOSError, PyRuntimeError, PyTypeError,
    PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::ffi::CStr;
use std::sync::Arc;

type Object<'py> = Bound<'py, PyAny>;

/// The application's side of a request's channel.
pub(super) struct Http {
    pub(super) channel: Arc<Channel>,
    /// Whose object `request` gives, where the loop's thread has made this.
    lease: Option<RequestLease>,
    /// Has the answer no body, whatever is sent (HEAD)?
    is_head: bool,
    can: Can,
    /// The number of its server.
    server: usize,
}

/// What the application may send beside what it may always.
#[derive(Clone, Copy)]
pub(super) struct Can {
    /// Trailers of the answer.
    pub(super) trail: bool,
    /// What only a developer is to see.
    pub(super) debug: bool,
}

impl Http {
    pub(super) fn new(
        channel: Arc<Channel>,
        lease: Option<RequestLease>,
        host: Host<'_>,
        can: Can,
    ) -> Http {
        Http {
            channel,
            lease,
            is_head: host.header_only(),
            can,
            server: host.server().number(),
        }
    }
}

impl Drop for Http {
    /// A task that is dropped, and has not been run to its end, is over, too: the worker must not wait for it.
    fn drop(&mut self) {
        self.channel.end(None);
    }
}

impl Class for Http {
    const NAME: &'static CStr = c"mp_asgi_http";
    const DOC: &'static CStr = c"What an ASGI application receives of one request, and sends.";
    const METHODS: &'static [Method<Self>] = &[
        method!(
            Http,
            c"receive()",
            c"gives the next message; None where there is none yet, and the loop will be told.",
            receive
        ),
        method!(
            Http,
            c"send(message, /)",
            c"takes a message; 1: call flush() soon, 2: wait until there is room.",
            send
        ),
        method!(
            Http,
            c"flush()",
            c"has what was sent leave for the client.",
            |this: This<'_, '_, Http>, _| {
                this.channel.flush();
                Ok(this.cx.py.None().into_bound(this.cx.py))
            }
        ),
        method!(
            Http,
            c"has_room()",
            c"tells whether more can be sent; where not, the loop will be told.",
            |this: This<'_, '_, Http>, _| {
                this.channel.has_room().into_bound_py_any(this.cx.py)
            }
        ),
        method!(
            Http,
            c"end(error, /)",
            c"tells the worker that the application has ended; False where nobody waits for that any more.",
            end
        ),
        method!(
            Http,
            c"number()",
            c"what the loop will be told.",
            |this: This<'_, '_, Http>, _| { this.channel.number.into_bound_py_any(this.cx.py) }
        ),
        method!(
            Http,
            c"server()",
            c"the number of the server whose request it is, for the loop's log.",
            |this: This<'_, '_, Http>, _| { this.server.into_bound_py_any(this.cx.py) }
        ),
        method!(
            Http,
            c"waited()",
            c"nanoseconds for which its worker has waited for the client.",
            |this: This<'_, '_, Http>, _| { this.channel.waited().into_bound_py_any(this.cx.py) }
        ),
        method!(
            Http,
            c"request()",
            c"gives the request's object.",
            |this: This<'_, '_, Http>, _| match &this.lease {
                Some(lease) => request::object_elsewhere(this.cx, lease),
                None => Ok(this.cx.py.None().into_bound(this.cx.py)),
            }
        ),
        method!(
            Http,
            c"refused()",
            c"gives the status that httpd has refused the request's body with, or None.",
            |this: This<'_, '_, Http>, _| {
                this.channel.refused().into_bound_py_any(this.cx.py)
            }
        ),
        method!(
            Http,
            c"is_gone()",
            c"tells whether the client has gone before it had all of the answer.",
            |this: This<'_, '_, Http>, _| {
                this.channel.is_gone().into_bound_py_any(this.cx.py)
            }
        ),
    ];

    fn key() -> &'static Key<Self> {
        static KEY: Key<Http> = Key::new();
        &KEY
    }
}

fn receive<'py>(this: This<'_, 'py, Http>, _: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let cx = this.cx;
    let Some(event) = this.channel.receive() else {
        return Ok(cx.py.None().into_bound(cx.py));
    };
    let keys = keys(cx);
    let message = PyDict::new(cx.py);
    match event {
        Event::Body(data, more) => {
            message.set_item(keys.kind.bind(cx.py), keys.request.bind(cx.py))?;
            message.set_item(keys.body.bind(cx.py), PyBytes::new(cx.py, &data))?;
            message.set_item(keys.more_body.bind(cx.py), more)?;
        }
        Event::Disconnect => {
            message.set_item(keys.kind.bind(cx.py), keys.disconnect.bind(cx.py))?;
        }
    }
    Ok(message.into_any())
}

fn send<'py>(this: This<'_, 'py, Http>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let cx = this.cx;
    let message = Message::new(cx, args.required(0)?)?;
    let next = match message.kind() {
        kind if this.channel.is_complete() => ignored(cx, kind),
        "http.response.body" => body(&this, &message)?,
        "http.response.start" => start(&this, &message)?,
        "http.response.pathsend" => file(&this, &message)?,
        "http.response.early_hint" => hint(&this, &message)?,
        "http.response.trailers" if this.can.trail => trailers(&this, &message)?,
        "http.response.debug" if this.can.debug => debug(&this, &message)?,
        kind => {
            return Err(PyRuntimeError::new_err(format!(
                "ASGI: {kind:?} is not a message that an http application can send"
            )));
        }
    };
    next.number().into_bound_py_any(cx.py)
}

/// What comes behind the complete answer (the specification's *Response Body*). An application may send more than it should for each request,
/// so that is said where somebody looks for it.
fn ignored(cx: Cx<'_>, kind: &str) -> Next {
    if log::is_read(Level::Debug) {
        let text = format!("ASGI: {kind:?} comes after the answer is complete: it is ignored");
        cx.log_process(Level::Debug, &text);
    }
    Next::Nothing
}

fn start(this: &This<'_, '_, Http>, message: &Message<'_>) -> PyResult<Next> {
    let status = message.status()?;
    let (mut head, length) = head(message, status)?;
    head.trails = this.can.trail && message.flag(&keys(this.cx).trailers)?;
    let length = length.filter(|_| !this.is_head && !matches!(status, 204 | 304));
    let started = this.channel.start(head, length);
    started.map_err(|refusal| refused(message.kind(), refusal))?;
    Ok(Next::Nothing)
}

/// Reads the headers of a message. Gives the Content-Length, too.
pub(super) fn head(message: &Message<'_>, status: i32) -> PyResult<(HeadParts, Option<u64>)> {
    let mut head = HeadParts::new(status);
    let mut length = None;
    let kind = message.kind();
    let wrong = |error: String| PyValueError::new_err(format!("ASGI: {kind:?}: {error}"));
    headers::check_status(status).map_err(wrong)?;
    message.headers(|name, value| {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        // Some frameworks say so of an answer whose length they do not know. That is so, by httpd's own header.
        if is(b"transfer-encoding") && value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Ok(());
        }
        if headers::check(name, value).map_err(wrong)? == headers::Fate::LeftOut {
            head.closes |= is(b"connection") && names_close(value);
            return Ok(());
        }
        if is(b"content-length") {
            let this = header::length(value).and_then(|length| u64::try_from(length).ok());
            match length {
                Some(_) if length == this => return Ok(()),
                Some(_) => return Err(wrong("it has two different Content-Lengths".into())),
                None => length = this,
            }
        }
        head.add(name, value);
        Ok(())
    })?;
    Ok((head, length))
}

/// Does a Connection header say that the connection ends?
fn names_close(value: &[u8]) -> bool {
    let mut options = value.split(|&byte| byte == b',');
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

fn body(this: &This<'_, '_, Http>, message: &Message<'_>) -> PyResult<Next> {
    let more = message.flag(&keys(this.cx).more_body)?;
    let take = |data: &[u8]| {
        let taken = this.channel.body(data, more);
        taken.map_err(|refusal| refused(message.kind(), refusal))
    };
    match message.get(&keys(this.cx).body)? {
        None => take(&[]),
        Some(data) => {
            if let Ok(bytes) = data.cast::<PyBytes>() {
                return take(bytes.as_bytes());
            }
            if data.is_instance_of::<pyo3::types::PyString>() {
                return Err(PyTypeError::new_err(format!(
                    "ASGI: the body of {:?} must be bytes, not str",
                    message.kind()
                )));
            }
            text::with_bytes(&data, take)
        }
    }
}

/// Takes the path of a file. A relative one is taken as `open()` does, since frameworks pass on what they are given. What has been opened is
/// sent, whatever the path leads to by then.
fn file(this: &This<'_, '_, Http>, message: &Message<'_>) -> PyResult<Next> {
    let (cx, kind) = (this.cx, message.kind());
    let taken = this.channel.may_take_file();
    taken.map_err(|refusal| refused(kind, refusal))?;
    let path = message.path()?;
    let name = Encoding::Utf8.encode(&path)?;
    let file = cx.detached(&*name, FilePart::open).map_err(|error| {
        let text = error.to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        let text = format!("ASGI: {kind:?}: {text}");
        // Its number chooses the class: FileNotFoundError, PermissionError.
        let made = match error.raw_os_error() {
            Some(number) => cx.py.get_type::<PyOSError>().call1((number, text, path)),
            None => cx.py.get_type::<PyOSError>().call1((text,)),
        };
        made.map_or_else(|error| error, PyErr::from_value)
    })?;
    let taken = this.channel.file(file);
    taken.map_err(|refusal| refused(kind, refusal))?;
    Ok(Next::Nothing)
}

fn hint(this: &This<'_, '_, Http>, message: &Message<'_>) -> PyResult<Next> {
    let kind = message.kind();
    let wrong = |error: String| PyValueError::new_err(format!("ASGI: {kind:?}: {error}"));
    let mut hint = HeadParts::default();
    message.links(|link| {
        headers::check(LINK, link).map_err(wrong)?;
        hint.add(LINK, link);
        Ok(())
    })?;
    let taken = this.channel.hint(&hint);
    taken.map_err(|refusal| refused(kind, refusal))
}

fn trailers(this: &This<'_, '_, Http>, message: &Message<'_>) -> PyResult<Next> {
    let kind = message.kind();
    let wrong = |error: String| PyValueError::new_err(format!("ASGI: {kind:?}: {error}"));
    let more = message.flag(&keys(this.cx).more_trailers)?;
    let mut trailers = HeadParts::default();
    message.headers(|name, value| {
        if headers::check_trailer(name, value).map_err(wrong)? == headers::Fate::Added {
            trailers.add(name, value);
        }
        Ok(())
    })?;
    let taken = this.channel.trailers(&trailers, more);
    taken.map_err(|refusal| refused(kind, refusal))?;
    Ok(Next::Nothing)
}

/// What a framework shows of how it has made an answer goes to the error log, at level debug. It has to come before the answer's start.
fn debug(this: &This<'_, '_, Http>, message: &Message<'_>) -> PyResult<Next> {
    let (cx, kind) = (this.cx, message.kind());
    match this.channel.stage() {
        Stage::NotStarted => {}
        Stage::Started => return Err(refused(kind, Refusal::Started)),
        Stage::Trailing | Stage::Ended => return Err(late(kind)),
    }
    let info = message.get(&keys(cx).info)?;
    let info = info.ok_or_else(|| PyKeyError::new_err(format!("ASGI: {kind:?} has no info")))?;
    if log::is_read(Level::Debug) {
        let shown = exception::or_discard(cx.py, info.repr()).map(|shown| text::lossy(&shown));
        let shown = shown.unwrap_or_else(|| "an object that cannot be shown".into());
        cx.log_process(Level::Debug, &format!("ASGI: {kind}: {shown}"));
    }
    Ok(Next::Nothing)
}

const LINK: &[u8] = b"Link";

/// The exception for a message that is not taken.
pub(super) fn refused(kind: &str, refusal: Refusal) -> PyErr {
    match refusal {
        Refusal::NotStarted => PyRuntimeError::new_err(format!(
            "ASGI: {kind:?} comes before \"http.response.start\""
        )),
        Refusal::Started => PyRuntimeError::new_err(format!(
            "ASGI: {kind:?} comes again, when the answer has been started"
        )),
        Refusal::Ended => late(kind),
        Refusal::Mixed => PyRuntimeError::new_err(format!(
            "ASGI: {kind:?} comes behind a part of the body, and is all of it itself"
        )),
        Refusal::Gone => PyConnectionError::new_err(format!("ASGI: {kind:?}: the client has gone")),
        Refusal::Unfinished => {
            PyRuntimeError::new_err(format!("ASGI: {kind:?} comes before the body is complete"))
        }
        Refusal::Unannounced => PyRuntimeError::new_err(format!(
            "ASGI: {kind:?} comes without \"trailers\": True in \"http.response.start\""
        )),
        Refusal::Large(most) => PyValueError::new_err(format!(
            "ASGI: {kind:?}: trailers have {most} bytes at most"
        )),
        Refusal::Length(written, length) => PyRuntimeError::new_err(format!(
            "ASGI: {kind:?}: the body has {written} bytes where the Content-Length says {length}"
        )),
        Refusal::Memory => PyMemoryError::new_err(()),
    }
}

fn late(kind: &str) -> PyErr {
    PyRuntimeError::new_err(format!("ASGI: {kind:?} comes after the answer is complete"))
}

/// The application has returned, or raised what is not None.
fn end<'py>(this: This<'_, 'py, Http>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let error = args.required(0)?;
    let raised = (!error.is_none()).then(|| Ref::new(error));
    this.channel.end(raised).into_bound_py_any(this.cx.py)
}
