//! The request's body before the application is called: where httpd refuses it, the application is not called; where its length is
//! not known, it is read ahead.
//!
//! Applications read as much as Content-Length says, and many nothing without it. So a chunked body, or one that an input filter may
//! change (mod_deflate, one in Python), is read up to a limit and its length announced. Of a longer one the gateway can only say
//! that it can be read to its end.

use crate::config::gateways::Gateway;
use crate::config::{ModPython, options};
use crate::embed::{Cx, deadlines};
use crate::exchange::Exchange;
use crate::httpd::io::body::ReadError;
use crate::httpd::log::Level;
use crate::httpd::request::Request as RequestRec;
use crate::httpd::request::lease::Held;
use crate::httpd::status::Status;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// How many bytes are read ahead, unless the option says something else.
const AHEAD: usize = 1 << 20;

/// What an application can be told of a request's body.
pub(super) enum RequestBody {
    /// What the headers say.
    AsAnnounced,
    /// It has been read ahead: its length, unless it is longer than the limit. Filters that have changed it have removed the headers
    /// that are no longer true.
    Ahead(Option<usize>),
    /// Nothing: this status answers.
    Refused(Status),
}

/// Has httpd check the body of a request that has one, and reads it ahead where its length is not known.
///
/// # Errors
/// ValueError for an option that is no number.
pub(super) fn prepare(
    cx: Cx<'_>,
    gateway: &Gateway,
    held: &Held<'_, Exchange>,
) -> PyResult<RequestBody> {
    let request = held.request();
    if is_error_document(request) {
        // The page that says why a body was refused must not be refused for that body.
        return Ok(RequestBody::AsAnnounced);
    }
    if let Err(status) = request.check_body() {
        held.value().refused.set(Some(status));
        return Ok(RequestBody::Refused(status));
    }
    if request.read_chunked() == 0 && !request.has_content_filters() {
        return Ok(RequestBody::AsAnnounced);
    }
    let limit = limit(gateway, request)?;
    if limit == 0 {
        return Ok(RequestBody::AsAnnounced);
    }
    let result = {
        let mut input = Exchange::input(held)?;
        let reading = (request, &mut *input, limit);
        let _paused = deadlines::pause();
        cx.detached(reading, |(request, input, limit)| {
            input.preload(request, limit)
        })
    };
    let mut length = None;
    match result {
        Ok(known) => length = known,
        Err(ReadError::Refused(status)) => held.value().refused.set(Some(status)),
        Err(ReadError::Slow) => held.value().refused.set(Some(Status::REQUEST_TIME_OUT)),
        Err(ReadError::Lost) => {
            held.value().lost.set(true);
            let text = "the client went away before its body was complete";
            cx.log(request, Level::Debug, text);
        }
    }
    Ok(refusal(held).map_or(RequestBody::Ahead(length), RequestBody::Refused))
}

/// Gives the status that answers a request whose body could not be read; None where all is well. It takes the place of the
/// application's answer, unless that has begun to leave: an application that has caught the exception has not seen all of the
/// body.
pub(super) fn refusal(held: &Held<'_, Exchange>) -> Option<Status> {
    let (state, lost) = (held.value(), Status::BAD_REQUEST);
    state.refused.get().or(state.lost.get().then_some(lost))
}

fn limit(gateway: &Gateway, request: RequestRec<'_>) -> PyResult<usize> {
    let common = &request.config::<ModPython>().common;
    let option = gateway.chunked_buffer;
    match common.option(option).filter(|text| !text.is_empty()) {
        Some(text) => options::bytes(option, text).map_err(PyValueError::new_err),
        None => Ok(AHEAD),
    }
}

/// Has the request been made for httpd's ErrorDocument?
fn is_error_document(request: RequestRec<'_>) -> bool {
    let mut before = request.prev();
    while let Some(request) = before {
        if request.status() >= 400 {
            return true;
        }
        before = request.prev();
    }
    false
}
