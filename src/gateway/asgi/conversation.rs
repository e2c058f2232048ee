//! httpd's side of one request: does all of httpd's input and output for an application, without the interpreter's lock. Its worker
//! keeps it, or the streams' thread.

use super::channel::{Channel, Job};
use super::parts::HeadParts;
use crate::embed::Detachable;
use crate::exchange::{Exchange, RequestLease};
use crate::gateway::answer::{Answer, Stage};
use crate::gateway::headers;
use crate::httpd::io::Aborted;
use crate::httpd::io::body::ReadError;
use crate::httpd::io::file_part::FilePart;
use crate::httpd::io::output::End;
use crate::httpd::io::poll::Interest;
use crate::httpd::io::unwaited::MOST;
use crate::httpd::io::watch::{self, Presence};
use crate::httpd::request::Request as Host;
use crate::httpd::request::connection::Socket;
use crate::httpd::request::lease::Held;
use crate::httpd::status::Status;
use crate::streams::bell::{Bell, Rope};
use crate::streams::{Step, Wants};
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How it has ended.
pub(super) enum Ending {
    Answered,
    /// The client has gone.
    Gone,
    /// httpd has refused the request's body.
    Refused(Status),
    Wrong(String),
    /// The application has ended, and its answer is not complete.
    Over,
    /// It goes on without its worker.
    Leaves,
    /// It has taken longer than PythonTimeout says.
    Late,
    /// The loop has not begun with it.
    Declined,
}

impl From<Aborted> for Ending {
    fn from(_: Aborted) -> Ending {
        Ending::Gone
    }
}

/// One request. Nothing of Python is in it; it is the only one to use the request (but for what the application does with the
/// request object).
pub(super) struct Conversation {
    lease: RequestLease,
    answer: Answer,
    channel: Arc<Channel>,
    /// httpd's Timeout.
    patience: Duration,
    /// After how long a silence it leaves its worker; None is never.
    detach_after: Option<Duration>,
    /// When it has taken longer than PythonTimeout says. What its client takes counts for nothing.
    due: Option<Instant>,
    /// Has it left its worker, so that it may wait for nothing?
    has_left: bool,
    /// What is being sent.
    part: Option<Part>,
    /// Since when the client has not taken what was sent.
    stuck: Option<Instant>,
    /// Since when it waits for a part of the request's body.
    reading: Option<Instant>,
    /// The client has sent something that nobody reads now, such as the next request: only its end is looked for.
    is_deaf: bool,
    /// Since when the client sends nothing more, and the application has not been told, or has sent something all the same.
    finished: Option<Instant>,
}

impl Detachable for &mut Conversation {}

/// A part of the answer, and how much of it has been sent.
struct Part {
    data: Vec<u8>,
    sent: usize,
    /// Sent in place of data.
    file: Option<FilePart>,
    is_last: bool,
}

/// So many bytes are sent before other streams have their turn.
const MOST_OF_A_STEP: usize = 16 * MOST;

/// For so long an application that does not ask whether its client is there may be silent behind the end of what the client sends: such a
/// client takes an answer, as others do that have closed.
const GRACE: Duration = Duration::from_secs(5);

/// So long a worker only waits for the application; then it looks after its client, too.
const SHORT: Duration = Duration::from_secs(1);

thread_local! {
    /// What wakes this worker while it waits for its client.
    static BELL: OnceCell<Option<Bell>> = const { OnceCell::new() };
}

impl Conversation {
    pub(super) fn new(
        lease: RequestLease,
        channel: Arc<Channel>,
        host: Host<'_>,
        detach_after: Option<Duration>,
        due: Option<Instant>,
    ) -> Conversation {
        Conversation {
            lease,
            answer: Answer::default(),
            channel,
            patience: Duration::from_secs_f64(host.server().timeout().max(1.0)),
            detach_after,
            due,
            has_left: false,
            part: None,
            stuck: None,
            reading: None,
            is_deaf: false,
            finished: None,
        }
    }

    pub(super) fn lease(&self) -> &RequestLease {
        &self.lease
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    pub(super) fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Does, in the worker, what is to be done until the answer is complete, or cannot be, or goes on without the worker.
    pub(super) fn run(&mut self) -> Ending {
        let first = self
            .detach_after
            .map_or(SHORT, |detach_after| detach_after.min(SHORT));
        let job = self.channel.wait(first.min(self.left()), true);
        match job {
            Some(Job::Over) => return Ending::Over,
            Some(Job::Gone) => return Ending::Gone,
            Some(Job::Declined) => return Ending::Declined,
            _ => {}
        }
        BELL.with(|bell| {
            let bell = || bell.get_or_init(|| Bell::new().ok()).as_ref();
            self.converse(job, bell).unwrap_or_else(|ending| ending)
        })
    }

    /// Goes on until the end, however many steps that takes.
    fn converse<'b>(
        &mut self,
        mut job: Option<Job>,
        bell: impl Fn() -> Option<&'b Bell>,
    ) -> Result<Ending, Ending> {
        let mut silent = Instant::now();
        loop {
            let is_silent = job.is_none();
            if self.advance(job)? {
                return Ok(Ending::Answered);
            }
            if !is_silent {
                silent = Instant::now();
            }
            let socket = self.hold()?.request().connection().socket();
            let (descriptor, bell) = match (socket, bell()) {
                (Socket::Closed, _) => return Err(Ending::Gone),
                (Socket::Open(descriptor), Some(bell)) => (descriptor, bell),
                // It cannot be waited for (HTTP/2).
                (Socket::Shared, _) | (_, None) => {
                    if self.hold()?.request().connection().aborted() {
                        return Err(Ending::Gone);
                    }
                    job = self.channel.wait(SHORT.min(self.left()), false);
                    continue;
                }
            };
            job = self.channel.job_or(&bell.rope());
            if job.is_some() {
                continue;
            }
            let until_leaving = match self.detach_after {
                Some(detach_after) if self.may_leave()? => {
                    Some(detach_after.saturating_sub(silent.elapsed()))
                }
                _ => None,
            };
            if until_leaving.is_some_and(|rest| rest.is_zero()) {
                self.leave()?;
                return Ok(Ending::Leaves);
            }
            let wants = self.wants();
            let due = wants
                .due
                .map(|due| due.saturating_duration_since(Instant::now()));
            let time = [due, until_leaving].into_iter().flatten().min();
            // httpd closes the sockets of its workers when it stops at once, and waits for them; that wakes nobody.
            let time = time.unwrap_or(self.patience).min(SHORT);
            let seen = watch::wait(descriptor, wants.client, bell.descriptor(), time);
            bell.hush();
            if seen.is_of_client() {
                self.look()?;
            }
        }
    }

    /// May it go on without its worker? A part of the answer has been sent, and nothing on its way waits for anything but the client.
    fn may_leave(&self) -> Result<bool, Ending> {
        let may = self.reading.is_none() && self.part.is_none() && self.answer.has_left();
        Ok(may && self.hold()?.request().has_plain_way_out())
    }

    fn leave(&mut self) -> Result<(), Ending> {
        self.has_left = true;
        // Nobody reads another request of it.
        self.hold()?.request().connection().close_at_end();
        Ok(())
    }

    /// Does what can be done now, in the streams' thread: is the answer complete? The rope is pulled when the application has something;
    /// `is_stirred` says that the client has.
    pub(super) fn step(&mut self, rope: &Rope, is_stirred: bool) -> Result<Option<Step>, Ending> {
        if is_stirred && self.stuck.is_none() {
            self.look()?;
        }
        loop {
            let has_asked = self.part.is_none();
            let job = match has_asked {
                true => self.channel.job_or(rope),
                false => None,
            };
            let has_none = has_asked && job.is_none();
            if self.advance(job)? {
                return Ok(None);
            }
            if self.part.is_some() && self.stuck.is_none() {
                return Ok(Some(Step::Again));
            }
            if self.part.is_some() || has_none {
                return Ok(Some(Step::Wait(self.wants())));
            }
        }
    }

    /// What it waits for, beside the application.
    fn wants(&self) -> Wants {
        let due = |since: Option<Instant>| since.map(|since| since + self.patience);
        Wants {
            client: Interest {
                reads: self.stuck.is_none() && (self.reading.is_some() || !self.is_deaf),
                ends: self.stuck.is_none() && self.finished.is_none(),
                writes: self.stuck.is_some(),
                resets: true,
            },
            // Also where there is nothing: should the application's loop have ended, nobody else tells.
            due: [
                due(self.stuck),
                due(self.reading),
                self.due.filter(|_| self.stuck.or(self.reading).is_none()),
                due(Some(Instant::now())),
                self.finished.map(|since| since + GRACE),
            ]
            .into_iter()
            .flatten()
            .min(),
        }
    }

    /// Does what the application has given it to do, as far as that can be done. Is the answer complete?
    fn advance(&mut self, job: Option<Job>) -> Result<bool, Ending> {
        let has_none = job.is_none();
        match job {
            Some(Job::Hint(hint)) => {
                if self.answer.stage() == Stage::NotStarted {
                    self.hold()?.request().send_hint(hint.headers())?;
                }
                self.channel.sent();
            }
            Some(Job::Send {
                head,
                data,
                file,
                trailers,
                is_last,
            }) => {
                if let Some(parts) = head {
                    let held = self.hold()?;
                    start(&self.answer, &held, &parts).map_err(Ending::Wrong)?;
                }
                if let Some(trailers) = trailers {
                    self.hold()?.request().add_trailers(trailers.headers());
                }
                self.part = Some(Part {
                    data,
                    sent: 0,
                    file,
                    is_last,
                });
            }
            Some(Job::Over) => return Err(Ending::Over),
            Some(Job::Gone) => return Err(Ending::Gone),
            Some(Job::Declined) => return Err(Ending::Declined),
            Some(Job::Read) => self.reading = Some(Instant::now()),
            None => {}
        }
        if self.part.is_some() && self.send_in_time()? {
            return Ok(true);
        }
        if has_none && self.part.is_none() && self.channel.is_abandoned() {
            return Err(Ending::Over);
        }
        if let Some(since) = self.reading
            && self.read()?
        {
            self.reading = None;
            self.put_off(since);
        }
        let is_over =
            |since: Option<Instant>| since.is_some_and(|since| since.elapsed() >= self.patience);
        if is_over(self.stuck) {
            return Err(Ending::Gone);
        }
        if is_over(self.reading) {
            self.refuse(Status::REQUEST_TIME_OUT)?;
        }
        let is_silent =
            self.stuck.is_none() && self.finished.is_some_and(|since| since.elapsed() >= GRACE);
        if is_silent {
            return Err(Ending::Gone);
        }
        let waits_for_client = self.stuck.or(self.reading).is_some();
        if !waits_for_client && self.left().is_zero() {
            return Err(Ending::Late);
        }
        Ok(false)
    }

    /// How much of its time is left.
    fn left(&self) -> Duration {
        let left = |due: Instant| due.saturating_duration_since(Instant::now());
        self.due.map_or(Duration::MAX, left)
    }

    /// Since then it has waited for its client.
    fn put_off(&mut self, since: Instant) {
        if let Some(due) = &mut self.due {
            *due += since.elapsed();
        }
    }

    fn send_in_time(&mut self) -> Result<bool, Ending> {
        let since = self.due.map(|_| self.stuck.unwrap_or_else(Instant::now));
        let sent = self.send()?;
        if let Some(since) = since.filter(|_| self.stuck.is_none()) {
            self.put_off(since);
        }
        Ok(sent)
    }

    /// Holds the request; nobody else does so for longer than one operation.
    fn hold(&self) -> Result<Held<'_, Exchange>, Ending> {
        let gone = |_| Ending::Wrong("the request has ended".into());
        self.lease.acquire().map_err(gone)
    }

    /// Looks whether the client is still there.
    fn look(&mut self) -> Result<(), Ending> {
        if self.reading.is_some() {
            return Ok(());
        }
        let presence = self.hold()?.request().connection().presence();
        match presence {
            Presence::Gone => Err(Ending::Gone),
            Presence::Finished => {
                self.is_deaf = true;
                if self.finished.is_none() {
                    self.finished = Some(Instant::now());
                    self.channel.finish();
                }
                Ok(())
            }
            Presence::Silent => Ok(()),
            Presence::Sends => {
                self.is_deaf = true;
                Ok(())
            }
        }
    }

    /// Sends what there is, as much as the client takes where it may not wait. Is the answer complete with it?
    fn send(&mut self) -> Result<bool, Ending> {
        let Some(mut part) = self.part.take() else {
            return Ok(false);
        };
        let since = self.due.map(|_| self.stuck.unwrap_or_else(Instant::now));
        let held = self.lease.acquire();
        let held = held.map_err(|_| Ending::Wrong("the request has ended".into()))?;
        if let Some(file) = part.file {
            return match self.answer.whole_file(&held, &file, part.is_last)? {
                true => Ok(part.is_last),
                false => Err(Ending::Wrong(
                    "the file of the answer has become shorter while it was sent".into(),
                )),
            };
        }
        let connection = held.request().connection();
        if self.has_left && !held.request().has_plain_way_out() {
            let text =
                "a filter that may wait has been added to an answer that has left its worker";
            return Err(Ending::Wrong(text.into()));
        }
        let mut is_stuck = self.stuck.is_some() && connection.push()?;
        let mut is_sent = part.sent > 0 && part.sent == part.data.len();
        let before = (is_stuck, part.sent);
        let most = part.sent.saturating_add(MOST_OF_A_STEP);
        while !is_stuck && !is_sent && (part.sent < most || !self.has_left) {
            let rest = part.data.get(part.sent..).unwrap_or_default();
            let now = match self.has_left {
                true => rest.get(..MOST).unwrap_or(rest),
                false => rest,
            };
            part.sent += now.len();
            is_sent = part.sent == part.data.len();
            let end = if is_sent && part.is_last {
                End::OfStream
            } else {
                End::Flush
            };
            self.answer.part(&held, now, end)?;
            is_stuck = self.has_left && connection.push()?;
        }
        drop(held);
        // The time counts since the client has taken something.
        let has_moved = !before.0 || part.sent > before.1;
        self.stuck = match self.stuck {
            Some(since) if is_stuck && !has_moved => Some(since),
            _ => is_stuck.then(Instant::now),
        };
        if has_moved && self.finished.is_some() {
            self.finished = Some(Instant::now());
        }
        if is_stuck || !is_sent {
            self.part = Some(part);
            return Ok(false);
        }
        if !part.is_last {
            if let Some(since) = since {
                self.channel.put_off(since.elapsed());
            }
            self.channel.sent();
        }
        Ok(part.is_last)
    }

    /// Gives the application a block of the request's body, if there is one now.
    fn read(&self) -> Result<bool, Ending> {
        let held = self.hold()?;
        let Ok(mut input) = held.value().input.try_borrow_mut() else {
            return Err(Ending::Wrong(
                "the request's body is being read already".into(),
            ));
        };
        let may_wait = held.request().connection().socket() == Socket::Shared;
        match input.block(held.request(), may_wait) {
            Ok(None) => Ok(false),
            Ok(Some((data, more))) => {
                drop(input);
                drop(held);
                if let Some(since) = self.reading {
                    self.channel.put_off(since.elapsed());
                }
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
        self.channel.refuse(status.0);
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
    if parts.trails {
        head.keep_open();
    }
    // A stream of HTTP/2 has no connection of its own to close.
    if parts.closes && request.connection().is_primary() {
        request.connection().close_at_end();
    }
    let late = |_| "the answer has been started twice".into();
    answer.start(head).map_err(late)
}
