//! What the module keeps for one request: its body and output, its Python objects, its clean-ups.

use crate::ModPython;
use crate::config::Phase;
use crate::embed::cell::Ref;
use crate::embed::interpreters::Interpreter;
use crate::embed::{Cx, class, exception};
use crate::httpd::body::{Aborted, End, Input, Output};
use crate::httpd::lease::{Ending, Held, Lease};
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request as Host;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use std::cell::{Cell, RefCell, RefMut};
use std::sync::Arc;

/// One request's state, behind its lease. Owned by the lease; the Python references in it are dropped by `end`, with
/// their interpreter attached.
#[derive(Default)]
pub(crate) struct Exchange {
    pub(crate) output: RefCell<Output>,
    pub(crate) input: RefCell<Input>,
    pub(crate) phase: Cell<Option<Phase>>,
    /// By which extension the handlers of the phase were chosen.
    pub(crate) extension: RefCell<Option<String>>,
    /// The interpreter's name as the configuration gives it.
    pub(crate) interpreter: RefCell<Option<String>>,
    pub(crate) content_type_set: Cell<bool>,
    objects: RefCell<Vec<(&'static Interpreter, Ref)>>,
    cleanups: RefCell<Vec<Cleanup>>,
}

/// A request as Python objects hold it.
pub(crate) type RequestLease = Arc<Lease<Exchange>>;

/// A callable to run when the request ends (req.register_cleanup).
struct Cleanup {
    interpreter: &'static Interpreter,
    callable: Ref,
    argument: Ref,
}

impl Exchange {
    /// The request's object in an interpreter, if it has one.
    pub(crate) fn object<'py>(&self, cx: Cx<'py>) -> Option<Bound<'py, PyAny>> {
        let objects = self.objects.borrow();
        objects
            .iter()
            .find(|(interpreter, _)| std::ptr::eq(*interpreter, cx.interpreter))
            .map(|(_, object)| object.bind(cx.py))
    }

    /// Keeps the request's object for the phases to come.
    pub(crate) fn keep(&self, cx: Cx<'_>, object: &Bound<'_, PyAny>) {
        self.objects
            .borrow_mut()
            .push((cx.interpreter, Ref::new(object.clone())));
    }

    /// Lets the object go if nobody could tell a new one from it: then the end of the request need not attach Python.
    pub(crate) fn let_go<T: class::Class>(
        &self,
        cx: Cx<'_>,
        unremarkable: impl FnOnce(&Bound<'_, PyAny>) -> bool,
    ) {
        let mut objects = self.objects.borrow_mut();
        let Some(place) = objects
            .iter()
            .position(|(interpreter, _)| std::ptr::eq(*interpreter, cx.interpreter))
        else {
            return;
        };
        let plain = objects.get(place).is_some_and(|(_, object)| {
            object.is_unique(cx.py)
                && !class::has_attributes::<T>(object, cx.py)
                && unremarkable(&object.bind(cx.py))
        });
        if plain {
            let object = objects.swap_remove(place);
            drop(objects);
            drop(object);
        }
    }

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
        self.cleanups.borrow_mut().push(cleanup);
    }

    /// The body's reader; refuses a second use while one is in progress (an input filter that reads its own request).
    pub(crate) fn input(&self) -> PyResult<RefMut<'_, Input>> {
        self.input
            .try_borrow_mut()
            .map_err(|_| PyRuntimeError::new_err("the request's body is being read already"))
    }

    /// Sends what has been written, without the interpreter's lock.
    pub(crate) fn send(cx: Cx<'_>, held: &Held<'_, Exchange>, end: End) -> Result<(), Aborted> {
        let (request, exchange) = (held.request(), held.value());
        let parcel = exchange.output.borrow_mut().take(request, end);
        let result = cx.detached((request, &parcel), |(request, parcel)| parcel.pass(request));
        exchange.output.borrow_mut().put_back(parcel);
        result
    }

    /// Gives what has been written to httpd's own buffer: something else goes on with the answer.
    pub(crate) fn hand_over(cx: Cx<'_>, held: &Held<'_, Exchange>) -> Result<(), Aborted> {
        let (request, exchange) = (held.request(), held.value());
        if !exchange.output.borrow().is_pending() {
            return Ok(());
        }
        let parcel = exchange.output.borrow_mut().take(request, End::Open);
        let result = cx.detached((request, &parcel), |(request, parcel)| {
            parcel.hand_over(request)
        });
        exchange.output.borrow_mut().put_back(parcel);
        result
    }
}

/// The exception for output that cannot be sent.
pub(crate) fn write_failed(_: Aborted) -> PyErr {
    PyOSError::new_err("Write failed, client closed connection.")
}

/// What the module keeps for a request.
pub(crate) fn lease_of(request: Host<'_>) -> &RequestLease {
    request.lease::<ModPython>()
}

impl Ending for Exchange {
    /// Runs the clean-ups, last registered first, and lets the Python objects go.
    fn end(lease: &Arc<Lease<Exchange>>) {
        lease.open();
        let (cleanups, objects) = match lease.hold() {
            Ok(held) => (held.value().cleanups.take(), held.value().objects.take()),
            Err(_) => (Vec::new(), Vec::new()),
        };
        for cleanup in cleanups.into_iter().rev() {
            crate::embed::enter(cleanup.interpreter, |cx| cleanup.run(cx, lease));
        }
        lease.close(std::thread::yield_now);
        for (interpreter, object) in objects {
            crate::embed::enter(interpreter, |_| drop(object));
        }
    }
}

impl Cleanup {
    fn run(self, cx: Cx<'_>, lease: &Lease<Exchange>) {
        let callable = self.callable.bind(cx.py);
        let Err(error) = exception::call(cx, &callable, &self.argument.bind(cx.py)) else {
            return;
        };
        let shown = |text: PyResult<Bound<'_, pyo3::types::PyString>>| {
            exception::or_discard(cx.py, text)
                .map(|text| text.to_string())
                .unwrap_or_default()
        };
        let kind = shown(error.get_type().name());
        let text = format!(
            "python_cleanup: Error calling cleanup object {}: {kind}: {}",
            shown(callable.repr()),
            shown(error.str())
        );
        if let Ok(held) = lease.hold() {
            log::request(held.request(), Level::Error, &text);
        }
    }
}
