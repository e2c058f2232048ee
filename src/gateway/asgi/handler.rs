//! The worker's side: gives a request to the interpreter's loop, then does all of httpd's input and output for it, without the
//! interpreter's lock. It is the only thread that uses the request (but for what the application does with the request object).

use super::channel::{Channel, HeadParts, Job};
use super::gateway::GATEWAY;
use super::http::Http;
use super::scope::{Failure, scope};
use super::{event_loop, options, websocket};
use crate::config::ModPython;
use crate::embed::class::{self, Args, Function, function};
use crate::embed::{Cx, Detachable};
use crate::exchange::{Exchange, RequestLease};
use crate::gateway::answer::Answer;
use crate::gateway::call::{Answerer, Call, Stop};
use crate::gateway::headers;
use crate::httpd::io::Aborted;
use crate::httpd::io::body::ReadError;
use crate::httpd::io::output::End;
use crate::httpd::io::watch::{self, Presence};
use crate::httpd::log::Level;
use crate::httpd::request::Request as Host;
use crate::httpd::request::lease::Held;
use crate::httpd::status::Status;
use crate::streams::bell::Bell;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Object<'py> = Bound<'py, PyAny>;

/// Answers a request, for `_apache`.
pub(in crate::gateway) const HANDLER: Function = function!(
 c"asgi(req, /)", c"answers a request with the application of PythonOption mod_python.asgi.application (ASGI 3.0).", handler,
);

fn handler<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let status = Call::serve(cx, &GATEWAY, &args.required(0)?, false, answer)?;
    status.0.into_bound_py_any(cx.py)
}

/// Answers a request.
///
/// # Errors
/// What ends the request with an error's page.
pub(in crate::gateway) fn answer<'py>(call: &Call<'py>, request: &Object<'py>) -> PyResult<Status> {
    let cx = call.cx;
    let held = call.hold()?;
    let (mounted, application) = match call.answerer(&held, request)? {
        Answerer::Application(mounted, application) => (mounted, application),
        Answerer::Nobody(status) => return Ok(status),
    };
    let host = held.request();
    if websocket::is_asked_for(host) {
        let prepared = websocket::prepare(call, &held, &mounted, application, request)?;
        drop(held);
        return prepared.map_or_else(Ok, |prepared| prepared.run(call));
    }
    let has_body = announces_body(host);
    if has_body && let Err(status) = host.check_body() {
        held.value().refused.set(Some(status));
        return Ok(status);
    }
    let scope = match scope(cx, &held, &mounted, request, None) {
        Ok(scope) => scope,
        Err(Failure::Path) => {
            let text = "the path of the URL is no UTF-8; an ASGI application cannot be told of it";
            cx.log(host, Level::Info, text);
            return Ok(Status::BAD_REQUEST);
        }
        Err(Failure::Raised(error)) => return Err(error),
    };
    let common = &host.config::<ModPython>().common;
    let inbox = event_loop::inbox(cx, common)?;
    let channel = Arc::new(Channel::new(inbox.clone(), has_body));
    let exchange = class::instance(cx, Http::new(channel.clone(), host.header_only()))?;
    let lifespan = options::lifespan(common);
    let parts = (&exchange, application, &*mounted.name, scope, lifespan);
    let parts = parts.into_bound_py_any(cx.py)?;
    let work = Work {
        lease: &call.lease,
        answer: &Answer::default(),
        channel: &channel,
        patience: Duration::from_secs_f64(host.server().timeout().max(1.0)),
    };
    // Not held while the application runs, which may use the request object.
    drop(held);
    event_loop::begin(&inbox, parts)?;
    let ending = cx.detached(&work, |work| {
        work.channel.ring();
        let ending = work.run();
        work.channel.leave();
        ending
    });
    finish(call, &work, ending, &exchange)
}

/// Do the headers announce a body?
fn announces_body(host: Host<'_>) -> bool {
    host.headers_in().is_some_and(|table| {
        table.first(c"Transfer-Encoding").is_some()
            || table
                .first(c"Content-Length")
                .is_some_and(|length| length != c"0")
    })
}

/// What becomes of the request, once the worker has nothing more to do for it.
fn finish(
    call: &Call<'_>,
    work: &Work<'_>,
    ending: Ending,
    exchange: &Object<'_>,
) -> PyResult<Status> {
    match ending {
        Ending::Answered => Ok(Status::OK),
        Ending::Gone => {
            let held = call.hold()?;
            held.request().give_up();
            drop(held);
            call.stopped(work.answer, Stop::Gone)
        }
        Ending::Refused(status) => match work.answer.has_left() {
            true => {
                let text = format!("the request's body was refused ({})", status.0);
                call.stopped(work.answer, Stop::Broken(text))
            }
            false => Ok(status),
        },
        Ending::Wrong(text) => call.stopped(work.answer, Stop::Broken(text)),
        Ending::Over => {
            let exchange = class::this::<Http>(call.cx, exchange)?;
            let error = match exchange.error.get(call.cx.py) {
                Some(error) => PyErr::from_value(error),
                None => PyRuntimeError::new_err(match work.answer.has_left() {
                    true => "ASGI: the application has ended before its answer was complete",
                    false => "ASGI: the application has ended without an answer",
                }),
            };
            call.failed(work.answer, error)
        }
    }
}

/// How the worker's part has ended.
enum Ending {
    Answered,
    /// The client has gone.
    Gone,
    /// httpd has refused the request's body.
    Refused(Status),
    Wrong(String),
    /// The application has ended, and its answer is not complete.
    Over,
}

impl From<Aborted> for Ending {
    fn from(_: Aborted) -> Ending {
        Ending::Gone
    }
}

/// One request, as its worker sees it. Nothing of Python is in it.
struct Work<'a> {
    lease: &'a RequestLease,
    answer: &'a Answer,
    channel: &'a Channel,
    /// httpd's Timeout.
    patience: Duration,
}

impl Detachable for Work<'_> {}

/// So long a worker only waits for the application; then it looks after its client, too.
const SHORT: Duration = Duration::from_secs(1);

thread_local! {
    /// What wakes this worker while it waits for its client.
    static BELL: OnceCell<Option<Bell>> = const { OnceCell::new() };
}

impl Work<'_> {
    /// Does what is to be done until the answer is complete, or cannot be.
    fn run(&self) -> Ending {
        match self.channel.wait(SHORT, true) {
            Some(Job::Send {
                head,
                data,
                is_last: true,
            }) => match self.send(head, &data, true) {
                Ok(()) => Ending::Answered,
                Err(ending) => ending,
            },
            Some(Job::Over) => Ending::Over,
            job => BELL.with(|bell| {
                let bell = bell.get_or_init(|| Bell::new().ok()).as_ref();
                match self.converse(job, bell) {
                    Ok(()) => Ending::Answered,
                    Err(ending) => ending,
                }
            }),
        }
    }

    /// Goes on where that takes several steps.
    fn converse(&self, mut job: Option<Job>, bell: Option<&Bell>) -> Result<(), Ending> {
        let client = self.hold()?.request().connection().descriptor();
        let mut client = Client {
            descriptor: client.filter(|_| bell.is_some()),
            is_deaf: false,
        };
        // Since when it waits for a part of the request's body.
        let mut reading = None;
        loop {
            match job.take() {
                Some(Job::Send {
                    head,
                    data,
                    is_last,
                }) => {
                    self.send(head, &data, is_last)?;
                    if is_last {
                        return Ok(());
                    }
                    self.channel.sent();
                }
                Some(Job::Over) => return Err(Ending::Over),
                Some(Job::Read) => reading = Some(Instant::now()),
                None => {}
            }
            if job.is_none() && self.channel.is_abandoned() {
                return Err(Ending::Over);
            }
            if reading.is_some() && self.read(&client)? {
                reading = None;
            }
            let rest = reading.map(|since: Instant| self.patience.saturating_sub(since.elapsed()));
            if rest.is_some_and(|rest| rest.is_zero()) {
                self.refuse(Status::REQUEST_TIME_OUT)?;
            }
            job = match (client.descriptor, bell) {
                (Some(descriptor), Some(bell)) => {
                    let job = self.channel.job_or(&bell.rope());
                    if job.is_none() {
                        let reads = reading.is_some() || !client.is_deaf;
                        let time = rest.unwrap_or(self.patience);
                        let seen = watch::wait(descriptor, reads, bell.descriptor(), time);
                        bell.hush();
                        if seen.is_of_client() && reading.is_none() {
                            self.look(&mut client)?;
                        }
                    }
                    job
                }
                _ => {
                    if self.hold()?.request().connection().aborted() {
                        return Err(Ending::Gone);
                    }
                    self.channel.wait(SHORT, false)
                }
            };
        }
    }

    /// Holds the request; nobody else does so for longer than one operation.
    fn hold(&self) -> Result<Held<'_, Exchange>, Ending> {
        let gone = |_| Ending::Wrong("the request has ended".into());
        self.lease.acquire().map_err(gone)
    }

    /// Looks whether the client is still there.
    fn look(&self, client: &mut Client) -> Result<(), Ending> {
        if client.is_deaf {
            // It has nothing more to say, and is watched for nothing else.
            return Err(Ending::Gone);
        }
        match self.hold()?.request().connection().presence() {
            Presence::Gone => Err(Ending::Gone),
            Presence::Silent => Ok(()),
            Presence::Sends => {
                client.is_deaf = true;
                Ok(())
            }
        }
    }

    fn send(&self, head: Option<HeadParts>, data: &[u8], is_last: bool) -> Result<(), Ending> {
        let held = self.hold()?;
        if let Some(parts) = head {
            start(self.answer, &held, &parts).map_err(Ending::Wrong)?;
        }
        let end = if is_last { End::OfStream } else { End::Flush };
        Ok(self.answer.part(&held, data, end)?)
    }

    /// Gives the application a block of the request's body, if there is one now.
    fn read(&self, client: &Client) -> Result<bool, Ending> {
        let held = self.hold()?;
        let Ok(mut input) = held.value().input.try_borrow_mut() else {
            return Err(Ending::Wrong(
                "the request's body is being read already".into(),
            ));
        };
        let may_wait = client.descriptor.is_none();
        match input.block(held.request(), may_wait) {
            Ok(None) => Ok(false),
            Ok(Some((data, more))) => {
                drop(input);
                drop(held);
                self.channel.deliver(data, more);
                Ok(true)
            }
            Err(ReadError::Refused(status)) => {
                drop(input);
                drop(held);
                self.refuse(status)
            }
            Err(ReadError::Slow) => {
                drop(input);
                drop(held);
                self.refuse(Status::REQUEST_TIME_OUT)
            }
            Err(ReadError::Lost) => {
                held.value().lost.set(true);
                Err(Ending::Gone)
            }
        }
    }

    /// The body cannot be read on: the application is told that its client has gone, and httpd's status is the answer.
    fn refuse<T>(&self, status: Status) -> Result<T, Ending> {
        self.hold()?.value().refused.set(Some(status));
        Err(Ending::Refused(status))
    }
}

/// Gives the answer its head.
///
/// # Errors
/// What is wrong with it.
pub(super) fn start(
    answer: &Answer,
    held: &Held<'_, Exchange>,
    parts: &HeadParts,
) -> Result<(), String> {
    let request = held.request();
    let line = parts.status.to_string();
    let mut head = headers::head(request, line.as_bytes())?;
    for (name, value) in parts.headers() {
        headers::add(&mut head, request, name, value)?;
    }
    let late = |_| "the answer has been started twice".into();
    answer.start(head).map_err(late)
}

/// The client's socket.
struct Client {
    /// None where there is none of the request's own (HTTP/2).
    descriptor: Option<i32>,
    /// It has sent something that nobody reads now, such as the next request: only its end is looked for.
    is_deaf: bool,
}
