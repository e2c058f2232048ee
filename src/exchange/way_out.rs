//! The answer's way out: one for all that Python writes, whoever calls it.

use super::soon::{self, HEAD};
use super::state::{Exchange, RequestLease};
use crate::config::options::FLUSH;
use crate::config::{ModPython, Phase};
use crate::embed::stopwatch::apart;
use crate::embed::{Cx, deadlines, detached};
use crate::httpd::io::Aborted;
use crate::httpd::io::file_part::FilePart;
use crate::httpd::io::output::{Brigade, ENOUGH, End};
use crate::httpd::request::Request as RequestRec;
use crate::httpd::request::lease::Held;
use crate::httpd::request::server::mpm_query;
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
        Exchange::send_file_by(held, |request| {
            cx.detached((request, part, complete), |(request, part, complete)| {
                part.pass(request, complete)
            })
        })
    }

    /// Sends a file that is all of the answer's body, and the answer's end if that is `complete`, in a thread that is not attached; False
    /// where it has become shorter.
    pub(crate) fn pass_file(
        held: &Held<'_, Exchange>,
        part: &FilePart,
        complete: bool,
    ) -> Result<bool, Aborted> {
        Exchange::send_file_by(held, |request| part.pass(request, complete))
    }

    fn send_file_by<'h>(
        held: &'h Held<'_, Exchange>,
        pass: impl FnOnce(RequestRec<'h>) -> Result<bool, Aborted>,
    ) -> Result<bool, Aborted> {
        if !Exchange::is_way_open(held)? {
            return Ok(true);
        }
        held.value().output.borrow_mut().tell(held.request());
        let _paused = deadlines::pause();
        let (result, took) = apart(|| pass(held.request()));
        held.times().add_sent(took);
        result
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
        let _paused = deadlines::pause();
        cx.detached(held.request().last(), |request| request.break_off());
    }

    /// Sends what has been written, without the interpreter's lock.
    pub(crate) fn send(cx: Cx<'_>, held: &Held<'_, Exchange>, end: End) -> Result<(), Aborted> {
        Exchange::send_detached(cx.py, held, end)
    }

    fn send_detached(py: Python<'_>, held: &Held<'_, Exchange>, end: End) -> Result<(), Aborted> {
        Exchange::send_by(held, end, |request, brigade| {
            detached(py, (request, brigade), |(request, brigade)| {
                brigade.pass(request)
            })
        })
    }

    /// As `send`, in a thread that is not attached.
    pub(crate) fn pass(held: &Held<'_, Exchange>, end: End) -> Result<(), Aborted> {
        Exchange::send_by(held, end, |request, brigade| brigade.pass(request))
    }

    fn send_by(
        held: &Held<'_, Exchange>,
        end: End,
        pass: impl FnOnce(RequestRec<'_>, &Brigade) -> Result<(), Aborted>,
    ) -> Result<(), Aborted> {
        if !Exchange::is_way_open(held)? {
            held.value().output.borrow_mut().discard();
            return Ok(());
        }
        let (request, exchange) = (held.request(), held.value());
        let brigade = exchange.output.borrow_mut().take(request, end);
        let _paused = deadlines::pause();
        let (result, took) = apart(|| pass(request, &brigade));
        held.times().add_sent(took);
        exchange.output.borrow_mut().put_back(brigade);
        result
    }

    /// Has what has been written leave soon (`soon.rs`) where `PythonOption mod_python.flush soon` says so, or at once where that
    /// cannot be: over HTTP/2, with prefork, in parts of other pages, behind redirects, through filters that may wait.
    pub(crate) fn send_soon(
        cx: Cx<'_>,
        lease: &RequestLease,
        held: &Held<'_, Exchange>,
    ) -> Result<(), Aborted> {
        let exchange = held.value();
        if exchange.output.borrow().is_due() {
            return Ok(());
        }
        let may_wait = || {
            let request = held.request();
            let option = request.config::<ModPython>().common.option(FLUSH);
            exchange.cursor.phase() == Some(Phase::Content)
                && option == Some("soon")
                && is_threaded()
                && request.main().or(request.prev()).is_none()
                && request.connection().is_primary()
                && request.connection().has_room(ENOUGH + HEAD)
        };
        if held.request().connection().aborted() {
            return Err(Aborted);
        }
        let waits = exchange.waits.get().unwrap_or_else(may_wait);
        exchange.waits.set(Some(waits));
        // Neither the end of a request before, which may run anything, nor a filter that waits is for the thread that sends.
        let request = held.request();
        let waits = waits && !request.connection().keeps_output() && request.has_plain_way_out();
        if !waits || Exchange::is_way_open(held) != Ok(true) || !soon::mark(lease) {
            return Exchange::send(cx, held, End::Flush);
        }
        let mut output = exchange.output.borrow_mut();
        output.tell(held.request());
        output.set_due();
        Ok(())
    }

    /// Sends what is due, before something that would show that it has not left: a look at how much has, a change of the answer's
    /// head, of its filters, reading the body.
    #[inline]
    pub(crate) fn settle(py: Python<'_>, held: &Held<'_, Exchange>) {
        if held.value().output.borrow().is_due() {
            Exchange::settle_now(py, held);
        }
    }

    #[cold]
    #[inline(never)]
    fn settle_now(py: Python<'_>, held: &Held<'_, Exchange>) {
        // The next write tells of a client that has gone.
        let _ = Exchange::send_detached(py, held, End::Flush);
    }

    /// Sends what is due, and from now on each write by itself: C code is given an address.
    pub(crate) fn wait_no_more(py: Python<'_>, held: &Held<'_, Exchange>) {
        Exchange::settle(py, held);
        held.value().waits.set(Some(false));
    }

    /// The answer's handlers have ended: what is due leaves with the answer's end if it is complete, or now.
    pub(crate) fn end_waiting(
        py: Python<'_>,
        lease: &RequestLease,
        held: &Held<'_, Exchange>,
        complete: bool,
    ) {
        if !held.value().output.borrow().is_due() {
            return;
        }
        if !complete {
            Exchange::settle_now(py, held);
        }
        soon::forget(lease);
    }
}

/// The exception for output that cannot be sent.
pub(crate) fn write_failed(_: Aborted) -> PyErr {
    PyOSError::new_err("Write failed, client closed connection.")
}

/// Are there several threads in a child? Where there is one, a signal ends it in the middle of anything.
fn is_threaded() -> bool {
    const IS_THREADED: i32 = 3;
    mpm_query(IS_THREADED) != 0
}
