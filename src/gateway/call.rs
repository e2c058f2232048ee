//! One call of an application: what comes before it, how its answer is sent, and what becomes of an answer that fails.
//!
//! The policy, for all gateways: what goes wrong before the first byte is raised on, so that an error's page takes the answer's place;
//! after it the connection is broken off, so that the client can tell that something is missing. A request's body that httpd has
//! refused is answered by httpd's status, whatever the application has made of it. An error is counted and logged once: by whoever
//! calls the gateway's handler where it is raised on, here where it is not. A client that has gone is no error.

use super::answer::{Answer, Finished};
use super::application::{self, Mounted};
use super::request_body;
use crate::config::ModPython;
use crate::config::gateways::Gateway;
use crate::embed::class;
use crate::embed::{self, Cx, deadlines, exception};
use crate::exchange::{Exchange, RequestLease};
use crate::httpd::faults;
use crate::httpd::io::Aborted;
use crate::httpd::io::file_part::FilePart;
use crate::httpd::io::output::End;
use crate::httpd::log::Level;
use crate::httpd::request::Request as RequestRec;
use crate::httpd::request::lease::Held;
use crate::httpd::status::Status;
use crate::objects::request::Request;
use crate::report;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;

type Object<'py> = Bound<'py, PyAny>;

/// One call of the application.
pub(super) struct Call<'py> {
    pub(super) cx: Cx<'py>,
    pub(super) lease: RequestLease,
    pub(super) gateway: &'static Gateway,
    /// May the request go on without its worker, by the way in which it has come here?
    pub(super) may_leave: bool,
}

/// Who answers a request.
pub(super) enum Answerer<'h, 'py> {
    Application(Mounted<'h>, Object<'py>),
    /// No application: this status does.
    Nobody(Status),
}

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

// Before the call.
impl<'py> Call<'py> {
    /// A gateway's handler: has `answer` answer the request, and gives its status.
    ///
    /// # Errors
    /// TypeError where the argument is no request, and what `answer` raises.
    pub(super) fn serve(
        cx: Cx<'py>,
        gateway: &'static Gateway,
        request: &Object<'py>,
        may_leave: bool,
        answer: impl FnOnce(&Call<'py>, &Object<'py>) -> PyResult<Status>,
    ) -> PyResult<Status> {
        answer(&Call::new(cx, gateway, request, may_leave)?, request)
    }

    /// As `serve`, called by a handler of somebody else's: the application has its own time inside of that one's, unless it `lasts` for as
    /// long as its client likes.
    ///
    /// # Errors
    /// As for `serve`.
    pub(super) fn serve_inside(
        cx: Cx<'py>,
        gateway: &'static Gateway,
        request: &Object<'py>,
        lasts: fn(RequestRec<'_>) -> bool,
        answer: impl FnOnce(&Call<'py>, &Object<'py>) -> PyResult<Status>,
    ) -> PyResult<Status> {
        let call = Call::new(cx, gateway, request, false)?;
        let held = call.hold()?;
        let common = &held.request().config::<ModPython>().common;
        let limit = common.limit(gateway.answerer);
        let limit = limit.filter(|_| !lasts(held.request()));
        drop(held);
        let armed = limit.map(|limit| deadlines::arm(cx, Some(limit), Some(&call.lease)));
        let answered = answer(&call, request);
        armed.map(deadlines::Armed::close);
        answered
    }

    /// Begins to answer a request.
    ///
    /// # Errors
    /// TypeError where it is none.
    fn new(
        cx: Cx<'py>,
        gateway: &'static Gateway,
        request: &Object<'py>,
        may_leave: bool,
    ) -> PyResult<Call<'py>> {
        let lease = class::payload::<Request>(cx, request)
            .map(|request| request.lease().clone())
            .ok_or_else(|| PyTypeError::new_err("the argument must be a request"))?;
        Ok(Call {
            cx,
            lease,
            gateway,
            may_leave,
        })
    }

    /// Holds the request. Not while the application runs: threads that it starts may use the request.
    ///
    /// # Errors
    /// RuntimeError.
    pub(super) fn hold(&self) -> PyResult<Held<'_, Exchange>> {
        let in_use = |_| PyRuntimeError::new_err("the request is in use by another thread");
        embed::acquire(self.cx.py, &self.lease).map_err(in_use)
    }

    /// Finds the application that answers, and imports it.
    ///
    /// # Errors
    /// RuntimeError where the request cannot be answered, those of `application::mounted`, and what importing raises.
    pub(super) fn answerer<'h>(&self, held: &'h Held<'_, Exchange>) -> PyResult<Answerer<'h, 'py>> {
        Exchange::check_way_out(held)?;
        if held.is_over() || held.request().eos_sent() != 0 {
            return Err(PyRuntimeError::new_err("the request has been answered"));
        }
        let Some(mounted) = application::mounted(self.cx, self.gateway, held)? else {
            return Ok(Answerer::Nobody(Status::DECLINED));
        };
        match application::find(self.cx, held, &mounted) {
            Ok(application) => Ok(Answerer::Application(mounted, application)),
            Err(error) => {
                let raised = exception::value(self.cx.py, error);
                if !application::is_absent(&mounted, &raised) {
                    return Err(PyErr::from_value(raised));
                }
                let text = format!("there is no {}", mounted.name);
                self.cx.log(held.request(), Level::Info, &text);
                Ok(Answerer::Nobody(Status::NOT_FOUND))
            }
        }
    }
}

// Sending what the application gives.
impl Call<'_> {
    /// Sends one block that is the whole answer, once Python has been left.
    pub(super) fn whole(&self, answer: &Answer, data: &[u8]) -> Result<(), Stop> {
        let held = self.hold()?;
        check_refused(&held, answer)?;
        Ok(answer.whole(self.cx, &held, data)?)
    }

    /// Sends a block; returns when it is on its way.
    pub(super) fn block(&self, answer: &Answer, data: &[u8]) -> Result<(), Stop> {
        let held = self.hold()?;
        if held.request().connection().aborted() {
            return Err(Stop::Gone);
        }
        check_refused(&held, answer)?;
        Ok(answer.block(self.cx, &held, data, End::Flush)?)
    }

    /// Sends a file by its descriptor.
    pub(super) fn file(&self, answer: &Answer, part: FilePart) -> Result<(), Stop> {
        let held = self.hold()?;
        check_refused(&held, answer)?;
        if answer.file(self.cx, &held, part)? {
            return Ok(());
        }
        let name = application::name(self.cx, self.gateway, &held)?;
        Err(Stop::Broken(format!(
            "{name} gives a file that has become shorter while it was sent"
        )))
    }
}

/// Ends the sending where httpd has refused the request's body: its status is the answer, unless a part has been sent.
pub(super) fn check_refused(held: &Held<'_, Exchange>, answer: &Answer) -> Result<(), Stop> {
    match request_body::refusal(held) {
        Some(status) if !answer.has_left() => Err(Stop::Refused(status)),
        _ => Ok(()),
    }
}

// The end.
impl Call<'_> {
    /// Ends the answer when the application has returned all; breaks it off where that was less than announced.
    ///
    /// # Errors
    /// RuntimeError with the text `not_started` where that was nothing.
    pub(super) fn finish(&self, answer: &Answer, not_started: &'static str) -> PyResult<Status> {
        if deadlines::over(self.cx) {
            return self.failed(answer, self.time_out());
        }
        let held = self.hold()?;
        faults::detonate("finish");
        match answer.finish(held.request()) {
            Finished::Complete => Ok(Status::OK),
            Finished::Short { written, length } => {
                let name = application::name(self.cx, self.gateway, &held)?;
                let text =
                    format!("{name} gives {written} bytes where its Content-Length says {length}");
                Ok(self.broken(&held, &text))
            }
            Finished::NotStarted => Err(PyRuntimeError::new_err(not_started)),
        }
    }

    /// Ends the answer where something has ended the sending.
    ///
    /// # Errors
    /// What was raised, where nothing has left.
    pub(super) fn stopped(&self, answer: &Answer, stop: Stop) -> PyResult<Status> {
        deadlines::over(self.cx);
        match stop {
            Stop::Gone => {
                let text = "the client went away before the answer was complete";
                self.cx.log(self.hold()?.request(), Level::Debug, text);
                Ok(Status::OK)
            }
            Stop::Refused(status) => Ok(status),
            Stop::Broken(reason) => Ok(self.broken(&self.hold()?, &reason)),
            Stop::Raised(error) => self.failed(answer, error),
        }
    }

    /// Ends the answer when the application has raised: raises on, so that the error's page takes its place, or breaks it off where a
    /// part has been sent.
    ///
    /// # Errors
    /// What was raised, where nothing has left.
    pub(super) fn failed(&self, answer: &Answer, error: PyErr) -> PyResult<Status> {
        let has_passed = deadlines::over(self.cx);
        let held = self.hold()?;
        if let Some(status) = request_body::refusal(&held).filter(|_| !answer.has_left()) {
            exception::discard(self.cx.py, error);
            return Ok(status);
        }
        if !answer.has_left() {
            held.value().output.borrow_mut().discard();
            drop(held);
            if has_passed {
                let raised = exception::value(self.cx.py, error);
                if !self.cx.is_request_timeout(&raised) {
                    self.log(PyErr::from_value(raised))?;
                }
                return Err(self.time_out());
            }
            return Err(error);
        }
        if held.request().connection().aborted() {
            exception::discard(self.cx.py, error);
            return Ok(Status::OK);
        }
        drop(held);
        let raised = exception::value(self.cx.py, error);
        if !self.cx.is_request_timeout(&raised) {
            self.log(PyErr::from_value(raised))?;
        }
        if answer.has_ended() {
            return Ok(Status::OK);
        }
        Ok(self.break_off(&self.hold()?))
    }

    /// Counts and logs an error that does not end the answer.
    ///
    /// # Errors
    /// RuntimeError.
    pub(super) fn log(&self, error: PyErr) -> PyResult<()> {
        let limit = {
            let held = self.hold()?;
            let common = &held.request().config::<ModPython>().common;
            common.limit(self.gateway.answerer)
        };
        // What an exception says of itself is code of the application's, too, whose own time may have ended.
        let armed = deadlines::arm(self.cx, limit, Some(&self.lease));
        let what = report::describe(self.cx, &exception::value(self.cx.py, error));
        armed.close();
        let place = format!("PythonHandler {}", self.gateway.handler);
        report::traceback(self.cx, self.hold()?.request(), &place, &what);
        Ok(())
    }

    /// The exception of a request that has taken longer than PythonTimeout says.
    pub(super) fn time_out(&self) -> PyErr {
        let class = self.cx.request_timeout();
        let made = class.and_then(|class| class.call0());
        made.map_or_else(|error| error, PyErr::from_value)
    }

    fn broken(&self, held: &Held<'_, Exchange>, reason: &str) -> Status {
        report::error(self.cx, held.request(), reason);
        self.break_off(held)
    }

    /// Sends what there is, and breaks the connection off.
    fn break_off(&self, held: &Held<'_, Exchange>) -> Status {
        if held.request().main().is_some() {
            // This is a part of a page, which goes on: mod_include shows there that the part has failed.
            return Status::INTERNAL_SERVER_ERROR;
        }
        Exchange::break_off(self.cx, held, true);
        Status::DONE
    }
}
