//! `receive` and `send` of one WebSocket: what the loop's coroutines call.

use super::super::channel::{Next, Refusal as Mismatch};
use super::super::http::{head, refused};
use super::super::messages::{Message, keys};
use super::super::parts::HeadParts;
use super::channel::{Accepted, Channel, Event, Message as Received, Order, Refusal, Stage};
use super::frames::may_be_sent;
use crate::embed::cell::Slot;
use crate::embed::class::{Args, Class, Key, Method, This, method};
use crate::embed::text;
use crate::gateway::headers::{self, Fate};
use crate::httpd::request::Request as Host;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyConnectionError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use std::ffi::CStr;
use std::sync::{Arc, Mutex, PoisonError};

type Object<'py> = Bound<'py, PyAny>;

/// The application's side of a WebSocket's channel.
pub(in super::super) struct WebSocket {
    pub(super) channel: Arc<Channel>,
    /// What the application has raised, for the worker.
    pub(super) error: Slot,
    /// What the client has offered.
    subprotocols: Vec<String>,
    denial: Mutex<Denial>,
    /// The number of its server.
    server: usize,
}

/// An answer that denies.
#[derive(Default)]
struct Denial {
    /// Its head, until the first part of its body comes.
    head: Option<HeadParts>,
    /// What the application has announced, unless the answer has no body.
    length: Option<u64>,
    written: u64,
}

impl Denial {
    /// Counts a part of the body.
    ///
    /// # Errors
    /// Where it is not what the head has announced.
    fn count(&mut self, part: &[u8], is_last: bool) -> Result<(), Mismatch> {
        let written = self.written.saturating_add(part.len() as u64);
        if let Some(length) = self.length
            && (written > length || is_last && written < length)
        {
            return Err(Mismatch::Length(written, length));
        }
        self.written = written;
        Ok(())
    }
}

impl WebSocket {
    pub(super) fn new(
        channel: Arc<Channel>,
        subprotocols: Vec<String>,
        host: Host<'_>,
    ) -> WebSocket {
        WebSocket {
            channel,
            error: Slot::default(),
            subprotocols,
            denial: Mutex::default(),
            server: host.server().number(),
        }
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        self.channel.end(false);
    }
}

impl Class for WebSocket {
    const NAME: &'static CStr = c"mp_asgi_websocket";
    const DOC: &'static CStr = c"What an ASGI application receives of one WebSocket, and sends.";
    const METHODS: &'static [Method<Self>] = &[
        method!(
            WebSocket,
            c"receive()",
            c"gives the next message; None where there is none yet, and the loop will be told.",
            receive
        ),
        method!(
            WebSocket,
            c"send(message, /)",
            c"takes a message; 2: wait until there is room.",
            send
        ),
        method!(
            WebSocket,
            c"flush()",
            c"does nothing: what is sent leaves.",
            |this: This<'_, '_, WebSocket>, _| Ok(this.cx.py.None().into_bound(this.cx.py))
        ),
        method!(
            WebSocket,
            c"has_room()",
            c"tells whether more can be sent; where not, the loop will be told.",
            |this: This<'_, '_, WebSocket>, _| {
                this.channel.has_room().into_bound_py_any(this.cx.py)
            }
        ),
        method!(
            WebSocket,
            c"end(error, /)",
            c"tells the worker that the application has ended; False where nobody waits for that any more.",
            end
        ),
        method!(
            WebSocket,
            c"number()",
            c"what the loop will be told.",
            |this: This<'_, '_, WebSocket>, _| {
                this.channel.number.into_bound_py_any(this.cx.py)
            }
        ),
        method!(
            WebSocket,
            c"server()",
            c"the number of the server whose WebSocket it is, for the loop's log.",
            |this: This<'_, '_, WebSocket>, _| { this.server.into_bound_py_any(this.cx.py) }
        ),
        method!(
            WebSocket,
            c"refused()",
            c"gives None: the request has no body.",
            |this: This<'_, '_, WebSocket>, _| Ok(this.cx.py.None().into_bound(this.cx.py))
        ),
        method!(
            WebSocket,
            c"is_gone()",
            c"tells whether the client has gone of its own accord.",
            |this: This<'_, '_, WebSocket>, _| {
                this.channel.is_gone().into_bound_py_any(this.cx.py)
            }
        ),
    ];

    fn key() -> &'static Key<Self> {
        static KEY: Key<WebSocket> = Key::new();
        &KEY
    }

    fn references(&self, visit: &mut dyn FnMut(&Slot)) {
        visit(&self.error);
    }
}

fn receive<'py>(this: This<'_, 'py, WebSocket>, _: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let py = this.cx.py;
    let Some(event) = this.channel.receive() else {
        return Ok(py.None().into_bound(py));
    };
    let keys = keys(this.cx);
    let message = PyDict::new(py);
    let kind = match &event {
        Event::Connect => &keys.connect,
        Event::Message(_) => &keys.received,
        Event::Disconnect(..) => &keys.closed,
    };
    message.set_item(keys.kind.bind(py), kind.bind(py))?;
    match event {
        Event::Connect => {}
        Event::Message(Received::Text(data)) => {
            let text = std::str::from_utf8(&data).unwrap_or_default();
            message.set_item(keys.text.bind(py), text)?;
        }
        Event::Message(Received::Binary(data)) => {
            message.set_item(keys.bytes.bind(py), PyBytes::new(py, &data))?;
        }
        Event::Disconnect(code, reason) => {
            message.set_item(keys.code.bind(py), code)?;
            message.set_item(keys.reason.bind(py), reason)?;
        }
    }
    Ok(message.into_any())
}

fn send<'py>(this: This<'_, 'py, WebSocket>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let message = Message::new(this.cx, args.required(0)?)?;
    let is_full = match message.kind() {
        "websocket.send" => order(
            &this,
            &message,
            outgoing(&this, &message)?,
            &[Stage::Open],
            Stage::Open,
        )?,
        "websocket.accept" => accept(&this, &message)?,
        "websocket.close" => close(&this, &message)?,
        "websocket.http.response.start" => {
            let status = message.status()?;
            let (head, length) = head(&message, status)?;
            let mut denial = this.denial.lock().unwrap_or_else(PoisonError::into_inner);
            let nothing = Order::Deny(None, Vec::new(), false);
            order(
                &this,
                &message,
                nothing,
                &[Stage::Connecting],
                Stage::Denying,
            )?;
            *denial = Denial {
                head: Some(head),
                length: length.filter(|_| !matches!(status, 204 | 304)),
                written: 0,
            };
            false
        }
        "websocket.http.response.body" => {
            let more = message.flag(&keys(this.cx).more_body)?;
            let body = message.get(&keys(this.cx).body)?;
            let body = body.map_or(Ok(Vec::new()), |body| bytes(&message, &body))?;
            let mut denial = this.denial.lock().unwrap_or_else(PoisonError::into_inner);
            let counted = denial.count(&body, !more);
            let head = denial.head.take_if(|_| counted.is_ok());
            drop(denial);
            counted.map_err(|refusal| refused(message.kind(), refusal))?;
            let next = if more { Stage::Denying } else { Stage::Closed };
            order(
                &this,
                &message,
                Order::Deny(head, body, !more),
                &[Stage::Denying],
                next,
            )?
        }
        kind => {
            return Err(PyRuntimeError::new_err(format!(
                "ASGI: {kind:?} is not a message that a websocket application can send"
            )));
        }
    };
    let next = if is_full { Next::Wait } else { Next::Nothing };
    next.number().into_bound_py_any(this.cx.py)
}

fn order(
    this: &This<'_, '_, WebSocket>,
    message: &Message<'_>,
    order: Order,
    may: &[Stage],
    next: Stage,
) -> PyResult<bool> {
    let kind = message.kind();
    this.channel
        .order(order, may, next)
        .map_err(|refusal| match refusal {
            Refusal::Gone => {
                PyConnectionError::new_err(format!("ASGI: {kind:?}: the client has gone"))
            }
            Refusal::Stage(stage) => PyRuntimeError::new_err(format!(
                "ASGI: {kind:?} does not come {}",
                match stage {
                    Stage::Connecting => "before \"websocket.accept\"",
                    Stage::Denying => "when the websocket is being denied",
                    Stage::Open => "when the websocket is open",
                    Stage::Closed => "after the websocket has been closed",
                }
            )),
        })
}

fn accept(this: &This<'_, '_, WebSocket>, message: &Message<'_>) -> PyResult<bool> {
    // An empty one is none: frameworks pass on what they were given.
    let subprotocol = message.text(&keys(this.cx).subprotocol)?;
    let subprotocol = subprotocol.filter(|chosen| !chosen.is_empty());
    if let Some(chosen) = &subprotocol
        && !this.subprotocols.contains(chosen)
    {
        return Err(PyValueError::new_err(format!(
            "ASGI: \"websocket.accept\": the client has not offered the subprotocol {chosen:?}"
        )));
    }
    let mut head = HeadParts::new(101);
    message.headers(|name, value| {
        let is_own = name.len() > 14
            && name
                .get(..14)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"sec-websocket-"));
        let fate = match is_own {
            true => Err(format!(
                "the header {} is the server's own to set",
                String::from_utf8_lossy(name)
            )),
            false => headers::check(name, value),
        };
        let fate = fate.map_err(|reason| {
            PyValueError::new_err(format!("ASGI: \"websocket.accept\": {reason}"))
        })?;
        // A 101 has no body, and no length of one (RFC 9110, 8.6).
        if fate == Fate::Added && !name.eq_ignore_ascii_case(b"content-length") {
            head.add(name, value);
        }
        Ok(())
    })?;
    let accepted = Accepted { subprotocol, head };
    order(
        this,
        message,
        Order::Accept(accepted),
        &[Stage::Connecting],
        Stage::Open,
    )
}

fn close(this: &This<'_, '_, WebSocket>, message: &Message<'_>) -> PyResult<bool> {
    let keys = keys(this.cx);
    // Where it has not been accepted, the answer is a 403, whatever the code.
    let refuse = this
        .channel
        .order(Order::Refuse, &[Stage::Connecting], Stage::Closed);
    match refuse {
        Ok(_) => return Ok(false),
        Err(Refusal::Stage(Stage::Open)) => {}
        Err(_) => {
            return order(
                this,
                message,
                Order::Refuse,
                &[Stage::Connecting],
                Stage::Closed,
            );
        }
    }
    let code = message.get(&keys.code)?;
    let code = code.map_or(Ok(1000), |code| code.extract::<u16>());
    let code = code.ok().filter(|&code| may_be_sent(code)).ok_or_else(|| {
        PyValueError::new_err(
            "ASGI: \"websocket.close\": the code must be one that RFC 6455 allows, such as 1000",
        )
    })?;
    let reason = message.text(&keys.reason)?.unwrap_or_default();
    order(
        this,
        message,
        Order::Close(code, reason),
        &[Stage::Open],
        Stage::Closed,
    )
}

/// What is to be sent: `bytes` or `text`, one of them.
fn outgoing(this: &This<'_, '_, WebSocket>, message: &Message<'_>) -> PyResult<Order> {
    let keys = keys(this.cx);
    match (message.get(&keys.bytes)?, message.get(&keys.text)?) {
        (Some(data), None) => Ok(Order::Send(false, bytes(message, &data)?)),
        (None, Some(data)) => {
            let Ok(data) = data.cast::<PyString>() else {
                return Err(PyTypeError::new_err(
                    "ASGI: the text of \"websocket.send\" must be a str",
                ));
            };
            let text = data.to_str().map_err(|error| {
                crate::embed::exception::discard(this.cx.py, error);
                PyValueError::new_err("ASGI: the text of \"websocket.send\" cannot be UTF-8")
            })?;
            Ok(Order::Send(true, text.as_bytes().to_vec()))
        }
        _ => Err(PyValueError::new_err(
            "ASGI: \"websocket.send\" has either bytes or text",
        )),
    }
}

fn bytes(message: &Message<'_>, data: &Object<'_>) -> PyResult<Vec<u8>> {
    if data.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(format!(
            "ASGI: the bytes of {:?} must be bytes, not str",
            message.kind()
        )));
    }
    text::copy(data)
}

fn end<'py>(this: This<'_, 'py, WebSocket>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let error = args.required(0)?;
    let has_failed = !error.is_none();
    if has_failed {
        this.error.fill(error);
    }
    this.channel.end(has_failed).into_bound_py_any(this.cx.py)
}
