//! What is done, and let go, when a request ends.

use super::cleanups::{Cleanup, MOST_CLEANUPS};
use super::state::Exchange;
use crate::embed::interpreter::Interpreter;
use crate::embed::{self, Cx};
use crate::httpd::log::{self, Level};
use crate::httpd::request::lease::Lease;
use std::mem::ManuallyDrop;

/// How often what is released at a request's end may leave something new to be released.
const MOST_ROUNDS: usize = 100;

impl Exchange {
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
        if cleanups.are_too_many() {
            let text = format!(
                "python_cleanup: {MOST_CLEANUPS} clean-ups have run and register others; the rest is left out"
            );
            log::entry(held.request(), Level::Error, &text);
        }
        cleanups.next()
    }

    /// Lets the request's objects go, each with its interpreter attached, and what goes with them.
    pub(crate) fn release(lease: &Lease<Exchange>) {
        if let Ok(held) = lease.acquire() {
            held.value().output.borrow_mut().discard();
        }
        // What goes may leave something new, but not for ever.
        for _ in 0..MOST_ROUNDS {
            let Ok((first, others, cleanups)) = lease.acquire().map(|held| {
                let exchange = held.value();
                let (first, others) = (exchange.object.take(), exchange.objects.take());
                (first, others, exchange.cleanups.take())
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
            std::mem::forget(exchange.cleanups.take());
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
