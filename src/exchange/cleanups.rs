//! What Python has registered for a request's end, and the references that go then.

use super::Exchange;
use crate::embed::cell::Ref;
use crate::embed::interpreters::Interpreter;
use crate::embed::{self, Cx};
use crate::httpd::lease::Lease;
use crate::httpd::log::{self, Level};
use pyo3::prelude::*;
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;

/// A callable to run when the request ends (req.register_cleanup).
pub(crate) struct Cleanup {
    pub(crate) interpreter: &'static Interpreter,
    pub(crate) callable: Ref,
    pub(crate) argument: Ref,
}

/// The clean-ups of a request.
#[derive(Default)]
pub(super) struct Cleanups {
    pending: RefCell<Vec<Cleanup>>,
    /// How many have run.
    run: Cell<usize>,
}

impl Cleanups {
    pub(super) fn is_empty(&mut self) -> bool {
        self.pending.get_mut().is_empty()
    }

    pub(super) fn renew(&mut self) {
        self.run.set(0);
    }
}

/// So many clean-ups of one request run, those that others have registered among them.
const MOST_CLEANUPS: usize = 10_000;
/// How often what is released at a request's end may leave something new to be released.
const MOST_ROUNDS: usize = 100;

impl Exchange {
    /// Adds a clean-up of this interpreter.
    pub(crate) fn add_cleanup(
        &self,
        cx: Cx<'_>,
        callable: Bound<'_, PyAny>,
        argument: Bound<'_, PyAny>,
    ) {
        let cleanup = Cleanup {
            interpreter: cx.interpreter,
            callable: Ref::new(callable),
            argument: Ref::new(argument),
        };
        self.cleanups.pending.borrow_mut().push(cleanup);
    }

    /// Is there anything of Python's to do when the request ends?
    pub(crate) fn has_loose_ends(&mut self) -> bool {
        self.object.get_mut().is_some()
            || !self.objects.get_mut().is_empty()
            || !self.cleanups.is_empty()
    }

    /// The clean-up that was registered last, to be run once; what is left when too many have run stays for `release`.
    pub(crate) fn next_cleanup(lease: &Lease<Exchange>) -> Option<Cleanup> {
        let held = lease.acquire().ok()?;
        let cleanups = &held.value().cleanups;
        if cleanups.run.get() == MOST_CLEANUPS && !cleanups.pending.borrow().is_empty() {
            let text = format!(
                "python_cleanup: {MOST_CLEANUPS} clean-ups have run and register others; the rest is left out"
            );
            log::request(held.request(), Level::Error, &text);
        }
        cleanups.run.set(cleanups.run.get() + 1);
        if cleanups.run.get() > MOST_CLEANUPS {
            return None;
        }
        cleanups.pending.borrow_mut().pop()
    }

    /// Lets the request's objects go, each with its interpreter attached, and what goes with them.
    pub(crate) fn release(lease: &Lease<Exchange>) {
        // What goes may leave something new, but not for ever.
        for _ in 0..MOST_ROUNDS {
            let Ok((first, others, cleanups)) = lease.acquire().map(|held| {
                let exchange = held.value();
                let (first, others) = (exchange.object.take(), exchange.objects.take());
                (first, others, exchange.cleanups.pending.take())
            }) else {
                return;
            };
            if first.is_none() && others.is_empty() && cleanups.is_empty() {
                return;
            }
            for (interpreter, object) in first.into_iter().chain(others) {
                // Where no thread state can be had, the object stays for ever.
                let _ = attached(interpreter, object, |_, object| drop(object));
            }
            for cleanup in cleanups {
                let _ = attached(cleanup.interpreter, cleanup, |_, cleanup| drop(cleanup));
            }
        }
        // What is there still belongs to nobody who could release it.
        if let Ok(held) = lease.acquire() {
            let exchange = held.value();
            std::mem::forget((exchange.object.take(), exchange.objects.take()));
            std::mem::forget(exchange.cleanups.pending.take());
        }
    }
}

/// Gives `body` what holds Python references; where it cannot be attached, they are never released.
fn attached<T>(
    interpreter: &'static Interpreter,
    holder: T,
    body: impl for<'py> FnOnce(Cx<'py>, T),
) -> Result<(), String> {
    let holder = ManuallyDrop::new(holder);
    embed::enter(interpreter, |cx| body(cx, ManuallyDrop::into_inner(holder)))
}
