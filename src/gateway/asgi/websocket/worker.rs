//! The worker's side of a WebSocket: the handshake, and the answer of one that is refused. Detached all the while.

use super::super::conversation::start;
use super::super::event_loop;
use super::super::inbox::Inbox;
use super::super::options::{self, Limits};
use super::super::parts::HeadParts;
use super::super::scope::{Failure, ours, scope};
use super::channel::{Channel, Order};
use super::handshake::{self, Asked};
use super::socket::WebSocket;
use super::stream::Departed;
use super::talk::Talk;
use super::work::{Ending, Work, conclude};
use crate::config::ModPython;
use crate::embed::class;
use crate::exchange::Exchange;
use crate::gateway::answer::Answer;
use crate::gateway::application::Mounted;
use crate::gateway::call::Call;
use crate::httpd::io::output::End;
use crate::httpd::io::watch::Presence;
use crate::httpd::log::Level;
use crate::httpd::request::connection::Socket;
use crate::httpd::request::lease::Held;
use crate::httpd::status::Status;
use crate::streams;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use std::sync::Arc;
use std::time::Duration;

type Object<'py> = Bound<'py, PyAny>;

/// A WebSocket that the loop has not been given yet.
pub(in super::super) struct Prepared<'py> {
    parts: Object<'py>,
    exchange: Object<'py>,
    inbox: Arc<Inbox>,
    channel: Arc<Channel>,
    asked: Asked,
    limits: Limits,
    leaves: bool,
}

/// Reads the handshake of a request that asks for a WebSocket. Gives the status where it is wrong.
///
/// # Errors
/// What Python raises; ValueError for options that are wrong.
pub(in super::super) fn prepare<'py>(
    call: &Call<'py>,
    held: &Held<'_, Exchange>,
    mounted: &Mounted<'_>,
    application: Object<'py>,
    request: &Object<'py>,
) -> PyResult<Result<Prepared<'py>, Status>> {
    let (cx, host) = (call.cx, held.request());
    let common = &host.config::<ModPython>().common;
    let limits = Limits::of(common)?;
    if host.proto_num() >= 2000 && host.connection().pipe().is_none() {
        let text = "a WebSocket over HTTP/2 was asked for (RFC 8441), and this httpd does not tell when its client sends something; clients \
                    turn to HTTP/1.1 where H2WebSockets is off";
        cx.log(host, Level::Info, text);
        return Ok(Err(Status(501)));
    }
    let asked = match handshake::asked(host, limits.may_deflate) {
        Ok(asked) => asked,
        Err(status) => return Ok(Err(status)),
    };
    let subprotocols = asked.subprotocols.clone();
    let scope = match scope(
        cx,
        held,
        mounted,
        &ours(cx, request)?,
        Some(subprotocols.clone()),
    ) {
        Ok(scope) => scope,
        Err(Failure::Path) => return Ok(Err(Status::BAD_REQUEST)),
        Err(Failure::Raised(error)) => return Err(error),
    };
    let inbox = event_loop::inbox(cx, options::kind(common))?;
    let channel = Arc::new(Channel::new(inbox.clone(), limits.queue));
    let exchange = class::instance(cx, WebSocket::new(channel.clone(), subprotocols, host))?;
    let lifespan = options::lifespan(common);
    let parts = (&exchange, application, &*mounted.name, scope, lifespan);
    Ok(Ok(Prepared {
        parts: parts.into_bound_py_any(cx.py)?,
        exchange,
        inbox,
        channel,
        asked,
        limits,
        leaves: call.may_leave && host.may_leave() && streams::is_ready(),
    }))
}

impl Prepared<'_> {
    /// Has the application answer. Returns when the WebSocket has been closed, or goes on without this worker.
    ///
    /// # Errors
    /// What the application has raised before it has accepted.
    pub(in super::super) fn run(self, call: &Call<'_>) -> PyResult<Status> {
        event_loop::begin(&self.inbox, self.parts)?;
        let answer = Answer::default();
        let work = Work {
            lease: &call.lease,
            answer: &answer,
            channel: &self.channel,
            asked: &self.asked,
            limits: &self.limits,
            leaves: self.leaves,
        };
        let done = call.cx.detached(&work, |work| {
            work.channel.ring();
            let done = work.run();
            if !matches!(done, Ok(Some(_))) {
                work.channel.leave();
            }
            done
        });
        match done {
            Ok(Some(talk)) => {
                streams::depart(Box::new(Departed::new(call, talk, self.exchange)));
                Ok(Status::SUSPENDED)
            }
            Ok(None) => Ok(Status::OK),
            Err(ending) => conclude(call, &self.exchange, &answer, ending),
        }
    }
}

/// So often the worker looks whether the client is still there.
const SHORT: Duration = Duration::from_secs(1);

impl Work<'_> {
    /// Serves the WebSocket until its end, or, where it can leave its worker, until it has been accepted.
    fn run(&self) -> Result<Option<Talk>, Ending> {
        loop {
            let Some(found) = self.channel.wait(SHORT) else {
                if self.channel.is_abandoned() {
                    return Err(Ending::Over(false));
                }
                let held = self.hold()?;
                let connection = held.request().connection();
                // What a stream of HTTP/2 gives first is no sign of its client's (`Tunnel`).
                let is_gone = match connection.socket() {
                    Socket::Shared => connection.aborted(),
                    Socket::Open(_) | Socket::Closed => {
                        matches!(connection.presence(), Presence::Gone | Presence::Finished)
                    }
                };
                drop(held);
                if is_gone {
                    self.channel.disconnect(1006, "");
                    return Err(Ending::Gone);
                }
                continue;
            };
            let mut orders = found.orders;
            while let Some(order) = orders.pop_front() {
                match order {
                    Order::Accept(accepted) => {
                        let head = self
                            .asked
                            .answer(accepted.subprotocol.as_deref(), &accepted.head);
                        let talk = Talk::begin(self, &head, orders, !self.leaves)?;
                        return match self.leaves {
                            true => Ok(Some(talk)),
                            false => talk.run().map(|()| None),
                        };
                    }
                    Order::Refuse => return Err(Ending::Refused),
                    Order::Deny(head, data, is_last) => {
                        self.deny(head, &data, is_last)?;
                        if is_last {
                            return Ok(None);
                        }
                    }
                    // These come behind an Accept only.
                    Order::Send(..) | Order::Close(..) | Order::Part(..) => {}
                }
            }
            self.channel.sent();
            if found.over.is_some() {
                return Err(Ending::Over(false));
            }
        }
    }

    /// Sends a part of an answer that denies.
    fn deny(&self, head: Option<HeadParts>, data: &[u8], is_last: bool) -> Result<(), Ending> {
        let held = self.hold()?;
        if let Some(parts) = head {
            start(self.answer, &held, &parts).map_err(Ending::Wrong)?;
        } else if data.is_empty() && !is_last {
            // The head comes with the first part of the body.
            return Ok(());
        }
        let end = if is_last { End::OfStream } else { End::Flush };
        Ok(self.answer.part(&held, data, end)?)
    }
}
