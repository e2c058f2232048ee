//! Runs a phase's handlers: finds the interpreter, calls each handler in turn, turns results into a status.

use crate::ModPython;
use crate::config::{BROKEN, Directory, Entry, Phase};
use crate::embed::handlers::{self, Importing};
use crate::embed::interpreters::{Found, MAIN};
use crate::embed::{self, Cx, class, exception, interpreters};
use crate::httpd::body::{Aborted, End, Parcel};
use crate::httpd::connection::Connection as HostConnection;
use crate::httpd::lease::{Held, Lease};
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::server::{Server, is_defined};
use crate::httpd::status::Status;
use crate::httpd::streams::Serving;
use crate::objects::connection::Connection;
use crate::objects::exchange::{Exchange, RequestLease, lease_of};
use crate::objects::request as object;
use crate::report;
use pyo3::prelude::*;
use std::time::SystemTime;

/// Runs the handlers of a phase, configured and added ones; DECLINED when there are none.
pub(crate) fn run(request: Request<'_>, phase: Phase) -> Status {
    if concerns(request, phase.bit()) {
        run_listed(request, phase)
    } else {
        Status::DECLINED
    }
}

/// May one of these phases of the request have handlers? Asked in every phase of every request that httpd serves, static
/// files too, so it must cost next to nothing.
pub(crate) fn concerns(request: Request<'_>, phases: u32) -> bool {
    request.config::<ModPython>().phases & phases != 0 || Exchange::has_added(request, phases)
}

fn run_listed(request: Request<'_>, phase: Phase) -> Status {
    let config = request.config::<ModPython>();
    if config.phases == BROKEN {
        let text = "the configuration of this request could not be merged; nothing is served";
        log::request(request, Level::Error, text);
        return Status::INTERNAL_SERVER_ERROR;
    }
    let file_name = if config.by_extension.is_empty() {
        None
    } else {
        request.filename()
    };
    let found = config.handlers_for(phase, file_name.map(|name| name.to_bytes()));
    if found.is_none() && !Exchange::has_added(request, phase.bit()) {
        return Status::DECLINED;
    }
    let (list, extension) = found.map_or((None, None), |(list, extension)| (Some(list), extension));
    let first = list.and_then(|list| list.entries.first());
    let interpreter = match Exchange::interpreter(request, config, first) {
        Ok(interpreter) => interpreter,
        Err(reason) => {
            let text = format!("{}: {reason}", phase.directive());
            log::request(request, Level::Error, &text);
            return Status::INTERNAL_SERVER_ERROR;
        }
    };
    if phase == Phase::Content
        && let Some(row) = interpreter.row()
    {
        row.count_request();
    }
    let lease = lease_of(request);
    let _serving = Serving::new(request, lease.turn());
    let outcome = embed::enter(interpreter, |cx| {
        let run = Run {
            cx,
            request,
            config,
            phase,
            listed: list.map_or(0, |list| list.entries.len()),
            lease,
        };
        let _opened = cx.open(lease.turn(), request.address());
        run.all(extension)
    });
    let (status, rest) = outcome.unwrap_or_else(|reason| {
        let text = format!("{}: {reason}", phase.directive());
        log::request(request, Level::Error, &text);
        (Status::INTERNAL_SERVER_ERROR, None)
    });
    // Without the interpreter: sending may block, and nobody has to wait for its lock again.
    if rest.is_some_and(|rest| rest.send(request).is_err()) {
        let text = "the client closed the connection before the answer was sent";
        log::request(request, Level::Debug, text);
    }
    // Whatever comes behind the answer's end finds filters that have put away what they need: nothing does. A redirect may
    // have sent it, or httpd itself, when it has refused the body.
    let before_the_end = !matches!(phase, Phase::Log | Phase::Cleanup);
    if before_the_end && request.eos_sent() != 0 {
        return Status::DONE;
    }
    if status.is_redirect() {
        request.ensure_location();
    }
    status
}

/// What the handlers of a phase have written and nobody has sent yet.
enum Rest {
    /// A complete answer: it leaves with its end.
    Complete(Parcel),
    /// httpd, or another module, goes on with it.
    Partial(Parcel),
}

impl Rest {
    fn send(self, request: Request<'_>) -> Result<(), Aborted> {
        match self {
            Rest::Complete(parcel) => parcel.pass(request),
            Rest::Partial(parcel) => parcel.hand_over(request),
        }
    }
}

/// Runs a server's PythonImport directives. An import that fails is logged, and the next one done.
pub(crate) fn run_imports(server: Server<'_>) {
    let config = server.config::<ModPython>();
    for &(module, name) in config.imports {
        let import = |cx: Cx<'_>| {
            let arguments = (module, config.common.path);
            let imported = cx
                .apache()
                .and_then(|apache| apache.getattr("_import")?.call1(arguments));
            imported
                .map(drop)
                .map_err(|error| report::describe(cx, &exception::value(cx.py, error)))
        };
        let done = interpreters::find(name, config.home).and_then(|found| {
            let mut all = found.all().into_iter();
            all.try_for_each(|interpreter| embed::enter(interpreter, import).and_then(|done| done))
        });
        if let Err(reason) = done {
            log::server(
                server,
                Level::Error,
                &format!("PythonImport {module} {name}: {reason}"),
            );
        }
    }
}

/// Runs the handler of whole connections; DECLINED when there is none.
pub(crate) fn run_connection(connection: HostConnection<'_>) -> Status {
    let Some(server) = connection.base_server() else {
        return Status::DECLINED;
    };
    let config = server.config::<ModPython>();
    let Some(entry) = config.connection.and_then(|list| list.entries.first()) else {
        return Status::DECLINED;
    };
    let failed = |reason: String| {
        let text = format!("PythonConnectionHandler {}: {reason}", entry.text);
        log::connection_raw(connection, Level::Error as i32, text.as_bytes());
        Status::INTERNAL_SERVER_ERROR
    };
    let name = server.server_hostname().and_then(|name| name.to_str().ok());
    let name = config.common.interpreter.or(name).unwrap_or(MAIN);
    let found = match interpreters::find(name, config.home) {
        Ok(found) => found,
        Err(reason) => return failed(reason),
    };
    // Of a pool, a place for as long as the connection lasts.
    let place = match found {
        Found::One(_) => None,
        Found::Pool(pool) => pool.enter(),
    };
    let interpreter = match (found, &place) {
        (Found::One(interpreter), _) => interpreter,
        (Found::Pool(_), Some(place)) => place.interpreter(),
        (Found::Pool(_), None) => return failed("the pool is empty".into()),
    };
    let lease = Lease::for_connection(connection);
    let status = embed::enter(interpreter, |cx| {
        let opened = cx.open(lease.turn(), connection.address());
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let importing = Importing::new(
            &config.common,
            i64::try_from(now.as_micros()).unwrap_or(i64::MAX),
        );
        let attempt = || -> PyResult<Option<Status>> {
            let argument = class::instance(cx, Connection::of_handler(lease.clone(), entry.text))?;
            let Some(callable) = handlers::resolve(cx, entry, importing, &argument)? else {
                return Ok(None);
            };
            let result = exception::call(cx, &callable, &argument).map_err(PyErr::from_value)?;
            Ok(exception::exact_int(&result).and_then(Status::of_handler))
        };
        let result = attempt();
        drop(opened);
        match result {
            Ok(Some(status)) => status,
            Ok(None) => failed("the handler's result must be an int such as apache.OK".into()),
            Err(error) => failed(report::describe(cx, &exception::value(cx.py, error))),
        }
    });
    status.unwrap_or_else(failed)
}

/// One phase of one request.
struct Run<'a, 'py, 'r> {
    cx: Cx<'py>,
    request: Request<'r>,
    config: &'a Directory<'r>,
    phase: Phase,
    /// How many handlers are configured.
    listed: usize,
    lease: &'a RequestLease,
}

impl<'r> Run<'_, '_, 'r> {
    /// Holds the request, once no other thread does; for moments only: a thread that a handler starts may use it, too.
    fn hold(&self) -> Option<Held<'_, Exchange>> {
        embed::acquire(self.cx.py, self.lease).ok()
    }

    /// Tells the operator something of the request, once no other thread is at work on it.
    fn log(&self, level: Level, text: &str) {
        if let Some(held) = self.hold() {
            report::log(self.cx, held.request(), level, text);
        }
    }

    /// The phase's status, and what is to be sent when the interpreter has been left.
    fn all(&self, extension: Option<&str>) -> (Status, Option<Rest>) {
        let cx = self.cx;
        let Some(held) = self.hold() else {
            return (Status::INTERNAL_SERVER_ERROR, None);
        };
        if self.phase == Phase::Log {
            held.end();
        }
        let outer = held.value().begin(self.phase, extension);
        let argument = object::object(cx, &held, self.lease);
        let first = held.value().current(self.request);
        drop(held);
        let mut status = match argument {
            Ok(argument) => self.handlers(first, &argument),
            Err(error) => self.failed(None, &exception::value(cx.py, error)),
        };
        if self.phase == Phase::Authen {
            status = self.check_authentication(status);
        }
        let Some(held) = self.hold() else {
            return (status, None);
        };
        let state = held.value();
        let before_the_end = !matches!(self.phase, Phase::Log | Phase::Cleanup);
        if let Some(refused) = Exchange::refusal(&held).filter(|_| before_the_end) {
            // Whatever the handler has made of it: it has not seen all of the request.
            state.output.borrow_mut().discard();
            status = refused;
        }
        let rest = self.rest(state, status);
        state.finish(outer);
        state.let_go::<object::Request>(cx, |object| object::is_unremarkable(object, cx));
        (status, rest)
    }

    fn handlers(&self, first: Option<Entry<'r>>, argument: &Bound<'_, PyAny>) -> Status {
        let mut status = Status::DECLINED;
        let (mut next, mut ran) = (first, 0);
        while let Some(entry) = next {
            if let Some(result) = self.handler(&entry, argument) {
                status = result;
                if !self.phase.goes_on_after(status) {
                    break;
                }
            }
            ran += 1;
            if ran >= self.listed && !Exchange::has_added(self.request, self.phase.bit()) {
                break;
            }
            next = self.hold().and_then(|held| {
                held.value().advance();
                held.value().current(self.request)
            });
        }
        status
    }

    /// The result of one handler; None where a silent one has no function.
    fn handler(&self, entry: &Entry<'r>, argument: &Bound<'_, PyAny>) -> Option<Status> {
        let common = &self.config.common;
        let importing = Importing::new(common, self.request.time());
        let argument = argument.clone();
        let callable = match handlers::resolve(self.cx, entry, importing, &argument) {
            Ok(callable) => callable?,
            Err(error) => {
                return Some(self.failed(Some(entry), &exception::value(self.cx.py, error)));
            }
        };
        let called = if common.enable_pdb == Some(true) && is_defined(c"ONE_PROCESS") {
            self.debug(&callable, &argument)
        } else {
            exception::call(self.cx, &callable, &argument)
        };
        Some(match called {
            Ok(result) => self.status(entry, &result, "returned"),
            Err(raised) if self.cx.is_server_return(&raised) => self.server_return(entry, &raised),
            Err(raised) => self.failed(Some(entry), &raised),
        })
    }

    /// Calls a handler in the debugger (PythonEnablePdb).
    fn debug<'p>(
        &self,
        callable: &Bound<'p, PyAny>,
        argument: &Bound<'p, PyAny>,
    ) -> Result<Bound<'p, PyAny>, Bound<'p, PyAny>> {
        let py = callable.py();
        let debugger = py
            .import("mod_python.apache")
            .and_then(|apache| apache.getattr("_debug"));
        let called = debugger.and_then(|debugger| debugger.call1((callable, argument)));
        called.map_err(|error| exception::value(py, error))
    }

    /// SERVER_RETURN(result) or SERVER_RETURN(result, status).
    fn server_return(&self, entry: &Entry<'r>, raised: &Bound<'_, PyAny>) -> Status {
        let parts = || -> PyResult<(Bound<'_, PyAny>, Option<i32>)> {
            let args = raised.getattr("args")?;
            let result = args.get_item(0)?;
            let status = if args.len()? > 1 {
                exception::exact_int(&args.get_item(1)?)
            } else {
                None
            };
            Ok((result, status))
        };
        match parts() {
            Ok((result, status)) => {
                if let Some(status) = status.filter(|&status| status != 0)
                    && let Some(held) = self.hold()
                {
                    held.request().set_status(status);
                }
                self.status(entry, &result, "raised SERVER_RETURN with")
            }
            Err(error) => self.failed(Some(entry), &exception::value(self.cx.py, error)),
        }
    }

    /// A handler's result as a status. Anything but an int that httpd knows is a mistake of the handler's: from one that is
    /// no status httpd would look for an error's page for ever.
    fn status(&self, entry: &Entry<'r>, result: &Bound<'_, PyAny>, how: &str) -> Status {
        let status = exception::exact_int(result).and_then(Status::of_handler);
        status.unwrap_or_else(|| {
            let text = report::no_status(self.cx, self.phase, entry, result, how);
            self.log(Level::Error, &text);
            Status::INTERNAL_SERVER_ERROR
        })
    }

    fn failed(&self, entry: Option<&Entry<'r>>, raised: &Bound<'_, PyAny>) -> Status {
        if let Some(row) = self.cx.interpreter.row() {
            row.count_error();
        }
        let debug = self.config.common.debug == Some(true) && self.phase != Phase::Cleanup;
        report::exception(self.cx, self.lease, self.phase, entry, raised, debug)
    }

    /// OK needs a user; a 401 needs a challenge.
    fn check_authentication(&self, status: Status) -> Status {
        match status {
            Status::OK if self.request.user().is_none() => {
                let text = "PythonAuthenHandler returned OK, but req.user is not set; set it, or return DECLINED";
                self.log(Level::Error, text);
                Status::INTERNAL_SERVER_ERROR
            }
            Status::UNAUTHORIZED => {
                if let Some(held) = self.hold() {
                    held.request().note_auth_failure();
                }
                status
            }
            _ => status,
        }
    }

    /// What has been written and is to be sent.
    fn rest(&self, state: &Exchange, status: Status) -> Option<Rest> {
        let mut output = state.output.borrow_mut();
        if !output.is_pending() {
            return None;
        }
        if self.request.eos_sent() != 0 {
            output.discard();
            return None;
        }
        let complete =
            self.phase == Phase::Content && (status == Status::OK || status == Status::DONE);
        Some(if complete {
            Rest::Complete(output.take(self.request, End::OfStream))
        } else {
            Rest::Partial(output.take(self.request, End::Open))
        })
    }
}
