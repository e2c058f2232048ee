//! One WebSocket, as its worker sees it, how its part ends, and what becomes of the request then.

use super::super::options::Limits;
use super::channel::Channel;
use super::handshake::Asked;
use super::socket::WebSocket;
use crate::embed::Detachable;
use crate::embed::class;
use crate::exchange::{Exchange, RequestLease};
use crate::gateway::answer::Answer;
use crate::gateway::call::{Call, Stop};
use crate::httpd::io::Aborted;
use crate::httpd::log::Level;
use crate::httpd::request::lease::Held;
use crate::httpd::status::Status;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::sync::Arc;

type Object<'py> = Bound<'py, PyAny>;

/// How the worker's part has ended, where it is not that all has been said.
pub(super) enum Ending {
    Refused,
    Gone,
    Wrong(String),
    /// The application has ended; was the WebSocket open?
    Over(bool),
}

impl From<Aborted> for Ending {
    fn from(_: Aborted) -> Ending {
        Ending::Gone
    }
}

/// One WebSocket, as its worker sees it. Nothing of Python is in it.
pub(super) struct Work<'a> {
    pub(super) lease: &'a RequestLease,
    pub(super) answer: &'a Answer,
    pub(super) channel: &'a Arc<Channel>,
    pub(super) asked: &'a Asked,
    pub(super) limits: &'a Limits,
    /// May it leave its worker once it is open?
    pub(super) leaves: bool,
}

impl Detachable for Work<'_> {}

impl Work<'_> {
    pub(super) fn hold(&self) -> Result<Held<'_, Exchange>, Ending> {
        let gone = |_| Ending::Wrong("the request has ended".into());
        self.lease.acquire().map_err(gone)
    }
}

/// What becomes of the request of a WebSocket that has not ended by itself.
///
/// # Errors
/// What the application has raised before it has accepted.
pub(super) fn conclude(
    call: &Call<'_>,
    exchange: &Object<'_>,
    answer: &Answer,
    ending: Ending,
) -> PyResult<Status> {
    let raised = || {
        let exchange = class::this::<WebSocket>(call.cx, exchange).ok()?;
        exchange.error.get(call.cx.py).map(PyErr::from_value)
    };
    match ending {
        Ending::Refused => Ok(Status(403)),
        Ending::Gone => {
            let held = call.hold()?;
            held.request().give_up();
            let text = "the client went away and has not closed its websocket";
            call.cx.log(held.request(), Level::Debug, text);
            Ok(Status::OK)
        }
        Ending::Wrong(text) => call.stopped(answer, Stop::Broken(text)),
        Ending::Over(true) => {
            if let Some(error) = raised() {
                call.log(error)?;
            }
            Ok(Status::OK)
        }
        Ending::Over(false) => {
            let text = "ASGI: the application has ended and has neither accepted nor refused the websocket";
            let error = raised().unwrap_or_else(|| PyRuntimeError::new_err(text));
            call.failed(answer, error)
        }
    }
}
