//! The state of one request: what the module keeps behind its lease.

use super::cleanups::Cleanups;
use super::cursor::Cursor;
use super::filters::OwnFilters;
use crate::config::{Directory, Entry, ModPython, Phase};
use crate::embed::cell::Ref;
use crate::embed::interpreter::Interpreter;
use crate::embed::pools::{Pool as Seats, Seat};
use crate::embed::registry::Found;
use crate::embed::{Cx, class};
use crate::httpd::apr::pool::Pool;
use crate::httpd::io::body::Input;
use crate::httpd::io::output::Output;
use crate::httpd::request::Request as RequestRec;
use crate::httpd::request::lease::{Held, Lease, Leasing};
use crate::httpd::request::turn::{Turn, Way};
use crate::httpd::status::Status;
use crate::routing;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::cell::{Cell, RefCell, RefMut};
use std::sync::Arc;

/// One request's state. Owned by the lease; the Python references in it are dropped by `release`, with their interpreter
/// attached.
#[derive(Default)]
pub(crate) struct Exchange {
    pub(crate) output: RefCell<Output>,
    pub(crate) input: RefCell<Input>,
    pub(crate) cursor: Cursor,
    /// May what is written wait a little before it is sent? None: nobody has asked yet.
    pub(super) waits: Cell<Option<bool>>,
    pub(crate) content_type_set: Cell<bool>,
    /// Has reading the body failed because the client has gone?
    pub(crate) lost: Cell<bool>,
    /// The status with which httpd has refused the body.
    pub(crate) refused: Cell<Option<Status>>,
    /// The request's object in the first interpreter that asked, and in others.
    pub(super) object: RefCell<Option<Kept>>,
    pub(super) objects: RefCell<Vec<Kept>>,
    pub(crate) cleanups: Cleanups,
    /// Which interpreter of a pool has the request.
    seat: RefCell<Option<Seat>>,
    pub(crate) filters: OwnFilters,
}

/// The request's object in an interpreter.
pub(super) type Kept = (&'static Interpreter, Ref);

/// A request as Python objects hold it.
pub(crate) type RequestLease = Arc<Lease<Exchange>>;

impl Leasing for ModPython {
    type Exchange = Exchange;
}

/// What the module keeps for a request.
pub(crate) fn lease_of(request: RequestRec<'_>) -> &RequestLease {
    request.lease::<ModPython>()
}

/// Looks at what is kept for a request between its phases, in the thread that serves it; None when it has ended.
fn within<'r, R>(
    request: RequestRec<'r>,
    body: impl FnOnce(Pool<'r>, &Exchange) -> R,
) -> Option<R> {
    let lease = lease_of(request);
    let _opened = lease.turn().open(request.address(), Turn::wait);
    let held = lease.acquire().ok()?;
    Some(body(request.pool(), held.value()))
}

impl Exchange {
    /// The interpreter that runs a request's handlers; of a pool, the same one in all phases. Call it detached.
    ///
    /// # Errors
    /// Why it cannot be had, with its name.
    #[inline(always)]
    pub(crate) fn interpreter<'r>(
        request: RequestRec<'r>,
        config: &Directory<'r>,
        entry: Option<&'r Entry<'r>>,
    ) -> Result<&'static Interpreter, String> {
        match routing::find(request, config, entry)? {
            Found::One(interpreter) => Ok(interpreter),
            Found::Pool(pool) => Exchange::seated(request, pool),
        }
    }

    #[inline(never)]
    fn seated(
        request: RequestRec<'_>,
        pool: &'static Seats,
    ) -> Result<&'static Interpreter, String> {
        let found = within(request, |_, exchange| {
            let mut seat = exchange.seat.borrow_mut();
            if !seat.as_ref().is_some_and(|seat| seat.is_in(pool)) {
                *seat = pool.enter();
            }
            seat.as_ref().map(Seat::interpreter)
        });
        found
            .flatten()
            .ok_or_else(|| "the request has ended".into())
    }

    /// Has a handler been added to one of these phases of the request?
    pub(crate) fn has_added(request: RequestRec<'_>, phases: u32) -> bool {
        request.marks() & phases != 0
    }

    /// Adds a handler to a phase of this request; to the one that runs, behind what is left of its list.
    pub(crate) fn add_handler(
        held: &Held<'_, Exchange>,
        phase: Phase,
        text: &str,
        directory: Option<String>,
    ) {
        let cursor = &held.value().cursor;
        cursor.add(held.request(), phase, text, directory);
        held.mark(phase.bit());
    }

    /// The first handler that was added to a phase, where none is configured.
    pub(crate) fn first_added<'r>(request: RequestRec<'r>, phase: Phase) -> Option<&'r Entry<'r>> {
        let first = within(request, |_, exchange| {
            exchange.cursor.entry(request, phase, 0)
        });
        first.flatten()
    }

    /// The handler of a filter of the request's own, by its name in lower case.
    pub(crate) fn own_filter<'r>(
        request: RequestRec<'r>,
        name: &str,
        input: bool,
    ) -> Option<&'r Entry<'r>> {
        let entry = within(request, |pool, exchange| {
            exchange.filters.entry(pool, name, input)
        });
        entry.flatten()
    }

    /// Makes it as it was, where the end of a request has not done so already.
    pub(crate) fn renew(&mut self) {
        self.output.get_mut().renew();
        self.input.get_mut().renew();
        self.cursor.renew();
        self.waits.set(None);
        self.content_type_set.set(false);
        self.lost.set(false);
        self.refused.set(None);
        self.cleanups.renew();
        if let Some(seat) = self.seat.get_mut().take() {
            drop(seat);
        }
        self.filters.clear();
    }

    /// Makes room in the pool for another request.
    pub(crate) fn leave_pool(lease: &Lease<Exchange>) {
        drop(lease.acquire().map(|held| held.value().seat.take()));
    }

    /// The request's object in an interpreter, if it has one.
    pub(crate) fn object<'py>(&self, cx: Cx<'py>) -> Option<Bound<'py, PyAny>> {
        let (first, others) = (self.object.borrow(), self.objects.borrow());
        let mut all = first.iter().chain(others.iter());
        all.find(|kept| belongs(kept, cx))
            .map(|(_, object)| object.bind(cx.py))
    }

    /// Keeps the request's object for the phases to come.
    pub(crate) fn keep(&self, cx: Cx<'_>, object: &Bound<'_, PyAny>) {
        let kept = (cx.interpreter, Ref::new(object.clone()));
        let mut first = self.object.borrow_mut();
        if first.is_none() {
            *first = Some(kept);
        } else {
            self.objects.borrow_mut().push(kept);
        }
    }

    /// Lets the object go if nobody could tell a new one from it: then the end of the request need not attach Python.
    pub(crate) fn let_go<T: class::Class>(
        &self,
        cx: Cx<'_>,
        unremarkable: impl FnOnce(&Bound<'_, PyAny>) -> bool,
    ) {
        let plain = self.object.borrow().as_ref().is_some_and(|kept| {
            belongs(kept, cx)
                && class::is_plain::<T>(cx, &kept.1)
                && unremarkable(&kept.1.bind(cx.py))
        });
        if plain && let Some((_, object)) = self.object.take() {
            class::recycle::<T>(cx, object);
        }
    }

    /// Has nobody made anything of it that the end of a phase has to look at, attached?
    pub(crate) fn is_untouched(&self) -> bool {
        self.object.borrow().is_none()
            && self.objects.borrow().is_empty()
            && self.refused.get().is_none()
            && !self.output.borrow().is_pending()
            && !self.output.borrow().is_due()
    }

    /// The body's reader; refuses a second use while one is in progress (an input filter that reads its own request).
    ///
    /// # Errors
    /// RuntimeError.
    pub(crate) fn input<'h>(held: &'h Held<'_, Exchange>) -> PyResult<RefMut<'h, Input>> {
        let free = !held.is_under_way(Way::In);
        let input = held.value().input.try_borrow_mut().ok();
        input
            .filter(|_| free)
            .ok_or_else(|| PyRuntimeError::new_err("the request's body is being read already"))
    }

    /// The status with which httpd has refused the body, where that is the answer: nothing of another one has left yet.
    pub(crate) fn refusal(held: &Held<'_, Exchange>) -> Option<Status> {
        let refused = held.value().refused.get()?;
        (!held.request().has_begun_to_leave()).then_some(refused)
    }
}

fn belongs(kept: &Kept, cx: Cx<'_>) -> bool {
    std::ptr::eq(kept.0, cx.interpreter)
}
