//! Python as an input or output filter: finds the handler of a filter's name and runs it on one piece of a body.

use super::lend::lend;
use super::{Object, Outcome, Subject, call, in_time, serve};
use crate::config::{Entry, ModPython};
use crate::embed::in_flight::Work;
use crate::embed::{self, Cx, class, exception};
use crate::exchange::{Exchange, RequestLease, lease_of};
use crate::httpd::io::filter as host;
use crate::httpd::io::filter::{Invocation, Verdict, names};
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::request::turn::Way;
use crate::httpd::status::Status;
use crate::objects::filter::{self, Filter, Parts, Running};
use crate::objects::request as object;
use crate::report;
use crate::routing::located;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use std::ffi::CStr;

/// Registers a name with httpd, so that SetOutputFilter and the like know it. False for an output filter that mod_filter cannot
/// tell from others: there are too many.
pub(crate) fn register(name: &CStr, input: bool) -> bool {
    if input {
        host::register_input(name, run);
        return true;
    }
    host::register_output(name, run)
}

/// Runs a filter's handler on one invocation.
fn run(request: Request<'_>, name: &CStr, input: bool, invocation: &mut Invocation) -> Verdict {
    let config = request.config::<ModPython>();
    let name = name.to_string_lossy().to_lowercase();
    let configured = config
        .filters
        .iter()
        .find(|filter| filter.input == input && filter.name.eq_ignore_ascii_case(&name));
    let entry = configured
        .map(|filter| &filter.entry)
        .or_else(|| Exchange::own_filter(request, &name, input));
    let Some(entry) = entry else {
        log::entry(
            request,
            Level::Error,
            &format!(
                "no Python filter of the name {name:?} is configured here; nothing passes it (mod_filter can tell {} names apart)",
                names::MOST
            ),
        );
        return Verdict::BROKEN;
    };
    let filter = Run {
        request,
        lease: lease_of(request),
        name: &name,
        input,
        entry: located(request, entry),
    };
    let verdict = Exchange::interpreter(request, config, Some(filter.entry))
        .and_then(|interpreter| filter.run(interpreter, invocation));
    verdict.unwrap_or_else(|reason| {
        log::entry(request, Level::Error, &format!("filter {name}: {reason}"));
        Verdict::BROKEN
    })
}

/// One invocation of one filter.
struct Run<'r> {
    request: Request<'r>,
    lease: &'r RequestLease,
    name: &'r str,
    input: bool,
    entry: &'r Entry<'r>,
}

impl Run<'_> {
    fn run(
        &self,
        interpreter: &'static embed::interpreter::Interpreter,
        invocation: &mut Invocation,
    ) -> Result<Verdict, String> {
        let way = if self.input { Way::In } else { Way::Out };
        let subject = Subject::Request(self.request, self.lease);
        let work = if self.input {
            Work::INPUT
        } else {
            Work::OUTPUT
        };
        serve(subject, work, interpreter, |cx| {
            let verdict = lend(cx, self.lease, way, invocation, |running| {
                self.verdict(cx, running)
            });
            verdict.unwrap_or_else(|error| {
                let common = &self.request.config::<ModPython>().common;
                let what = in_time(cx, common, self.lease, || {
                    report::describe(cx, &exception::value(cx.py, error))
                });
                let directive = if self.input {
                    "PythonInputFilter"
                } else {
                    "PythonOutputFilter"
                };
                let place = format!("{directive} {}", self.entry.text);
                if let Ok(held) = embed::acquire(cx.py, self.lease) {
                    report::traceback(cx, held.request(), &place, &what);
                }
                Verdict::BROKEN
            })
        })
    }

    /// Calls the handler: what becomes of the filter.
    fn verdict(&self, cx: Cx<'_>, running: &Running) -> PyResult<Verdict> {
        let parts = Parts {
            lease: self.lease.clone(),
            running: running.clone(),
            name: self.name.to_string(),
            handler: Some(self.entry.text),
            directory: self.entry.directory(),
            is_input: self.input,
        };
        let argument = filter::object(cx, parts, &object::object(cx, self.lease)?)?;
        let common = &self.request.config::<ModPython>().common;
        let (now, lease) = (self.request.time(), Some(self.lease));
        match call(cx, self.entry, common, now, lease, &argument) {
            // Its body has not run: what it was to look at would pass.
            Some(Outcome::Returned(result)) if !result.is_none() => {
                in_time(cx, common, self.lease, || refuse_suspended(&result))?;
            }
            Some(Outcome::Returned(_)) | None => {}
            Some(Outcome::ServerReturn(result, status)) => {
                if let Some(refused) = self.server_return(cx, &result, status)? {
                    return Ok(Verdict::Failed(refused));
                }
            }
            Some(Outcome::Raised(raised) | Outcome::TimedOut(Some(raised))) => {
                return Err(PyErr::from_value(raised));
            }
            Some(Outcome::TimedOut(None)) => return Ok(Verdict::Failed(Status::GATEWAY_TIME_OUT)),
        }
        let disabled =
            class::payload::<Filter>(cx, &argument).is_some_and(|filter| filter.disabled.get());
        Ok(if disabled {
            Verdict::LeftOut
        } else {
            Verdict::Kept
        })
    }

    /// An error or a redirection is what the filter refuses the body with; otherwise it has returned.
    fn server_return(
        &self,
        cx: Cx<'_>,
        result: &Object<'_>,
        status: Option<i32>,
    ) -> PyResult<Option<Status>> {
        let Some(result) = exception::exact_int(result).and_then(Status::of_handler) else {
            let text = report::no_status(cx, result, "raised SERVER_RETURN with");
            return Err(PyValueError::new_err(text.replace("handler", "filter")));
        };
        if let Some(status) = status.and_then(Status::of_handler)
            && let Ok(held) = embed::acquire(cx.py, self.lease)
        {
            held.request().set_status(status.0);
        }
        Ok((result.0 >= 300).then_some(result))
    }
}

/// Refuses what an `async def`, or a function with `yield`, gives in place of a result.
fn refuse_suspended(result: &Object<'_>) -> PyResult<()> {
    let is_suspended = exception::attribute(result, "__await__")?.is_some()
        || exception::attribute(result, "__next__")?.is_some()
        || exception::attribute(result, "__anext__")?.is_some();
    if !is_suspended {
        return Ok(());
    }
    // Python warns of coroutines that nobody has waited for.
    if let Some(close) = exception::attribute(result, "close")? {
        close.call0()?;
    }
    Err(PyTypeError::new_err(
        "the filter is a coroutine or a generator; it must be a plain function",
    ))
}
