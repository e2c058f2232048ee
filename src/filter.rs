//! Python as an input or output filter: finds the handler of a filter's name and runs it on one piece of a body.

use crate::ModPython;
use crate::config::Entry;
use crate::embed::handlers::{self, Importing};
use crate::embed::{self, Cx, exception};
use crate::httpd::filter::{self as host, Invocation};
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::streams::Serving;
use crate::objects::exchange::{Exchange, RequestLease, lease_of};
use crate::objects::filter::{self, Filter, Parts, Running, lock};
use crate::objects::request as object;
use crate::routing::located;
use crate::{embed::class, report};
use pyo3::prelude::*;
use std::ffi::CStr;
use std::sync::{Arc, Mutex};

/// Registers a name with httpd, so that SetOutputFilter and the like know it.
pub(crate) fn register(name: &CStr, input: bool) {
    if input {
        host::register_input(name, run);
    } else {
        host::register_output(name, run);
    }
}

/// Runs a filter's handler on one invocation; false when the filter is to be left out from now on.
fn run(request: Request<'_>, name: &CStr, input: bool, invocation: &mut Invocation) -> bool {
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
            &format!("no Python filter of the name {name:?} is configured here"),
        );
        return false;
    };
    let entry = located(request, entry);
    let interpreter = match Exchange::interpreter(request, config, Some(&entry)) {
        Ok(interpreter) => interpreter,
        Err(reason) => {
            log::request(request, Level::Error, &format!("filter {name}: {reason}"));
            return false;
        }
    };
    let kept = embed::enter(interpreter, |cx| {
        lend(cx, request, lease, invocation, |running| {
            call(cx, request, &name, input, &entry, lease, running)
        })
    });
    kept.unwrap_or_else(|reason| {
        log::request(request, Level::Error, &format!("filter {name}: {reason}"));
        false
    })
}

/// Has an object reach the invocation, but only while `body` runs; what it leaves is put back for httpd.
pub(crate) fn lend<R>(
    cx: Cx<'_>,
    request: Request<'_>,
    lease: &RequestLease,
    invocation: &mut Invocation,
    body: impl FnOnce(&Running) -> R,
) -> R {
    let _serving = Serving::new(request);
    lease.open();
    let running: Running = Arc::new(Mutex::new(None));
    let result = invocation.lend(|lent| {
        *lock(&running) = Some(lent);
        let result = body(&running);
        (result, lock(&running).take())
    });
    lease.close(|| cx.detached((), |()| std::thread::yield_now()));
    result
}

fn call(
    cx: Cx<'_>,
    request: Request<'_>,
    name: &str,
    input: bool,
    entry: &Entry<'_>,
    lease: &RequestLease,
    running: &Running,
) -> bool {
    let common = &request.config::<ModPython>().common;
    let importing = Importing::new(common, request.time());
    let place = if input {
        "PythonInputFilter"
    } else {
        "PythonOutputFilter"
    };
    let attempt = || -> PyResult<bool> {
        let held = lease
            .hold()
            .map_err(|_| pyo3::exceptions::PyRuntimeError::new_err("the request is in use"))?;
        let request = object::object(cx, &held, lease)?;
        drop(held);
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
                Ok(_) => {}
                Err(raised) if cx.is_server_return(&raised) => {
                    let status = raised.getattr("args")?.get_item(1);
                    let status = exception::or_discard(cx.py, status)
                        .and_then(|status| exception::exact_int(&status));
                    if let (Some(status), Ok(held)) = (status, lease.hold()) {
                        held.request().set_status(status);
                    }
                }
                Err(raised) => return Err(PyErr::from_value(raised)),
            }
        }
        Ok(class::payload::<Filter>(cx, &argument).is_none_or(|filter| !filter.disabled.get()))
    };
    attempt().unwrap_or_else(|error| {
        let text = report::describe(cx, &exception::value(cx.py, error));
        log::request(
            request,
            Level::Error,
            &format!("{place} {}: {text}", entry.text),
        );
        false
    })
}
