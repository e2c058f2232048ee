//! The answer's way out: one for all that Python writes, whoever calls it.

use super::state::Exchange;
use crate::embed::Cx;
use crate::httpd::io::Aborted;
use crate::httpd::io::body::{End, Parcel};
use crate::httpd::io::file_part::FilePart;
use crate::httpd::request::Request;
use crate::httpd::request::lease::Held;
use crate::httpd::request::turn::Way;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;

impl Exchange {
    /// May the answer go on its way? Not from within a filter that the answer is passing.
    ///
    /// # Errors
    /// RuntimeError.
    pub(crate) fn check_way_out(held: &Held<'_, Exchange>) -> PyResult<()> {
        if held.is_under_way(Way::In) {
            return Err(PyRuntimeError::new_err(
                "the request's body is being read: a filter of it cannot answer",
            ));
        }
        if held.is_under_way(Way::Out) {
            return Err(PyRuntimeError::new_err(
                "the answer is passing a filter, which gives on what it has by filter.write()",
            ));
        }
        if !held.is_served() && !held.is_over() {
            return Err(PyRuntimeError::new_err(
                "another request is served at the moment: use the one that the handler was given",
            ));
        }
        Ok(())
    }

    /// Is there a way out for a part of the answer? None behind its end, where what comes is forgotten: it would be taken
    /// for the next answer.
    ///
    /// # Errors
    /// Aborted where `check_way_out` refuses, and when the request is over.
    fn is_way_open(held: &Held<'_, Exchange>) -> Result<bool, Aborted> {
        let under_way = held.is_under_way(Way::Out) || held.is_under_way(Way::In);
        if held.is_over() || under_way || !held.is_served() {
            return Err(Aborted);
        }
        Ok(held.request().eos_sent() == 0)
    }

    /// Sends a part of a file, behind what has been written; False where it has become shorter.
    pub(crate) fn send_file(
        cx: Cx<'_>,
        held: &Held<'_, Exchange>,
        part: &FilePart,
        complete: bool,
    ) -> Result<bool, Aborted> {
        if held.value().output.borrow().is_pending() {
            Exchange::send(cx, held, End::Open)?;
        }
        if !Exchange::is_way_open(held)? {
            return Ok(true);
        }
        held.value().output.borrow_mut().tell(held.request());
        cx.detached(
            (held.request(), part, complete),
            |(request, part, complete)| part.pass(request, complete),
        )
    }

    /// Breaks the answer off, behind its head and what has been written if that is to be kept; nothing where the answer is
    /// complete, or another one's to send.
    pub(crate) fn break_off(cx: Cx<'_>, held: &Held<'_, Exchange>, keep: bool) {
        if Exchange::is_way_open(held) != Ok(true) {
            held.value().output.borrow_mut().discard();
            return;
        }
        if keep {
            // It breaks off in any case.
            let _ = Exchange::send(cx, held, End::Flush);
        }
        held.value().output.borrow_mut().discard();
        cx.detached(held.request().last(), |request| request.break_off());
    }

    /// Sends what has been written, without the interpreter's lock.
    pub(crate) fn send(cx: Cx<'_>, held: &Held<'_, Exchange>, end: End) -> Result<(), Aborted> {
        Exchange::pass(held, end, |request, parcel| {
            cx.detached((request, parcel), |(request, parcel)| parcel.pass(request))
        })
    }

    /// As `send`, for a thread that is detached.
    pub(crate) fn send_detached(held: &Held<'_, Exchange>, end: End) -> Result<(), Aborted> {
        Exchange::pass(held, end, |request, parcel| parcel.pass(request))
    }

    fn pass(
        held: &Held<'_, Exchange>,
        end: End,
        pass: impl FnOnce(Request<'_>, &Parcel) -> Result<(), Aborted>,
    ) -> Result<(), Aborted> {
        if !Exchange::is_way_open(held)? {
            held.value().output.borrow_mut().discard();
            return Ok(());
        }
        let (request, exchange) = (held.request(), held.value());
        let parcel = exchange.output.borrow_mut().take(request, end);
        let result = pass(request, &parcel);
        exchange.output.borrow_mut().put_back(parcel);
        result
    }
}

/// The exception for output that cannot be sent.
pub(crate) fn write_failed(_: Aborted) -> PyErr {
    PyOSError::new_err("Write failed, client closed connection.")
}
