//! An open WebSocket that has left its worker.

use super::talk::{Stepped, Talk};
use super::work::{Ending, conclude};
use crate::config::gateways::Gateway;
use crate::embed::cell::Ref;
use crate::embed::enter;
use crate::embed::interpreter::Interpreter;
use crate::exchange::RequestLease;
use crate::gateway::answer::Answer;
use crate::gateway::call::Call;
use crate::httpd::log::{self, Level};
use crate::httpd::status::Status;
use crate::streams::bell::Rope;
use crate::streams::{Step, Stream};
use pyo3::prelude::*;
use std::mem::ManuallyDrop;

/// The WebSocket, and what its end needs of Python.
pub(super) struct Departed {
    talk: Talk,
    rope: Option<Rope>,
    ended: Result<(), Ending>,
    gateway: &'static Gateway,
    interpreter: &'static Interpreter,
    /// The application's side. Released by `end`, attached; should that not come, never.
    exchange: ManuallyDrop<Ref>,
}

impl Departed {
    pub(super) fn new(call: &Call<'_>, talk: Talk, exchange: Bound<'_, PyAny>) -> Departed {
        Departed {
            talk,
            rope: None,
            ended: Ok(()),
            gateway: call.gateway,
            interpreter: call.cx.interpreter,
            exchange: ManuallyDrop::new(Ref::new(exchange)),
        }
    }
}

impl Stream for Departed {
    fn lease(&self) -> &RequestLease {
        self.talk.lease()
    }

    fn begin(&mut self, rope: Rope) {
        self.rope = Some(rope);
    }

    fn step(&mut self) -> Step {
        let Some(rope) = &self.rope else {
            return Step::End;
        };
        match self.talk.step(rope) {
            Stepped::Step(step) => step,
            Stepped::Ended(ended) => {
                self.ended = ended;
                Step::End
            }
        }
    }

    fn part(&mut self) {
        self.talk.part();
    }

    fn end(self: Box<Self>) {
        let Departed {
            talk,
            ended,
            gateway,
            interpreter,
            exchange,
            ..
        } = *self;
        talk.channel().leave();
        let lease = talk.lease().clone();
        let entered = enter(interpreter, |cx| {
            let exchange = ManuallyDrop::into_inner(exchange).into_bound(cx.py);
            let call = Call {
                cx,
                lease,
                gateway,
                may_leave: false,
            };
            let Err(ending) = ended else { return };
            let concluded = conclude(&call, &exchange, &Answer::default(), ending);
            // It is open, so the error cannot be told otherwise.
            if let Err(error) = concluded.or_else(|error| call.log(error).map(|()| Status::OK)) {
                crate::embed::exception::discard(cx.py, error);
            }
        });
        if let Err(reason) = entered {
            log::process(Level::Error, &reason);
        }
    }
}
