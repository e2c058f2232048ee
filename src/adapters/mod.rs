//! The ways in which httpd calls Python, one a file, and what they share: `serve` is the one way in, `call` runs a
//! configured object, and what becomes of it is an `Outcome`.

mod cleanup;
pub(crate) mod connection;
pub(crate) mod filter;
pub(crate) mod imports;
pub(crate) mod include;
mod lend;
pub(crate) mod phases;

use crate::config::limit::Answerer;
use crate::config::{Common, Entry};
use crate::embed::deadlines::{self, Rescue};
use crate::embed::handlers::{self, Importing};
use crate::embed::in_flight::{self, Work};
use crate::embed::interpreter::Interpreter;
use crate::embed::stopwatch::{Stopwatch, look_at_garbage};
use crate::embed::{self, Cx, exception};
use crate::exchange::{RequestLease, account};
use crate::gateway::{self, Failed};
use crate::httpd::guard::guard;
use crate::httpd::io::stdio::Serving;
use crate::httpd::log::Level;
use crate::httpd::request::Request;
use crate::httpd::request::connection::Connection;
use crate::httpd::request::lease::{Lease, OfConnection};
use crate::httpd::request::server::is_defined;
use crate::httpd::status::Status;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PySystemError;
use pyo3::prelude::*;
use std::sync::Arc;

type Object<'py> = Bound<'py, PyAny>;

/// What httpd calls Python for.
#[derive(Clone, Copy)]
enum Subject<'a> {
    Request(Request<'a>, &'a RequestLease),
    Connection(Connection<'a>, &'a Arc<Lease<OfConnection>>),
    /// The child itself, while it starts.
    Child,
}

/// Runs `body`, which is work of that kind, attached to `interpreter`. Meanwhile Python may use the subject, and what it prints is the subject's; both end
/// with `body`, also by a panic.
///
/// # Errors
/// Why the interpreter cannot be attached.
#[inline]
fn serve<R>(
    subject: Subject<'_>,
    work: Work,
    interpreter: &'static Interpreter,
    body: impl for<'py> FnOnce(Cx<'py>) -> R,
) -> Result<R, String> {
    // Outside: what has been printed and has no end yet is logged at its end, detached.
    let _serving = match subject {
        Subject::Request(request, lease) => Some(Serving::new(request, lease.turn())),
        Subject::Connection(..) | Subject::Child => None,
    };
    let _shown = match subject {
        Subject::Request(request, _) => in_flight::show(Some(request), interpreter, work),
        Subject::Connection(..) => in_flight::show(None, interpreter, work),
        Subject::Child => None,
    };
    let watch = Stopwatch::new();
    let served = embed::enter(interpreter, |cx| {
        let now = watch.attached();
        let _opened = match subject {
            Subject::Request(request, lease) => Some(cx.open(lease.turn(), request.address())),
            Subject::Connection(connection, lease) => {
                Some(cx.open(lease.turn(), connection.address()))
            }
            Subject::Child => None,
        };
        let result = body(cx);
        look_at_garbage(cx, now);
        result
    });
    if let Some(lap) = watch.lap() {
        let times = match subject {
            Subject::Request(_, lease) => Some(lease.times()),
            Subject::Connection(..) | Subject::Child => None,
        };
        account::add(times, interpreter, &lap);
    }
    served
}

/// What becomes of a call of Python.
enum Outcome<'py> {
    Returned(Object<'py>),
    /// SERVER_RETURN(result), or SERVER_RETURN(result, status): a status that is no int counts as none.
    ServerReturn(Object<'py>, Option<i32>),
    /// Another exception, or a SERVER_RETURN without arguments.
    Raised(Object<'py>),
    /// It has taken longer than PythonTimeout says, which the log has been told; and what it has raised beside that.
    TimedOut(Option<Object<'py>>),
}

impl<'py> Outcome<'py> {
    /// `has_passed`: has its time, so that something was done about it?
    fn of(cx: Cx<'py>, called: Result<Object<'py>, Object<'py>>, has_passed: bool) -> Outcome<'py> {
        match called {
            Err(raised) if cx.is_request_timeout(&raised) => Outcome::TimedOut(None),
            Err(raised) if has_passed && !cx.is_server_return(&raised) => {
                Outcome::TimedOut(Some(raised))
            }
            _ if has_passed => Outcome::TimedOut(None),
            Ok(result) => Outcome::Returned(result),
            Err(raised) if cx.is_server_return(&raised) => Outcome::server_return(cx, &raised),
            Err(raised) => Outcome::Raised(raised),
        }
    }

    #[cold]
    fn server_return(cx: Cx<'py>, raised: &Object<'py>) -> Outcome<'py> {
        let parts = || -> PyResult<_> {
            let arguments = raised.getattr("args")?;
            let result = arguments.get_item(0)?;
            let status = if arguments.len()? > 1 {
                exception::exact_int(&arguments.get_item(1)?)
            } else {
                None
            };
            Ok(Outcome::ServerReturn(result, status))
        };
        parts().unwrap_or_else(|error| Outcome::Raised(exception::value(cx.py, error)))
    }
}

/// Calls the object that an entry names with an argument, in the debugger where PythonEnablePdb says so and httpd runs in
/// one process (`httpd -X` with -DONE_PROCESS); None where a silent entry has none.
fn call<'py, R: Rescue + 'static>(
    cx: Cx<'py>,
    entry: &Entry<'_>,
    common: &Common<'_>,
    now: i64,
    lease: Option<&Arc<R>>,
    argument: &Object<'py>,
) -> Option<Outcome<'py>> {
    let armed = deadlines::arm(cx, common.limit(Answerer::Handler), lease);
    let called = match handlers::resolve(cx, entry, Importing::new(common, now), Some(argument)) {
        Ok(Some(callable)) if is_debugged(common) => debug(cx, &callable, argument),
        Ok(Some(callable)) => exception::call(cx, &callable, argument),
        Ok(None) => return None,
        Err(error) => Err(exception::value(cx.py, error)),
    };
    let has_passed = armed.close();
    Some(Outcome::of(cx, called, has_passed))
}

/// Has `body` end in time, as a handler: it has an exception say what it is, or lets it go, which is code of the application's, too.
fn in_time<R: Rescue + 'static, T>(
    cx: Cx<'_>,
    common: &Common<'_>,
    lease: &Arc<R>,
    body: impl FnOnce() -> T,
) -> T {
    let armed = deadlines::arm(cx, common.limit(Answerer::Handler), Some(lease));
    let result = body();
    armed.close();
    result
}

/// What becomes of a request that a gateway answers.
enum Answered<'py> {
    Here(Outcome<'py>),
    /// It goes on without its worker.
    Suspended,
}

/// Answers a request where the entry is a gateway's handler: without a look at Python's module of it.
fn answer<'py>(
    cx: Cx<'py>,
    entry: &Entry<'_>,
    common: &Common<'_>,
    may_leave: bool,
    lease: &RequestLease,
    request: &Object<'py>,
) -> Option<Answered<'py>> {
    if is_debugged(common) {
        return None;
    }
    let answerer = gateway::answerer(entry.key)?;
    in_flight::is_at(match answerer {
        Answerer::Asgi => Work::ASGI,
        _ => Work::WSGI,
    });
    let armed = deadlines::arm(cx, common.limit(answerer), Some(lease));
    // As where Python calls: a panic is an error of the handler's, and ends as one.
    let answered = guard("python", || {
        gateway::answer(cx, entry.key, request, may_leave)
    });
    let answered = answered.unwrap_or_else(|place| {
        cx.log_process(Level::Critical, &place);
        Some(Err(PySystemError::new_err(place)))
    });
    // What it has returned by then, it has returned knowing.
    armed.close();
    let answered = match answered? {
        Ok(Status::SUSPENDED) => return Some(Answered::Suspended),
        Ok(status) => status.0.into_bound_py_any(cx.py),
        Err(error) => Err(error),
    };
    let answered = answered.map_err(|error| exception::value(cx.py, error));
    Some(Answered::Here(Outcome::of(cx, answered, false)))
}

/// What becomes of an answer that has not become complete, apart from its worker.
fn finish<'py>(cx: Cx<'py>, failed: Box<Failed>) -> Outcome<'py> {
    let finished = failed.finish(cx);
    let finished = finished.and_then(|status| status.0.into_bound_py_any(cx.py));
    let finished = finished.map_err(|error| exception::value(cx.py, error));
    Outcome::of(cx, finished, false)
}

fn is_debugged(common: &Common<'_>) -> bool {
    common.enable_pdb == Some(true) && is_defined(c"ONE_PROCESS")
}

fn debug<'py>(
    cx: Cx<'py>,
    callable: &Object<'py>,
    argument: &Object<'py>,
) -> Result<Object<'py>, Object<'py>> {
    let debugger = cx.apache().and_then(|apache| apache.getattr("_debug"));
    let called = debugger.and_then(|debugger| debugger.call1((callable, argument)));
    called.map_err(|error| exception::value(cx.py, error))
}
