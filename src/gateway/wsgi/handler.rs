//! The exchange, as the PEP has it: build `environ`; call the application with it and `start_response`; send what it
//! yields, block by block; call `close()`, whatever has happened.

use super::file_wrapper::Files;
use super::gateway::GATEWAY;
use super::start_response::StartResponse;
use super::template::Template;
use super::{body, environ};
use crate::embed::cell::Ref;
use crate::embed::class::{self, Args, Function, function};
use crate::embed::{Cx, PerInterpreter, exception};
use crate::gateway::call::{Answerer, Call, check_refused};
use crate::gateway::request_body::{self, RequestBody};
use crate::gateway::{memory, origin};
use crate::httpd::status::Status;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;

type Object<'py> = Bound<'py, PyAny>;

/// Answers a request, for `_apache`.
pub(in crate::gateway) const HANDLER: Function = function!(
 c"wsgi(req, /)", c"answers a request with the application of PythonOption mod_python.wsgi.application (PEP 3333).", handler,
);

/// What is kept in each interpreter.
struct State {
    environ: Template,
    files: Files,
}

static STATE: PerInterpreter<State> = PerInterpreter::new();

fn handler<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let status = Call::serve_inside(cx, &GATEWAY, &args.required(0)?, |_| false, answer)?;
    status.0.into_bound_py_any(cx.py)
}

/// Answers a request.
///
/// # Errors
/// What ends the request with an error's page.
pub(in crate::gateway) fn answer<'py>(call: &Call<'py>, request: &Object<'py>) -> PyResult<Status> {
    let cx = call.cx;
    let state = STATE.get(cx, || {
        Ok::<_, PyErr>(State {
            environ: Template::new(cx)?,
            files: Files::new(cx)?,
        })
    })?;
    let held = call.hold()?;
    let (mounted, application) = match call.answerer(&held)? {
        Answerer::Application(mounted, application) => (mounted, application),
        Answerer::Nobody(status) => return Ok(status),
    };
    origin::look_up(cx, held.request());
    let proxies = memory::proxies(cx, call.gateway, &held)?;
    let template = &state.environ;
    let filled = environ::fill(cx, template, &held, &mounted, proxies.as_deref(), request)?;
    let environ = filled.environ;
    if filled.has_body {
        match request_body::prepare(cx, call.gateway, &held)? {
            RequestBody::AsAnnounced => {}
            RequestBody::Ahead(length) => {
                environ::settle(cx, template, &environ, held.request(), length)?;
            }
            RequestBody::Refused(status) => return Ok(status),
        }
    }
    drop(held);
    let start = class::instance(cx, StartResponse::new(call.lease.clone()))?;
    let status = run(call, &state.files, &application, environ.into_any(), &start);
    class::recycle::<StartResponse>(cx, Ref::new(start));
    status
}

/// Calls the application, and sends what it returns.
fn run<'py>(
    call: &Call<'py>,
    files: &Files,
    application: &Object<'py>,
    environ: Object<'py>,
    start: &Object<'py>,
) -> PyResult<Status> {
    let this = class::this::<StartResponse>(call.cx, start)?;
    let answer = &this.answer;
    let result = match exception::call_two(call.cx, application, &environ, start) {
        Ok(result) => result,
        Err(error) => return call.failed(answer, error),
    };
    let sent = body::send(call, answer, files, &result);
    let sent = sent.and_then(|()| check_refused(&call.hold()?, answer));
    let closed = close(&result);
    // What they do when they go, they do in the application's time, which ends below.
    drop((result, environ));
    match (sent, closed) {
        (Ok(()), Ok(())) => call.finish(answer, body::NOT_STARTED),
        (Ok(()), Err(error)) => call.failed(answer, error),
        (Err(stop), Ok(())) => call.stopped(answer, stop),
        (Err(stop), Err(error)) => {
            // `stop` is what ended the answer; the error of close() comes beside it.
            call.log(error)?;
            call.stopped(answer, stop)
        }
    }
}

/// Calls the iterable's `close()`, if it has one.
fn close(result: &Object<'_>) -> PyResult<()> {
    let exact = result.is_exact_instance_of::<pyo3::types::PyList>()
        || result.is_exact_instance_of::<pyo3::types::PyTuple>();
    if exact {
        return Ok(());
    }
    match exception::attribute(result, "close")? {
        Some(close) => close.call0().map(drop),
        None => Ok(()),
    }
}
