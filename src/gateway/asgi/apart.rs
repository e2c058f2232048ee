//! A request whose worker never attaches the interpreter: the loop's thread makes all that is of Python, since it is attached anyway, while
//! the worker waits. A lock that changes hands with each request would cost more than the request.
//!
//! That is so for requests of the plainest kind alone; where something is not as it mostly is, the loop's thread *declines*, and the
//! worker does all by itself (`handler`). Nothing has been done by then that would be done twice.

use super::channel::Channel;
use super::conversation::{Conversation, Ending};
use super::departed::{Departed, finish};
use super::gateway::GATEWAY;
use super::handler::announces_body;
use super::http::{Can, Http};
use super::inbox::{Arrival, Beginning};
use super::messages::interned;
use super::scope::{Failure, may_debug, scope};
use super::{event_loop, options, websocket};
use crate::config::ModPython;
use crate::embed::cell::Ref;
use crate::embed::class;
use crate::embed::interpreter::Interpreter;
use crate::embed::{self, Cx, PerInterpreter, exception};
use crate::exchange::{Exchange, RequestLease};
use crate::gateway::application;
use crate::gateway::call::Call;
use crate::httpd::request::Request as Host;
use crate::httpd::status::Status;
use crate::streams;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;

type Object<'py> = Bound<'py, PyAny>;

/// What becomes of a request.
pub(crate) enum Apart {
    /// Nothing yet: the worker has to answer it, attached.
    Declined,
    Answered,
    /// It goes on without its worker.
    Leaves,
    Failed(Box<Failed>),
}

/// An answer that has not become complete.
pub(crate) struct Failed {
    conversation: Conversation,
    ending: Ending,
}

impl Failed {
    /// What becomes of it.
    ///
    /// # Errors
    /// What the application has raised, where nothing has left.
    pub(crate) fn finish(self, cx: Cx<'_>) -> PyResult<Status> {
        let call = Call {
            cx,
            lease: self.conversation.lease().clone(),
            gateway: &GATEWAY,
            may_leave: false,
        };
        finish(&call, &self.conversation, self.ending)
    }
}

/// Answers a request in the content phase, whose turn is open. Called detached.
pub(crate) fn apart(
    interpreter: &'static Interpreter,
    lease: &RequestLease,
    host: Host<'_>,
) -> Apart {
    let common = &host.config::<ModPython>().common;
    // A mistake in an option is told by who is attached.
    let (Some(inbox), Ok(detach_after)) = (
        event_loop::running(interpreter),
        options::detach_after(common),
    ) else {
        return Apart::Declined;
    };
    if websocket::is_asked_for(host) || announces_body(host) {
        return Apart::Declined;
    }
    let channel = Arc::new(Channel::new(inbox.clone(), false));
    let leaves = host.may_leave() && streams::is_ready();
    let mut conversation = Conversation::new(
        lease.clone(),
        channel.clone(),
        host,
        detach_after.filter(|_| leaves),
        None,
    );
    let arrival = Box::new(Arriving {
        lease: lease.clone(),
        channel,
        is_prepared: Cell::new(false),
    });
    if inbox.begin(Beginning::Arrival(arrival)).is_err() {
        return Apart::Declined;
    }
    inbox.ring();
    match conversation.run() {
        Ending::Leaves => {
            streams::depart(Box::new(Departed::new(interpreter, conversation)));
            Apart::Leaves
        }
        Ending::Declined => Apart::Declined,
        ending => {
            conversation.channel().leave();
            match ending {
                Ending::Answered => Apart::Answered,
                ending => Apart::Failed(Box::new(Failed {
                    conversation,
                    ending,
                })),
            }
        }
    }
}

static EXCHANGE: PerInterpreter<Ref> = PerInterpreter::new();

/// The attribute of `mod_python._asgi.Later`.
fn exchange_name<'py>(cx: Cx<'py>) -> PyResult<Bound<'py, PyString>> {
    let Ok(name) = EXCHANGE.get(cx, || Ok::<_, Infallible>(interned(cx, "exchange")));
    Ok(name.bind(cx.py).cast_into()?)
}

/// A request that lies in a loop's inbox.
struct Arriving {
    lease: RequestLease,
    channel: Arc<Channel>,
    is_prepared: Cell<bool>,
}

impl Arrival for Arriving {
    fn prepare<'py>(&self, cx: Cx<'py>, later: &Object<'py>) -> Option<Object<'py>> {
        let prepared = exception::or_discard(cx.py, self.parts(cx, later)).flatten();
        self.is_prepared.set(prepared.is_some());
        prepared
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if !self.is_prepared.get() {
            self.channel.decline();
        }
    }
}

impl Arriving {
    /// As `handler` makes it. None where something is to be done that may take its time, or is to be told.
    fn parts<'py>(&self, cx: Cx<'py>, later: &Object<'py>) -> PyResult<Option<Object<'py>>> {
        let Ok(held) = embed::acquire(cx.py, &self.lease) else {
            return Ok(None);
        };
        Exchange::check_way_out(&held)?;
        let host = held.request();
        if held.is_over() || host.eos_sent() != 0 {
            return Ok(None);
        }
        let Some(mounted) = application::mounted(cx, &GATEWAY, &held)? else {
            return Ok(None);
        };
        let Some(application) = application::known(cx, &held, &mounted)? else {
            return Ok(None);
        };
        let can = Can {
            trail: host.can_trail(),
            debug: may_debug(host),
        };
        let ours = later.call0()?;
        let scope = match scope(cx, &held, &mounted, &ours, None) {
            Ok(scope) => scope,
            Err(Failure::Path) => return Ok(None),
            Err(Failure::Raised(error)) => return Err(error),
        };
        let lifespan = options::lifespan(&host.config::<ModPython>().common);
        let lease = Some(self.lease.clone());
        let exchange = Http::new(self.channel.clone(), lease, host, can);
        // From here on the worker would take a failure for one of the application's.
        let exchange = class::instance(cx, exchange)?;
        ours.setattr(exchange_name(cx)?, &exchange)?;
        let parts = (exchange, application, &*mounted.name, scope, lifespan);
        parts.into_bound_py_any(cx.py).map(Some)
    }
}
