//! The answer's body: what the application returns, sent block by block.

use super::start_response::{StartResponse, send};
use super::{Call, Object, State, application, file_wrapper, input};
use crate::embed::class::{self, This};
use crate::embed::text::Encoding;
use crate::exchange::Exchange;
use crate::httpd::io::Aborted;
use crate::httpd::io::body::End;
use crate::httpd::io::file_part::FilePart;
use crate::httpd::request::lease::Held;
use crate::httpd::status::Status;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

/// Why nothing more is sent.
pub(super) enum Stop {
    /// The client has gone.
    Gone,
    /// httpd has refused the request's body.
    Refused(Status),
    /// The answer cannot become what its head has announced; and the reason.
    Broken(String),
    Raised(PyErr),
}

impl From<PyErr> for Stop {
    fn from(error: PyErr) -> Stop {
        Stop::Raised(error)
    }
}

impl From<Aborted> for Stop {
    fn from(_: Aborted) -> Stop {
        Stop::Gone
    }
}

/// The answer of one request, while it is sent.
pub(super) struct Body<'a, 'py> {
    call: &'a Call<'py>,
    start: This<'a, 'py, StartResponse>,
}

impl<'a, 'py> Body<'a, 'py> {
    pub(super) fn new(call: &'a Call<'py>, start: &'a Object<'py>) -> PyResult<Body<'a, 'py>> {
        Ok(Body {
            call,
            start: class::this(call.cx, start)?,
        })
    }

    /// Has any of the answer left for the client?
    pub(super) fn has_left(&self) -> bool {
        self.start.left.get()
    }

    /// Has all of it been sent?
    pub(super) fn has_ended(&self) -> bool {
        self.start.ended.get()
    }

    /// Sends what the application has returned: a single block, a file, or block after block.
    pub(super) fn send(&self, state: &State, result: &Object<'py>) -> Result<(), Stop> {
        if let Some(only) = only_item(result)
            && !self.start.installed.get()
        {
            return self.only(state, &only);
        }
        if let Some(part) = file_wrapper::part(self.call.cx, &state.files, result) {
            return self.file(part);
        }
        for item in result.try_iter()? {
            self.block(state, &item?)?;
        }
        Ok(())
    }

    /// Takes an answer of one block, and announces its length. It is sent in one write, after the interpreter has been left.
    fn only(&self, state: &State, item: &Object<'py>) -> Result<(), Stop> {
        self.with_bytes(state, item, |data| {
            let held = self.call.hold()?;
            self.check_started()?;
            self.check_refused(&held)?;
            let length = i64::try_from(data.len()).unwrap_or(i64::MAX);
            if !data.is_empty() {
                self.start.install(held.request(), Some(length));
                let (room, request) = (
                    self.start.room(self.call.cx, held.request(), length),
                    held.request(),
                );
                self.start.written.set(room);
                if self.start.has_body(request) {
                    let kept = data.get(..usize::try_from(room).unwrap_or(0));
                    let mut output = held.value().output.borrow_mut();
                    output.write(request, kept.unwrap_or_default())?;
                }
            }
            Ok(())
        })
    }

    fn block(&self, state: &State, item: &Object<'py>) -> Result<(), Stop> {
        self.with_bytes(state, item, |data| {
            if data.is_empty() {
                return Ok(());
            }
            self.check_started()?;
            let held = self.call.hold()?;
            let gone = held.request().connection().aborted();
            if gone {
                return Err(Stop::Gone);
            }
            self.check_refused(&held)?;
            Ok(send(&self.start, &held, data, End::Flush)?)
        })
    }

    /// Sends a file by its descriptor: Python does not read it.
    fn file(&self, mut part: FilePart) -> Result<(), Stop> {
        self.check_started()?;
        let held = self.call.hold()?;
        self.check_refused(&held)?;
        let request = held.request();
        if let Some(length) = self.start.length() {
            part.cut((length - self.start.written.get()).max(0));
        }
        let room = part.length();
        let stated = (!self.start.installed.get()).then_some(room);
        self.start.install(request, stated);
        self.start.written.set(self.start.written.get() + room);
        if room == 0 || !self.start.has_body(request) {
            return Ok(());
        }
        self.start.left.set(true);
        let complete = stated.is_some() || self.start.length() == Some(self.start.written.get());
        self.start.ended.set(complete);
        if Exchange::send_file(self.call.cx, &held, &part, complete)? {
            return Ok(());
        }
        drop(held);
        let name = self.application()?;
        Err(Stop::Broken(format!(
            "{name} gives a file that has become shorter while it was sent"
        )))
    }

    /// Ends the answer. Gives the sentence for the log where it is shorter than announced.
    pub(super) fn end(&self) -> PyResult<Option<String>> {
        self.check_started()?;
        let held = self.call.hold()?;
        let request = held.request();
        // httpd would send an empty body in chunks, unless it is told its length.
        let empty = (self.start.written.get() == 0 && !request.header_only()).then_some(0);
        self.start.install(request, empty);
        let (length, written) = (self.start.length(), self.start.written.get());
        let short = length.filter(|&length| written < length && self.start.has_body(request));
        let Some(length) = short else { return Ok(None) };
        let name = self.application()?;
        drop(held);
        Ok(Some(format!(
            "{name} gives {written} bytes where its Content-Length says {length}"
        )))
    }

    /// Gives the application's name, for the log.
    fn application(&self) -> PyResult<String> {
        application::name(self.call.cx, &self.call.hold()?)
    }

    /// Ends the sending where httpd has refused the request's body: its status is the answer, unless a part has been sent.
    pub(super) fn check_refused(&self, held: &Held<'_, Exchange>) -> Result<(), Stop> {
        match input::refusal(held) {
            Some(status) if !self.has_left() => Err(Stop::Refused(status)),
            _ => Ok(()),
        }
    }

    fn check_started(&self) -> PyResult<()> {
        if self.start.is_started() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(
            "the application has not called start_response()",
        ))
    }

    /// Calls `body` with a block's bytes. A `str` is taken as latin-1, with a warning for each application.
    fn with_bytes(
        &self,
        state: &State,
        item: &Object<'py>,
        body: impl FnOnce(&[u8]) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        if let Ok(bytes) = item.cast::<PyBytes>() {
            return body(bytes.as_bytes());
        }
        if item.is_instance_of::<PyString>() {
            let text = "gives str where PEP 3333 wants bytes; it is taken as latin-1";
            state.warn_once(self.call.cx, &self.call.hold()?, text, "")?;
            return body(&Encoding::Latin1.encode_bytes(item)?);
        }
        let kind = item.get_type().name()?;
        Err(PyTypeError::new_err(format!(
            "the application gives a value of type {kind} where bytes must be"
        ))
        .into())
    }
}

/// Gives the item of a list or tuple that has one; None of anything else.
fn only_item<'py>(result: &Object<'py>) -> Option<Object<'py>> {
    if let Ok(list) = result.cast_exact::<PyList>() {
        return (list.len() == 1).then(|| list.iter().next()).flatten();
    }
    let tuple = result.cast_exact::<PyTuple>().ok()?;
    (tuple.len() == 1).then(|| tuple.iter().next()).flatten()
}
