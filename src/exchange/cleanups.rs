//! Clean-ups that Python has registered for a request's end.

use crate::embed::Cx;
use crate::embed::cell::Ref;
use crate::embed::interpreter::Interpreter;
use pyo3::prelude::*;
use std::cell::{Cell, RefCell};

/// A callable to run when the request ends (req.register_cleanup).
pub(crate) struct Cleanup {
    pub(crate) interpreter: &'static Interpreter,
    pub(crate) callable: Ref,
    pub(crate) argument: Ref,
}

/// The clean-ups of a request, behind its lease.
#[derive(Default)]
pub(crate) struct Cleanups {
    pending: RefCell<Vec<Cleanup>>,
    /// How many have been taken to be run.
    run: Cell<usize>,
}

/// So many clean-ups of one request run, those that others have registered among them.
pub(super) const MOST_CLEANUPS: usize = 10_000;

impl Cleanups {
    /// Adds a clean-up of this interpreter.
    pub(crate) fn add(&self, cx: Cx<'_>, callable: Bound<'_, PyAny>, argument: Bound<'_, PyAny>) {
        self.pending.borrow_mut().push(Cleanup {
            interpreter: cx.interpreter,
            callable: Ref::new(callable),
            argument: Ref::new(argument),
        });
    }

    pub(super) fn is_empty(&mut self) -> bool {
        self.pending.get_mut().is_empty()
    }

    /// Takes the one that was added last, to be run; none once too many have.
    pub(super) fn next(&self) -> Option<Cleanup> {
        self.run.set(self.run.get() + 1);
        if self.run.get() > MOST_CLEANUPS {
            return None;
        }
        self.pending.borrow_mut().pop()
    }

    /// Have as many run as may, and are there others?
    pub(super) fn are_too_many(&self) -> bool {
        self.run.get() == MOST_CLEANUPS && !self.pending.borrow().is_empty()
    }

    /// Takes all that are left.
    pub(super) fn take(&self) -> Vec<Cleanup> {
        self.pending.take()
    }

    pub(super) fn renew(&mut self) {
        self.run.set(0);
    }
}
