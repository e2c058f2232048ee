//! An open WebSocket that has left its worker.

use super::talk::{Stepped, Talk};
use super::work::{Ending, conclude};
use crate::embed::cell::Ref;
use crate::exchange::RequestLease;
use crate::gateway::answer::Answer;
use crate::gateway::asgi::departed::Behind;
use crate::gateway::call::Call;
use crate::httpd::status::Status;
use crate::streams::bell::Rope;
use crate::streams::{Step, Stream};
use pyo3::prelude::*;

/// The WebSocket, and what its end needs.
pub(super) struct Departed {
    talk: Talk,
    rope: Option<Rope>,
    ended: Result<(), Ending>,
    behind: Behind,
}

impl Departed {
    pub(super) fn new(call: &Call<'_>, talk: Talk, exchange: Bound<'_, PyAny>) -> Departed {
        Departed {
            talk,
            rope: None,
            ended: Ok(()),
            behind: Behind::new(call.cx.interpreter, Some(Ref::new(exchange))),
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

    fn step(&mut self, _is_stirred: bool) -> Step {
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

    fn leave(&mut self) {
        self.talk.channel().leave();
    }

    fn end(self: Box<Self>) {
        let Departed {
            talk,
            ended,
            behind,
            ..
        } = *self;
        behind.with(talk.lease().clone(), |call, exchange| {
            match (ended, exchange) {
                (Err(ending), Some(exchange)) => {
                    conclude(call, exchange, &Answer::default(), ending)
                }
                _ => Ok(Status::OK),
            }
        });
    }
}
