//! Runs a phase's handlers: finds the interpreter, calls each handler in turn, turns results into a status.

use super::{
    Answered, Object, Outcome, Subject, answer, call, finish, in_time, is_debugged, serve,
};
use crate::config::{BROKEN, Directory, Entry, ModPython, Phase};
use crate::embed::in_flight::{self, Work};
use crate::embed::interpreter::Interpreter;
use crate::embed::stopwatch::{Stopwatch, apart_behind};
use crate::embed::totals::{self, Current};
use crate::embed::{self, Cx, exception};
use crate::exchange::{Exchange, Outer, RequestLease, account, lease_of};
use crate::gateway::{self, Apart};
use crate::httpd::io::Aborted;
use crate::httpd::io::output::{Brigade, End};
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::request::departure::Departure;
use crate::httpd::request::lease::Held;
use crate::httpd::request::turn::Turn;
use crate::httpd::status::Status;
use crate::objects::request as object;
use crate::{report, routing};
use std::cell::Cell;
use std::ops::Deref;

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
        log::entry(request, Level::Error, text);
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
    let mut leg = Leg {
        first: list.and_then(|list| list.entries.first()),
        status: Status::DECLINED,
        position: 0,
    };
    if leg.first.is_none() && config.common.interpreter_per_directive == Some(true) {
        leg.first = Exchange::first_added(request, phase);
    }
    let run = Run {
        request,
        config,
        phase,
        extension,
        listed: list.map_or(0, |list| list.entries.len()),
        lease: lease_of(request),
        failed: Cell::new(false),
    };
    let (status, pending) = loop {
        match run.leg(leg) {
            Ok(Done::Phase(status, pending)) => break (status, pending),
            Ok(Done::Leg(next)) => leg = next,
            Err(reason) => {
                let text = format!("{}: {reason}", phase.directive());
                log::entry(request, Level::Error, &text);
                break (Status::INTERNAL_SERVER_ERROR, None);
            }
        }
    };
    // Without the interpreter: sending may block, and nobody has to wait for its lock again.
    let sent = pending.map(|pending| {
        let (sent, took) = apart_behind(|| pending.send(request));
        run.lease.times().add_sent(took);
        sent
    });
    if status == Status::SUSPENDED {
        run.lease.times().set_left();
    }
    if sent.is_some_and(|sent| sent.is_err()) {
        let text = "the client closed the connection before the answer was sent";
        log::entry(request, Level::Debug, text);
    }
    // Whatever comes behind the answer's end finds filters that have put away what they need: nothing does. A redirect may
    // have sent it, or httpd itself, when it has refused the body.
    let before_the_end = !matches!(phase, Phase::Log | Phase::Cleanup);
    if before_the_end && request.eos_sent() != 0 {
        return Status::DONE;
    }
    request.ensure_location(i64::from(status.0));
    status
}

/// A part of a phase: the handlers, one behind the other, that one interpreter runs. Nearly always that is all of them.
struct Leg<'r> {
    /// Whose place chooses the interpreter.
    first: Option<&'r Entry<'r>>,
    /// What the handlers before have given.
    status: Status,
    position: usize,
}

/// How far handlers have come.
enum Done<'r> {
    /// The phase's status, and what is to be sent when the interpreter has been left.
    Phase(Status, Option<Pending>),
    /// Another interpreter goes on.
    Leg(Leg<'r>),
}

/// What the handlers of a phase have written and nobody has sent yet.
enum Pending {
    /// A complete answer: it leaves with its end.
    Complete(Brigade),
    /// httpd, or another module, goes on with it.
    Partial(Brigade),
}

impl Pending {
    fn send(self, request: Request<'_>) -> Result<(), Aborted> {
        match self {
            Pending::Complete(parcel) => parcel.pass(request),
            Pending::Partial(parcel) => parcel.hand_over(request),
        }
    }
}

/// One phase of one request.
struct Run<'a, 'r> {
    request: Request<'r>,
    config: &'a Directory<'r>,
    phase: Phase,
    extension: Option<&'r str>,
    /// How many handlers are configured.
    listed: usize,
    lease: &'a RequestLease,
    /// Has a handler failed, not answered with an error of its own choice?
    failed: Cell<bool>,
}

impl<'r> Run<'_, 'r> {
    /// Says where the request is counted, and counts it; gives its place in the table of totals.
    fn account(&self, interpreter: &'static Interpreter, leg: &Leg<'r>) -> usize {
        if leg.position == 0
            && let Some(row) = interpreter.row()
        {
            row.count_request();
        }
        let mounted = self.config.mount.map(|mount| mount.target.name);
        let named = || leg.first.map_or("", |entry| entry.text);
        let place = totals::place(interpreter, mounted.unwrap_or_else(named));
        self.lease.times().set_account(place);
        place
    }

    /// Answers a request without attaching the interpreter in this thread, where that can be had (`gateway::apart`).
    fn apart(
        &self,
        interpreter: &'static Interpreter,
        leg: &Leg<'r>,
    ) -> Option<Result<Done<'r>, String>> {
        let entry = leg.first.filter(|entry| {
            self.phase == Phase::Content
                && leg.position == 0
                && self.listed == 1
                && gateway::may_be_apart(entry.key, &self.config.common)
        })?;
        if self.request.main().is_some()
            || Exchange::has_added(self.request, self.phase.bit())
            || is_debugged(&self.config.common)
            || embed::is_inside()
        {
            return None;
        }
        let _shown = in_flight::show(Some(self.request), interpreter, Work::ASGI);
        let watch = Stopwatch::new();
        watch.attached();
        let turn = self.lease.turn();
        let _opened = turn.open(self.request.address(), Turn::wait);
        let held = self.lease.acquire().ok()?;
        let outer = held.value().cursor.begin(self.phase, self.extension, 0);
        drop(held);
        let answered = gateway::apart(interpreter, self.lease, self.request);
        let Ok(held) = self.lease.acquire() else {
            // It has ended meanwhile, whoever has done that.
            return Some(Ok(Done::Phase(Status::INTERNAL_SERVER_ERROR, None)));
        };
        let is_untouched = held.value().is_untouched();
        let outer = match answered {
            Apart::Answered | Apart::Leaves if is_untouched => {
                held.value().cursor.finish(outer);
                None
            }
            Apart::Declined => {
                held.value().cursor.finish(outer);
                return None;
            }
            _ => Some(outer),
        };
        drop(held);
        if let Some(lap) = watch.lap() {
            account::add(Some(self.lease.times()), interpreter, &lap);
        }
        let status = match answered {
            Apart::Leaves => Status::SUSPENDED,
            _ => Status::OK,
        };
        let Some(outer) = outer else {
            return Some(Ok(Done::Phase(status, None)));
        };
        let subject = Subject::Request(self.request, self.lease);
        Some(serve(subject, Work::ASGI, interpreter, |cx| {
            let attached = Attached { cx, run: self };
            let status = match answered {
                Apart::Failed(failed) => {
                    let finished = finish(cx, failed);
                    attached.outcome(entry, finished)
                }
                _ => status,
            };
            attached.close(None, status, outer)
        }))
    }

    /// Runs handlers in the interpreter of the first one.
    fn leg(&self, leg: Leg<'r>) -> Result<Done<'r>, String> {
        let interpreter = Exchange::interpreter(self.request, self.config, leg.first)?;
        let place = (self.phase == Phase::Content).then(|| self.account(interpreter, &leg));
        let _errors = place.map(Current::new);
        if let Some(done) = self.apart(interpreter, &leg) {
            return done;
        }
        serve(
            Subject::Request(self.request, self.lease),
            Work::of_phase(self.phase),
            interpreter,
            |cx| Attached { cx, run: self }.all(leg),
        )
    }
}

/// A phase in the interpreter that runs it.
#[derive(Clone, Copy)]
struct Attached<'a, 'py, 'r> {
    cx: Cx<'py>,
    run: &'a Run<'a, 'r>,
}

impl<'a, 'r> Deref for Attached<'a, '_, 'r> {
    type Target = Run<'a, 'r>;

    fn deref(&self) -> &Run<'a, 'r> {
        self.run
    }
}

impl<'a, 'py, 'r> Attached<'a, 'py, 'r> {
    /// Holds the request, once no other thread does; for moments only: a thread that a handler starts may use it, too.
    fn hold(&self) -> Option<Held<'a, Exchange>> {
        embed::acquire(self.cx.py, self.run.lease).ok()
    }

    fn all(&self, leg: Leg<'r>) -> Done<'r> {
        let cx = self.cx;
        let Some(held) = self.hold() else {
            return Done::Phase(Status::INTERNAL_SERVER_ERROR, None);
        };
        if self.phase == Phase::Log {
            held.end();
        }
        let cursor = &held.value().cursor;
        let outer = cursor.begin(self.phase, self.extension, leg.position);
        let first = match leg.first {
            Some(first) if leg.position == 0 => Some(routing::located(self.request, first)),
            _ => cursor.current(self.request),
        };
        let argument = object::object_of_held(cx, self.lease, held);
        let mut status = leg.status;
        let next = match argument {
            Ok(argument) => self.handlers(&leg, first, &mut status, &argument),
            Err(error) => {
                status = self.failed(None, exception::value(cx.py, error));
                None
            }
        };
        self.close(next, status, outer)
    }

    /// The handlers of a phase, or of this leg, have come to an end.
    fn close(&self, next: Option<Leg<'r>>, mut status: Status, outer: Outer) -> Done<'r> {
        let cx = self.cx;
        if self.phase == Phase::Authen && next.is_none() {
            status = self.check_authentication(status);
        }
        let Some(held) = self.hold() else {
            return Done::Phase(status, None);
        };
        let state = held.value();
        let complete = next.is_none() && self.completes(status);
        Exchange::end_waiting(cx.py, self.lease, &held, complete);
        if next.is_none() {
            let before_the_end = !matches!(self.phase, Phase::Log | Phase::Cleanup);
            if let Some(refused) = Exchange::refusal(&held).filter(|_| before_the_end) {
                // Whatever the handler has made of it: it has not seen all of the request.
                state.output.borrow_mut().discard();
                status = refused;
            }
            status = self.late(&held, status);
        }
        let pending = next
            .as_ref()
            .map_or_else(|| self.rest(state, status), |_| None);
        state.cursor.finish(outer);
        state.let_go::<object::Request>(cx, |object| object::is_unremarkable(object, cx));
        match next {
            Some(leg) => Done::Leg(leg),
            None => Done::Phase(status, pending),
        }
    }

    /// Runs one handler after the other; what is left, where that belongs to another interpreter.
    fn handlers(
        &self,
        leg: &Leg<'r>,
        first: Option<&'r Entry<'r>>,
        status: &mut Status,
        argument: &Object<'py>,
    ) -> Option<Leg<'r>> {
        let place = routing::of_place(self.request, self.config, leg.first);
        let (mut next, mut ran) = (first, leg.position);
        while let Some(entry) = next {
            // The configured ones share the first one's interpreter.
            if place.is_some()
                && ran >= self.listed.max(leg.position + 1)
                && place != routing::of_place(self.request, self.config, Some(entry))
            {
                let position = self.hold()?.value().cursor.position();
                return Some(Leg {
                    first: Some(entry),
                    status: *status,
                    position,
                });
            }
            if let Some(result) = self.handler(entry, argument) {
                *status = result;
                if !self.phase.goes_on_after(*status) {
                    break;
                }
            }
            ran += 1;
            if ran >= self.listed && !Exchange::has_added(self.request, self.phase.bit()) {
                break;
            }
            in_flight::is_at(Work::of_phase(self.phase));
            next = self.hold().and_then(|held| {
                let cursor = &held.value().cursor;
                cursor.advance();
                cursor.current(self.request)
            });
        }
        None
    }

    /// An error that comes when a part of the answer has left cannot be told: the connection breaks, so that the client can
    /// see that the answer is not complete.
    fn late(&self, held: &Held<'_, Exchange>, status: Status) -> Status {
        let request = self.request;
        // Another module gives the rest, or an error's page.
        let is_left = status == Status::DECLINED && self.phase == Phase::Content;
        if status.0 < 300 && !is_left || matches!(self.phase, Phase::Log | Phase::Cleanup) {
            return status;
        }
        let told = held.value().output.borrow().told();
        match request.departure(told) {
            Departure::Nothing => return status,
            // There is nothing left to be broken.
            Departure::Complete if self.phase == Phase::Content && !is_left => return Status::DONE,
            Departure::Complete => return status,
            Departure::Begun if request.connection().aborted() => return status,
            Departure::Begun => {}
        }
        let own = told.is_some() || request.next().is_some() || request.follows_a_part();
        if request.main().is_some() || !own {
            // A part of a page that another request gives: httpd goes on with it, and says in it that this part has failed.
            return status;
        }
        if is_left {
            request.refuse_error_pages(told.unwrap_or(request.status()));
            return status;
        }
        if !self.failed.get() {
            if told.is_some_and(|told| told >= 400) {
                return status;
            }
            let text = format!(
                "{}: {} comes too late, when a part of the answer has left; the answer is broken off",
                self.phase.directive(),
                status.0
            );
            self.cx.log(request, Level::Error, &text);
        }
        // Only an exception's page is pending, if anything is.
        let debug = self.failed.get() && self.config.common.debug == Some(true);
        Exchange::break_off(self.cx, held, debug);
        Status::DONE
    }

    /// The result of one handler; None where a silent one has no function.
    fn handler(&self, entry: &Entry<'r>, argument: &Object<'py>) -> Option<Status> {
        let common = &self.config.common;
        let may_leave = self.phase == Phase::Content;
        let outcome = match answer(self.cx, entry, common, may_leave, self.lease, argument) {
            Some(Answered::Here(outcome)) => outcome,
            Some(Answered::Suspended) => return Some(Status::SUSPENDED),
            None => {
                let (now, lease) = (self.request.time(), Some(self.lease));
                call(self.cx, entry, common, now, lease, argument)?
            }
        };
        Some(self.outcome(entry, outcome))
    }

    /// What a handler's outcome is as a status.
    fn outcome(&self, entry: &Entry<'r>, outcome: Outcome<'py>) -> Status {
        match outcome {
            Outcome::Returned(result) => self.status(entry, &result, "returned"),
            Outcome::ServerReturn(result, status) => {
                if let Some(status) = status.filter(|&status| status != 0)
                    && let Some(held) = self.hold()
                {
                    Exchange::settle(self.cx.py, &held);
                    held.request().set_status(status);
                }
                self.status(entry, &result, "raised SERVER_RETURN with")
            }
            Outcome::Raised(raised) => self.failed(Some(entry), raised),
            Outcome::TimedOut(raised) => self.timed_out(entry, raised),
        }
    }

    /// A handler's result as a status. Anything but an int that httpd knows is a mistake of the handler's: from one that is
    /// no status httpd would look for an error's page for ever.
    fn status(&self, entry: &Entry<'r>, result: &Object<'_>, how: &str) -> Status {
        let status = exception::exact_int(result).and_then(Status::of_handler);
        status.unwrap_or_else(|| {
            let text = report::no_status(self.cx, result, how);
            let debug = self.has_failed();
            report::mistake(self.cx, self.lease, self.phase, Some(entry), &text, debug)
        })
    }

    fn failed(&self, entry: Option<&Entry<'r>>, raised: Object<'_>) -> Status {
        let debug = self.has_failed();
        self.report(entry, raised, debug)
    }

    /// Tells of an exception, and lets it go, with all that its frames have.
    fn report(&self, entry: Option<&Entry<'r>>, raised: Object<'_>, debug: bool) -> Status {
        in_time(self.cx, &self.config.common, self.lease, || {
            let status = report::exception(self.cx, self.lease, self.phase, entry, &raised, debug);
            drop(raised);
            status
        })
    }

    /// What has been written, and has not left, makes way for an error's page.
    #[cold]
    fn timed_out(&self, entry: &Entry<'r>, raised: Option<Object<'_>>) -> Status {
        self.has_failed();
        if let Some(raised) = raised {
            self.report(Some(entry), raised, false);
        }
        if let Some(held) = self.hold() {
            held.value().output.borrow_mut().discard();
        }
        Status::GATEWAY_TIME_OUT
    }

    /// Notes the failure; is it to be shown to the browser?
    fn has_failed(&self) -> bool {
        self.run.failed.set(true);
        // What was written before is on its way.
        if let Some(held) = self.hold() {
            Exchange::settle(self.cx.py, &held);
        }
        self.config.common.debug == Some(true) && self.phase != Phase::Cleanup
    }

    /// OK needs a user; a 401 needs a challenge.
    fn check_authentication(&self, status: Status) -> Status {
        match status {
            Status::OK if self.request.user().is_none() => {
                let text = "returned OK, but req.user is not set; set it, or return DECLINED";
                let debug = self.has_failed();
                report::mistake(self.cx, self.lease, self.phase, None, text, debug)
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

    /// Is an answer complete that the phase ends with, with this status?
    fn completes(&self, status: Status) -> bool {
        self.phase == Phase::Content && (status == Status::OK || status == Status::DONE)
    }

    /// What has been written and is to be sent.
    fn rest(&self, state: &Exchange, status: Status) -> Option<Pending> {
        let mut output = state.output.borrow_mut();
        if !output.is_pending() {
            return None;
        }
        if self.request.eos_sent() != 0 {
            output.discard();
            return None;
        }
        Some(if self.completes(status) {
            Pending::Complete(output.take(self.request, End::OfStream))
        } else {
            Pending::Partial(output.take(self.request, End::Open))
        })
    }
}
