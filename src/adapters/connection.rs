//! PythonConnectionHandler: a handler of whole connections, whatever protocol they speak.

use super::{Outcome, Subject, call, in_time, serve};
use crate::config::interpreters::MAIN;
use crate::config::{Common, Entry, ModPython};
use crate::embed::in_flight::Work;
use crate::embed::registry::{self, Found};
use crate::embed::{Cx, class, exception};
use crate::httpd::request::connection::Connection as ConnRec;
use crate::httpd::request::lease::{Lease, OfConnection};
use crate::httpd::status::Status;
use crate::objects::connection::Connection;
use crate::report::{self, Described};
use std::sync::Arc;
use std::time::SystemTime;

/// Runs the handler of whole connections; DECLINED when there is none.
pub(crate) fn run(connection: ConnRec<'_>) -> Status {
    let Some(server) = connection.base_server() else {
        return Status::DECLINED;
    };
    let config = server.config::<ModPython>();
    let Some(entry) = config.connection.and_then(|list| list.entries.first()) else {
        return Status::DECLINED;
    };
    let name = server.server_hostname().and_then(|name| name.to_str().ok());
    let name = config.common.interpreter.or(name).unwrap_or(MAIN);
    let lease = Lease::for_connection(connection);
    let found = registry::find(name, config.home).map_err(Described::from);
    let result = found.and_then(|found| {
        // Of a pool, a seat for as long as the connection lasts.
        let (seat, interpreter) = match found {
            Found::One(interpreter) => (None, interpreter),
            Found::Pool(pool) => {
                let seat = pool.enter().ok_or_else(|| "the pool is empty".to_owned())?;
                let interpreter = seat.interpreter();
                (Some(seat), interpreter)
            }
        };
        let subject = Subject::Connection(connection, lease);
        let result = serve(subject, Work::CONNECTION, interpreter, |cx| {
            handle(cx, lease, entry, &config.common)
        });
        drop(seat);
        result?
    });
    result.unwrap_or_else(|what| {
        let place = format!("PythonConnectionHandler {}", entry.text);
        report::traceback_outside(connection, &place, &what);
        Status::INTERNAL_SERVER_ERROR
    })
}

/// The handler's result, or what is to be logged.
fn handle(
    cx: Cx<'_>,
    lease: &Arc<Lease<OfConnection>>,
    entry: &Entry<'_>,
    common: &Common<'_>,
) -> Result<Status, Described> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = i64::try_from(now.unwrap_or_default().as_micros()).unwrap_or(i64::MAX);
    let argument = class::instance(cx, Connection::of_handler(lease.clone(), entry.text));
    let outcome = argument.map_or_else(
        |error| Some(Outcome::Raised(exception::value(cx.py, error))),
        |argument| call(cx, entry, common, now, Some(lease), &argument),
    );
    let status = match outcome {
        Some(Outcome::Returned(result) | Outcome::ServerReturn(result, _)) => {
            exception::exact_int(&result).and_then(Status::of_handler)
        }
        Some(Outcome::Raised(raised) | Outcome::TimedOut(Some(raised))) => {
            report::count(cx);
            return Err(in_time(cx, common, lease, || {
                let what = report::describe(cx, &raised);
                drop(raised);
                what
            }));
        }
        // The log has been told.
        Some(Outcome::TimedOut(None)) => Some(Status::INTERNAL_SERVER_ERROR),
        None => None,
    };
    status.ok_or_else(|| {
        report::count(cx);
        "the handler's result must be an int such as apache.OK"
            .to_owned()
            .into()
    })
}
