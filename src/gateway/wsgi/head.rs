//! What `start_response` is given, as text (PEP 3333): a `str`, and a list of tuples of two.

use crate::embed::{exception, text};
use crate::gateway::headers::{self, Fate};
use crate::httpd::request::Request as RequestRec;
use crate::httpd::request::response_head::Head;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

type Object<'py> = Bound<'py, PyAny>;

/// Makes a head of a status and headers. Gives it, and the name of a header that has been left out, if there is one.
///
/// # Errors
/// TypeError for other types, ValueError for what cannot be sent.
pub(super) fn head(
    request: RequestRec<'_>,
    status: &Object<'_>,
    headers: &Object<'_>,
) -> PyResult<(Head, Option<String>)> {
    let status = status
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err("the status must be a str such as '200 OK'"))?;
    let mut head = latin1(status, |line| {
        headers::head(request, line).map_err(PyValueError::new_err)
    })?;
    let mut left_out = None;
    let headers = headers
        .cast::<PyList>()
        .map_err(|_| PyTypeError::new_err("the headers must be a list of tuples (name, value)"))?;
    for header in headers.iter() {
        let wrong = || PyTypeError::new_err("a header must be a tuple of two str (name, value)");
        let pair = header.cast::<PyTuple>().map_err(|_| wrong())?;
        if pair.len() != 2 {
            return Err(wrong());
        }
        let (name, value) = (pair.get_borrowed_item(0)?, pair.get_borrowed_item(1)?);
        let (name, value) = (
            name.cast::<PyString>().map_err(|_| wrong())?,
            value.cast::<PyString>().map_err(|_| wrong())?,
        );
        latin1(&name, |name| {
            latin1(&value, |value| {
                let fate = headers::add(&mut head, request, name, value);
                if fate.map_err(PyValueError::new_err)? == Fate::LeftOut && left_out.is_none() {
                    left_out = Some(String::from_utf8_lossy(name).into_owned());
                }
                Ok(())
            })
        })?;
    }
    Ok((head, left_out))
}

/// Calls `body` with a text's bytes in latin-1, as HTTP carries them.
fn latin1<R>(text: &Bound<'_, PyString>, body: impl FnOnce(&[u8]) -> PyResult<R>) -> PyResult<R> {
    if let Some(ascii) = text::ascii(text) {
        return body(ascii);
    }
    let bytes = text::Encoding::Latin1.encode_bytes(text.as_any());
    body(&bytes.map_err(|error| {
        exception::discard(text.py(), error);
        PyValueError::new_err("a status or header holds a character that is not latin-1")
    })?)
}
