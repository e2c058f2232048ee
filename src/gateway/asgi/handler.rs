//! A request as its worker begins with it: gives it to the interpreter's loop, and has the conversation done.

use super::channel::Channel;
use super::conversation::{Conversation, Ending};
use super::departed::{Departed, finish};
use super::gateway::GATEWAY;
use super::http::{Can, Http};
use super::scope::{Failure, may_debug, ours, scope};
use super::{event_loop, options, websocket};
use crate::config::ModPython;
use crate::embed::class::{self, Args, Function, function};
use crate::embed::{Cx, deadlines};
use crate::gateway::call::{Answerer, Call};
use crate::httpd::log::Level;
use crate::httpd::request::Request as Host;
use crate::httpd::status::Status;
use crate::streams;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

type Object<'py> = Bound<'py, PyAny>;

/// Answers a request, for `_apache`.
pub(in crate::gateway) const HANDLER: Function = function!(
 c"asgi(req, /)", c"answers a request with the application of PythonOption mod_python.asgi.application (ASGI 3.0).", handler,
);

fn handler<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let status = Call::serve_inside(
        cx,
        &GATEWAY,
        &args.required(0)?,
        websocket::is_asked_for,
        answer,
    )?;
    status.0.into_bound_py_any(cx.py)
}

/// Answers a request.
///
/// # Errors
/// What ends the request with an error's page.
pub(in crate::gateway) fn answer<'py>(call: &Call<'py>, request: &Object<'py>) -> PyResult<Status> {
    let cx = call.cx;
    let held = call.hold()?;
    let (mounted, application) = match call.answerer(&held)? {
        Answerer::Application(mounted, application) => (mounted, application),
        Answerer::Nobody(status) => return Ok(status),
    };
    let host = held.request();
    if websocket::is_asked_for(host) {
        // It lasts for as long as its two ends like.
        deadlines::over(cx);
        let prepared = websocket::prepare(call, &held, &mounted, application, request)?;
        drop(held);
        return prepared.map_or_else(Ok, |prepared| prepared.run(call));
    }
    let has_body = announces_body(host);
    if has_body && let Err(status) = host.check_body() {
        held.value().refused.set(Some(status));
        return Ok(status);
    }
    let scope = match scope(cx, &held, &mounted, &ours(cx, request)?, None) {
        Ok(scope) => scope,
        Err(Failure::Path) => {
            let text = "the path of the URL is no UTF-8; an ASGI application cannot be told of it";
            cx.log(host, Level::Info, text);
            return Ok(Status::BAD_REQUEST);
        }
        Err(Failure::Raised(error)) => return Err(error),
    };
    let common = &host.config::<ModPython>().common;
    let inbox = event_loop::inbox(cx, options::kind(common))?;
    let channel = Arc::new(Channel::new(inbox.clone(), has_body));
    let can = Can {
        trail: host.can_trail(),
        debug: may_debug(host),
    };
    let exchange = class::instance(cx, Http::new(channel.clone(), None, host, can))?;
    let lifespan = options::lifespan(common);
    let Ok(left) = deadlines::hand_over(cx) else {
        return Err(call.time_out());
    };
    // Where nothing is armed, as behind a handler that calls this one, nothing is due.
    let limit = left.and_then(|_| common.limit(call.gateway.answerer));
    let limit = limit.map_or(0, NonZeroU64::get);
    let due = left.map_or(0, deadlines::due_in);
    let parts = (
        exchange,
        application,
        &*mounted.name,
        scope,
        lifespan,
        due,
        limit,
    );
    let parts = parts.into_bound_py_any(cx.py)?;
    let leaves = call.may_leave && !has_body && host.may_leave() && streams::is_ready();
    let mut conversation = Conversation::new(
        call.lease.clone(),
        channel,
        host,
        options::detach_after(common)
            .map_err(PyValueError::new_err)?
            .filter(|_| leaves),
        left.map(|left| Instant::now() + left),
    );
    // Not held while the application runs, which may use the request object.
    drop(held);
    event_loop::begin(&inbox, parts)?;
    let ending = cx.detached(&mut conversation, |conversation| {
        conversation.channel().ring();
        let ending = conversation.run();
        if let Ending::Late = ending {
            deadlines::late();
        }
        ending
    });
    if let Ending::Leaves = ending {
        streams::depart(Box::new(Departed::new(cx.interpreter, conversation)));
        return Ok(Status::SUSPENDED);
    }
    conversation.channel().leave();
    finish(call, &conversation, ending)
}

/// Do the headers announce a body?
pub(super) fn announces_body(host: Host<'_>) -> bool {
    host.headers_in().is_some_and(|table| {
        table.first(c"Transfer-Encoding").is_some()
            || table
                .first(c"Content-Length")
                .is_some_and(|length| length != c"0")
    })
}
