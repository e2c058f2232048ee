//! Python as an input or output filter: finds the handler of a filter's name and runs it on one piece of a body.

use crate::ModPython;
use crate::config::Entry;
use crate::embed::handlers::{self, Importing};
use crate::embed::{self, Cx, exception};
use crate::httpd::filter::{self as host, Invocation, Verdict, names};
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::status::Status;
use crate::httpd::streams::Serving;
use crate::httpd::turn::Way;
use crate::objects::exchange::{Exchange, RequestLease, lease_of};
use crate::objects::filter::{self, Filter, Parts, Running, lock};
use crate::objects::request as object;
use crate::routing::located;
use crate::{embed::class, report};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use std::ffi::CStr;
use std::sync::{Arc, Mutex};

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
    let lease = lease_of(request);
    let configured = config
        .filters
        .iter()
        .find(|filter| filter.input == input && filter.name.eq_ignore_ascii_case(&name));
    let entry = configured
        .map(|filter| filter.entry)
        .or_else(|| Exchange::own_filter(request, &name, input));
    let Some(entry) = entry else {
        log::request(
            request,
            Level::Error,
            &format!(
                "no Python filter of the name {name:?} is configured here; nothing passes it (mod_filter can tell {} names apart)",
                names::MOST
            ),
        );
        return Verdict::BROKEN;
    };
    let entry = located(request, entry);
    // What has been printed is logged at its end, detached.
    let _serving = Serving::new(request, lease.turn());
    let outcome = Exchange::interpreter(request, config, Some(&entry)).and_then(|interpreter| {
        embed::enter(interpreter, |cx| {
            let way = if input { Way::In } else { Way::Out };
            lend(cx, request, lease, way, invocation, |running| {
                call(cx, request, &name, input, &entry, lease, running)
            })
        })
    });
    match outcome {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(text)) => {
            let place = if input {
                "PythonInputFilter"
            } else {
                "PythonOutputFilter"
            };
            let text = report::titled(&format!("{place} {}", entry.text), &text);
            log::request_lines(request, Level::Error as i32, text.as_bytes());
            Verdict::BROKEN
        }
        Err(reason) => {
            log::request(request, Level::Error, &format!("filter {name}: {reason}"));
            Verdict::BROKEN
        }
    }
}

/// Has an object reach the invocation, but only while `body` runs; what it leaves is put back for httpd.
pub(crate) fn lend<R>(
    cx: Cx<'_>,
    request: Request<'_>,
    lease: &RequestLease,
    way: Way,
    invocation: &mut Invocation,
    body: impl FnOnce(&Running) -> R,
) -> R {
    let _opened = cx.open(lease.turn(), request.address());
    let _set_out = lease.turn().set_out(way);
    let running: Running = Arc::new(Mutex::new(None));
    let taken_back = TakenBack {
        cx,
        lease,
        running: &running,
    };
    invocation.lend(|lent| {
        *lock(&running) = Some(lent);
        let result = body(&running);
        (result, taken_back.take())
    })
}

/// No object reaches the invocation any more when this has gone, however that comes about.
struct TakenBack<'a, 'py> {
    cx: Cx<'py>,
    lease: &'a RequestLease,
    running: &'a Running,
}

impl TakenBack<'_, '_> {
    fn take(&self) -> Option<Box<Invocation>> {
        // What another thread is in the middle of has taken it, and puts it back.
        let _held = embed::acquire(self.cx.py, self.lease);
        lock(self.running).take()
    }
}

impl Drop for TakenBack<'_, '_> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// What becomes of the filter, or what is to be logged.
fn call(
    cx: Cx<'_>,
    request: Request<'_>,
    name: &str,
    input: bool,
    entry: &Entry<'_>,
    lease: &RequestLease,
    running: &Running,
) -> Result<Verdict, String> {
    let common = &request.config::<ModPython>().common;
    let importing = Importing::new(common, request.time());
    let attempt = || -> PyResult<Verdict> {
        let request = object::object(cx, lease)?;
        let parts = Parts {
            lease: lease.clone(),
            running: running.clone(),
            name: name.to_string(),
            handler: Some(entry.text),
            directory: entry.directory(),
            is_input: input,
        };
        let argument = filter::object(cx, parts, &request)?;
        let callable = handlers::resolve(cx, entry, importing, &argument)?;
        if let Some(callable) = callable {
            match exception::call(cx, &callable, &argument) {
                // Its body has not run: what it was to look at would pass.
                Ok(result) if !result.is_none() && is_suspended(&result)? => {
                    // Python warns of coroutines that nobody has waited for.
                    if let Some(close) = exception::attribute(&result, "close")? {
                        close.call0()?;
                    }
                    return Err(PyTypeError::new_err(
                        "the filter is a coroutine or a generator; it must be a plain function",
                    ));
                }
                Ok(_) => {}
                Err(raised) if cx.is_server_return(&raised) => {
                    if let Some(refused) = server_return(cx, lease, &raised)? {
                        return Ok(Verdict::Failed(refused));
                    }
                }
                Err(raised) => return Err(PyErr::from_value(raised)),
            }
        }
        let disabled =
            class::payload::<Filter>(cx, &argument).is_some_and(|filter| filter.disabled.get());
        Ok(if disabled {
            Verdict::LeftOut
        } else {
            Verdict::Kept
        })
    };
    attempt().map_err(|error| report::describe(cx, &exception::value(cx.py, error)))
}

/// Is it what an `async def`, or a function with `yield`, gives in place of a result?
fn is_suspended(result: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(exception::attribute(result, "__await__")?.is_some()
        || exception::attribute(result, "__next__")?.is_some()
        || exception::attribute(result, "__anext__")?.is_some())
}

/// SERVER_RETURN(result) or SERVER_RETURN(result, status): an error or a redirection is what the filter refuses the body with;
/// otherwise it has returned.
fn server_return(
    cx: Cx<'_>,
    lease: &RequestLease,
    raised: &Bound<'_, PyAny>,
) -> PyResult<Option<Status>> {
    let args = raised.getattr("args")?;
    let result = args.get_item(0)?;
    let status = if args.len()? > 1 {
        exception::exact_int(&args.get_item(1)?).and_then(Status::of_handler)
    } else {
        None
    };
    let Some(result) = exception::exact_int(&result).and_then(Status::of_handler) else {
        let text = report::no_status(cx, &result, "raised SERVER_RETURN with");
        return Err(PyValueError::new_err(text.replace("handler", "filter")));
    };
    if let Some(status) = status
        && let Ok(held) = embed::acquire(cx.py, lease)
    {
        held.request().set_status(status.0);
    }
    Ok((result.0 >= 300).then_some(result))
}
