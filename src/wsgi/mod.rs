//! WSGI (PEP 3333): what `PythonHandler mod_python.wsgi`, and PythonWSGI, call.
//!
//! The exchange, as the PEP has it: build `environ`; call the application with it and `start_response`; send what it
//! yields, block by block; call `close()`, whatever has happened.

mod application;
mod body;
mod environ;
mod file_wrapper;
mod head;
mod headers;
mod input;
mod origin;
mod start_response;

use crate::config::ModPython;
use crate::config::proxies::{self, Proxies};
use crate::embed::cell::Ref;
use crate::embed::class::{self, Args, Function, function};
use crate::embed::{self, Cx, PerInterpreter, exception};
use crate::exchange::{Exchange, RequestLease};
use crate::httpd::log::Level;
use crate::httpd::request::lease::Held;
use crate::httpd::status::Status;
use crate::objects::request::Request;
use crate::report;
use body::{Body, Stop};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use start_response::StartResponse;
use std::sync::{Arc, Mutex, PoisonError};

type Object<'py> = Bound<'py, PyAny>;

/// What `_apache` offers for it.
pub(crate) static FUNCTIONS: &[Function] = &[function!(
 c"wsgi(req, /)", c"answers a request with the application of PythonOption mod_python.wsgi.application (PEP 3333).", handler,
)];

/// What the adapter keeps in each interpreter.
struct State {
    environ: environ::Template,
    files: file_wrapper::Files,
    /// The warnings that have been logged (`warn_once`).
    warned: Mutex<Vec<String>>,
    /// Trusted proxies, by the texts of the options that name them.
    proxies: Mutex<Vec<(String, Arc<Proxies>)>>,
}

static STATE: PerInterpreter<State> = PerInterpreter::new();

fn state(cx: Cx<'_>) -> PyResult<&'static State> {
    STATE.get(cx, || {
        Ok(State {
            environ: environ::Template::new(cx)?,
            files: file_wrapper::Files::new(cx)?,
            warned: Mutex::default(),
            proxies: Mutex::default(),
        })
    })
}

/// How many warnings, and how many options' texts, are remembered at most: there may be many .htaccess files.
const REMEMBERED: usize = 1000;

impl State {
    /// Logs, once for each application, that it does something (`habit`) which it may do in every request; `now` is what it was in
    /// this one.
    fn warn_once(
        &self,
        cx: Cx<'_>,
        held: &Held<'_, Exchange>,
        habit: &str,
        now: &str,
    ) -> PyResult<()> {
        let mut text = format!("{} {habit}", application::name(cx, held)?);
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.contains(&text) {
            return Ok(());
        }
        if warned.len() < REMEMBERED {
            warned.push(text.clone());
        }
        drop(warned);
        text.push_str(now);
        cx.log(held.request(), Level::Warning, &text);
        Ok(())
    }

    /// Gives the trusted proxies, where the configuration names some. The options of each text are read once.
    fn proxies(&self, held: &Held<'_, Exchange>) -> PyResult<Option<Arc<Proxies>>> {
        let common = &held.request().config::<ModPython>().common;
        let networks = common.option(proxies::NETWORKS);
        let Some(networks) = networks.filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let headers = common.option(proxies::HEADERS).unwrap_or_default();
        let key = format!("{networks}\n{headers}");
        let mut known = self.proxies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, proxies)) = known.iter().find(|(text, _)| *text == key) {
            return Ok(Some(proxies.clone()));
        }
        let parsed = Proxies::parse(networks, headers).map_err(PyValueError::new_err)?;
        let parsed = Arc::new(parsed);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.push((key, parsed.clone()));
        Ok(Some(parsed))
    }
}

/// Answers a request: the handler.
fn handler<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let request = args.required(0)?;
    let lease = class::payload::<Request>(cx, &request)
        .map(|request| request.lease().clone())
        .ok_or_else(|| PyTypeError::new_err("the argument must be a request"))?;
    let call = Call { cx, lease };
    call.answer(&request)?.0.into_bound_py_any(cx.py)
}

/// One call of the application.
struct Call<'py> {
    cx: Cx<'py>,
    lease: RequestLease,
}

impl<'py> Call<'py> {
    fn hold(&self) -> PyResult<Held<'_, Exchange>> {
        let in_use = |_| PyRuntimeError::new_err("the request is in use by another thread");
        embed::acquire(self.cx.py, &self.lease).map_err(in_use)
    }

    fn answer(&self, request: &Object<'py>) -> PyResult<Status> {
        let cx = self.cx;
        let state = state(cx)?;
        let held = self.hold()?;
        Exchange::check_way_out(&held)?;
        if held.is_over() || held.request().eos_sent() != 0 {
            return Err(PyRuntimeError::new_err("the request has been answered"));
        }
        let Some(place) = application::place(cx, &held)? else {
            return Ok(Status::DECLINED);
        };
        let application = match application::find(cx, &held, &place, request) {
            Ok(application) => application,
            Err(error) => {
                let raised = exception::value(cx.py, error);
                if !application::is_absent(&place, &raised) {
                    return Err(PyErr::from_value(raised));
                }
                let text = format!("there is no {}", place.name);
                cx.log(held.request(), Level::Info, &text);
                return Ok(Status::NOT_FOUND);
            }
        };
        if held.request().looks_up_its_name() {
            cx.detached(held.request(), |request| {
                request.server_name();
            });
        }
        let proxies = state.proxies(&held)?;
        let filled = state
            .environ
            .fill(cx, &held, &place, proxies.as_deref(), request)?;
        let environ = filled.environ;
        if filled.has_body
            && let Some(status) = input::prepare(cx, &held, &state.environ, &environ)?
        {
            return Ok(status);
        }
        // Not held while the application runs: threads that it starts may use the request.
        drop(held);
        let start = StartResponse::new(self.lease.clone());
        let start = class::instance(cx, start)?;
        let answer = self.run(state, &application, environ.into_any(), &start);
        class::recycle::<StartResponse>(cx, Ref::new(start));
        answer
    }

    /// Calls the application, and sends what it returns.
    fn run(
        &self,
        state: &State,
        application: &Object<'py>,
        environ: Object<'py>,
        start: &Object<'py>,
    ) -> PyResult<Status> {
        let cx = self.cx;
        let body = Body::new(self, start)?;
        let result = match exception::call_two(cx, application, &environ, start) {
            Ok(result) => result,
            Err(error) => return self.failed(&body, error),
        };
        let sent = body.send(state, &result);
        let sent = sent.and_then(|()| body.check_refused(&self.hold()?));
        let closed = close(&result);
        let stop = match (sent, closed) {
            (Ok(()), Ok(())) => return self.finish(&body),
            (Ok(()), Err(error)) => return self.failed(&body, error),
            (Err(stop), Ok(())) => stop,
            (Err(stop), Err(error)) => {
                // `stop` is what ended the answer; the error of close() comes beside it.
                self.log(error)?;
                stop
            }
        };
        match stop {
            Stop::Gone => {
                let text = "the client went away before the answer was complete";
                cx.log(self.hold()?.request(), Level::Debug, text);
                Ok(Status::OK)
            }
            Stop::Refused(status) => Ok(status),
            Stop::Broken(reason) => {
                let held = self.hold()?;
                report::error(cx, held.request(), &reason);
                self.break_off(&held)
            }
            Stop::Raised(error) => self.failed(&body, error),
        }
    }

    /// Ends the answer when the application has returned all; breaks it off where that was less than announced.
    fn finish(&self, body: &Body<'_, 'py>) -> PyResult<Status> {
        let Some(reason) = body.end()? else {
            return Ok(Status::OK);
        };
        let held = self.hold()?;
        report::error(self.cx, held.request(), &reason);
        self.break_off(&held)
    }

    /// Ends the answer when the application has raised: raises on, so that the error's page takes its place, or breaks it off where a
    /// part has been sent.
    fn failed(&self, body: &Body<'_, 'py>, error: PyErr) -> PyResult<Status> {
        let held = self.hold()?;
        if let Some(status) = input::refusal(&held).filter(|_| !body.has_left()) {
            exception::discard(self.cx.py, error);
            return Ok(status);
        }
        if !body.has_left() {
            held.value().output.borrow_mut().discard();
            return Err(error);
        }
        if held.request().connection().aborted() {
            exception::discard(self.cx.py, error);
            return Ok(Status::OK);
        }
        drop(held);
        self.log(error)?;
        if body.has_ended() {
            return Ok(Status::OK);
        }
        self.break_off(&self.hold()?)
    }

    fn log(&self, error: PyErr) -> PyResult<()> {
        let text = report::describe(self.cx, &exception::value(self.cx.py, error));
        let held = self.hold()?;
        report::traceback(
            self.cx,
            held.request(),
            "PythonHandler mod_python.wsgi",
            &text,
        );
        Ok(())
    }

    /// Sends what there is, and breaks the connection off, so that the client can tell that something is missing.
    fn break_off(&self, held: &Held<'_, Exchange>) -> PyResult<Status> {
        if held.request().main().is_some() {
            // This is a part of a page, which goes on: mod_include shows there that the part has failed.
            return Ok(Status::INTERNAL_SERVER_ERROR);
        }
        Exchange::break_off(self.cx, held, true);
        Ok(Status::DONE)
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

/// Interns a text in this interpreter.
fn interned(cx: Cx<'_>, text: &str) -> Ref {
    Ref::new(pyo3::types::PyString::intern(cx.py, text).into_any())
}
