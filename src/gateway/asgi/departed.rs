//! An answer that has left its worker, such as an event stream; and what becomes of a request when its conversation has ended, wherever
//! that was.

use super::channel::Channel;
use super::conversation::{Conversation, Ending};
use super::gateway::GATEWAY;
use crate::embed::cell::Ref;
use crate::embed::interpreter::Interpreter;
use crate::embed::scoreboard::{Counted, Gauge};
use crate::embed::{deadlines, enter, exception, in_flight, text, totals};
use crate::exchange::RequestLease;
use crate::gateway::answer::Answer;
use crate::gateway::call::{Call, Stop};
use crate::httpd::log::{self, Level};
use crate::httpd::status::Status;
use crate::report;
use crate::streams::bell::Rope;
use crate::streams::{Step, Stream};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::mem::ManuallyDrop;

type Object<'py> = Bound<'py, PyAny>;

/// What the end of a request that has left its worker needs of Python.
pub(super) struct Behind {
    interpreter: &'static Interpreter,
    /// What else it needs. Released by `with`, attached; should that not come, never.
    exchange: Option<ManuallyDrop<Ref>>,
    _counted: Option<Counted>,
}

impl Behind {
    pub(super) fn new(interpreter: &'static Interpreter, exchange: Option<Ref>) -> Behind {
        Behind {
            interpreter,
            exchange: exchange.map(ManuallyDrop::new),
            _counted: interpreter.row().and_then(|row| row.count(Gauge::Detached)),
        }
    }

    /// Attaches the interpreter, and has `body` say what becomes of the request. An error comes too late to be told otherwise than in the
    /// log.
    pub(super) fn with(
        self,
        lease: RequestLease,
        body: impl for<'py> FnOnce(&Call<'py>, Option<&Object<'py>>) -> PyResult<Status>,
    ) {
        let Behind {
            interpreter,
            exchange,
            _counted,
        } = self;
        let entered = enter(interpreter, |cx| {
            let exchange = exchange.map(|kept| ManuallyDrop::into_inner(kept).into_bound(cx.py));
            let call = Call {
                cx,
                lease,
                gateway: &GATEWAY,
                may_leave: false,
            };
            let done = body(&call, exchange.as_ref());
            if let Err(error) = done.or_else(|error| call.log(error).map(|()| Status::OK)) {
                exception::discard(cx.py, error);
            }
        });
        if let Err(reason) = entered {
            log::process(Level::Error, &reason);
        }
    }
}

/// The answer, and what its end needs.
pub(super) struct Departed {
    conversation: Conversation,
    rope: Option<Rope>,
    ending: Ending,
    behind: Behind,
}

impl Departed {
    pub(super) fn new(interpreter: &'static Interpreter, conversation: Conversation) -> Departed {
        Departed {
            conversation,
            rope: None,
            ending: Ending::Leaves,
            behind: Behind::new(interpreter, None),
        }
    }
}

impl Stream for Departed {
    fn lease(&self) -> &RequestLease {
        self.conversation.lease()
    }

    fn begin(&mut self, rope: Rope) {
        self.rope = Some(rope);
    }

    fn step(&mut self, is_stirred: bool) -> Step {
        let Some(rope) = &self.rope else {
            return Step::End;
        };
        match self.conversation.step(rope, is_stirred) {
            Ok(Some(step)) => step,
            Ok(None) => {
                self.ending = Ending::Answered;
                Step::End
            }
            Err(ending) => {
                self.ending = ending;
                Step::End
            }
        }
    }

    fn part(&mut self) {
        // What its client has is not complete, which the end of the connection shows.
    }

    fn leave(&mut self) {
        self.conversation.channel().leave();
    }

    fn end(self: Box<Self>) {
        let Departed {
            conversation,
            ending,
            behind,
            ..
        } = *self;
        behind.with(conversation.lease().clone(), |call, _| {
            finish(call, &conversation, ending)
        });
    }
}

/// What becomes of the request, once the worker has nothing more to do for it.
pub(super) fn finish(
    call: &Call<'_>,
    conversation: &Conversation,
    ending: Ending,
) -> PyResult<Status> {
    let (answer, channel) = (conversation.answer(), conversation.channel());
    // Taken whatever comes of it: here is who can let go of it.
    let raised = channel.raised().map(|raised| raised.into_bound(call.cx.py));
    match ending {
        Ending::Answered | Ending::Leaves => Ok(Status::OK),
        Ending::Gone => {
            let held = call.hold()?;
            held.request().give_up();
            drop(held);
            call.stopped(answer, Stop::Gone)
        }
        Ending::Refused(status) => match answer.has_left() {
            true => {
                let text = format!("the request's body was refused ({})", status.0);
                call.stopped(answer, Stop::Broken(text))
            }
            false => Ok(status),
        },
        Ending::Late => late(call, answer, channel, None),
        Ending::Wrong(text) => call.stopped(answer, Stop::Broken(text)),
        Ending::Over | Ending::Declined => {
            let error = match raised {
                Some(error) if call.cx.is_request_timeout(&error) => {
                    return late(call, answer, channel, Some(&error));
                }
                Some(error) => PyErr::from_value(error),
                None => PyRuntimeError::new_err(match answer.has_left() {
                    true => "ASGI: the application has ended before its answer was complete",
                    false => "ASGI: the application has ended without an answer",
                }),
            };
            call.failed(answer, error)
        }
    }
}

/// It has taken longer than PythonTimeout says: says where its task is, has that cancelled, and ends the answer. `raised` is what has ended
/// it already.
fn late(
    call: &Call<'_>,
    answer: &Answer,
    channel: &Channel,
    raised: Option<&Object<'_>>,
) -> PyResult<Status> {
    let cx = call.cx;
    let place = match raised {
        Some(raised) => {
            let stack = report::describe(cx, raised).text;
            format!("its task is cancelled where it stands\n{stack}")
        }
        None => {
            let asked = || -> PyResult<String> {
                let module = cx.py.import("mod_python._asgi_timed")?;
                let place = module.getattr("where_is")?.call1((channel.number,))?;
                Ok(text::lossy(&place.str()?))
            };
            exception::or_discard(cx.py, asked()).unwrap_or_default()
        }
    };
    channel.cancel();
    let held = call.hold()?;
    let request = held.request();
    let age = deadlines::age(u64::try_from(request.time()).unwrap_or(0));
    let (line, name) = (in_flight::line_of(request), cx.interpreter.name());
    let text =
        format!("PythonTimeout: {line} has taken {age:.2} s (asgi, interpreter {name}): {place}");
    report::lines(cx, request, text.trim_end());
    totals::count_timeout(cx.interpreter);
    drop(held);
    call.failed(answer, call.time_out())
}
