//! What the module keeps for one request: its body and output, its Python objects, its clean-ups.

use crate::ModPython;
use crate::config::{Directory, Entry, Phase, filter_key, key};
use crate::embed::cell::Ref;
use crate::embed::interpreter::Interpreter;
use crate::embed::pools::Place;
use crate::embed::registry::Found;
use crate::embed::{self, Cx, class, exception, text};
use crate::httpd::body::{Aborted, End, Input, Output};
use crate::httpd::command::Section;
use crate::httpd::file_part::FilePart;
use crate::httpd::lease::{Held, Lease};
use crate::httpd::log::{self, Level};
use crate::httpd::pool::Pool as HostPool;
use crate::httpd::request::Request as Host;
use crate::httpd::status::Status;
use crate::httpd::turn::{Turn, Way};
use crate::routing::{self, located};
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use std::cell::{Cell, RefCell, RefMut};
use std::mem::ManuallyDrop;
use std::sync::Arc;

/// One request's state, behind its lease. Owned by the lease; the Python references in it are dropped by `end`, with
/// their interpreter attached.
#[derive(Default)]
pub(crate) struct Exchange {
    pub(crate) output: RefCell<Output>,
    pub(crate) input: RefCell<Input>,
    pub(crate) phase: Cell<Option<Phase>>,
    /// The place of the handler that runs in the phase's list.
    pub(crate) position: Cell<usize>,
    /// By which extension the handlers of the phase were chosen.
    pub(crate) extension: RefCell<Option<Box<str>>>,
    pub(crate) content_type_set: Cell<bool>,
    /// Has reading the body failed because the client has gone?
    pub(crate) lost: Cell<bool>,
    /// The status with which httpd has refused the body.
    pub(crate) refused: Cell<Option<Status>>,
    /// The request's object in the first interpreter that asked, and in others.
    object: RefCell<Option<Kept>>,
    objects: RefCell<Vec<Kept>>,
    cleanups: RefCell<Vec<Cleanup>>,
    /// How many of them have run.
    cleaned: Cell<usize>,
    /// Which interpreter of a pool has the request.
    place: RefCell<Option<Place>>,
    dynamic: RefCell<Vec<Dynamic>>,
    filters: RefCell<Vec<OwnFilter>>,
}

/// A filter that req.register_output_filter() or its twin has registered.
struct OwnFilter {
    name: String,
    input: bool,
    text: String,
    directory: Option<String>,
}

/// The request's object in an interpreter.
type Kept = (&'static Interpreter, Ref);

/// The state of a phase that another one interrupts.
pub(crate) struct Outer {
    phase: Option<Phase>,
    extension: Option<Box<str>>,
    position: usize,
}

/// A handler that req.add_handler() has added to a phase.
struct Dynamic {
    phase: Phase,
    text: String,
    key: String,
    directory: Option<String>,
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
    /// The interpreter that runs a request's handlers; of a pool, the same one in all phases. Call it detached.
    ///
    /// # Errors
    /// Why it cannot be had, with its name.
    pub(crate) fn interpreter(
        request: Host<'_>,
        config: &Directory<'_>,
        entry: Option<&Entry<'_>>,
    ) -> Result<&'static Interpreter, String> {
        let pool = match routing::find(request, config, entry)? {
            Found::One(interpreter) => return Ok(interpreter),
            Found::Pool(pool) => pool,
        };
        let found = within(request, |_, exchange| {
            let mut place = exchange.place.borrow_mut();
            if !place.as_ref().is_some_and(|place| place.is_in(pool)) {
                *place = pool.enter();
            }
            place.as_ref().map(Place::interpreter)
        });
        found
            .flatten()
            .ok_or_else(|| "the request has ended".into())
    }

    /// As it was made; most of it is, when a request has ended.
    pub(crate) fn renew(&mut self) {
        self.output.get_mut().renew();
        self.input.get_mut().renew();
        self.phase.set(None);
        self.position.set(0);
        self.content_type_set.set(false);
        self.lost.set(false);
        self.refused.set(None);
        self.cleaned.set(0);
        if let Some(extension) = self.extension.get_mut().take() {
            drop(extension);
        }
        if let Some(place) = self.place.get_mut().take() {
            drop(place);
        }
        self.dynamic.get_mut().clear();
        self.filters.get_mut().clear();
    }

    /// Makes room in the pool for another request.
    pub(crate) fn leave_pool(lease: &Lease<Exchange>) {
        drop(lease.acquire().map(|held| held.value().place.take()));
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

    /// Adds a handler to a phase of this request; to the one that runs, behind what is left of its list.
    pub(crate) fn add_handler(
        held: &Held<'_, Exchange>,
        phase: Phase,
        text: &str,
        directory: Option<String>,
    ) {
        let (text, key) = (text.to_string(), key(text, phase));
        let directory = directory.or_else(|| Exchange::inherited_directory(held, phase));
        let entry = Dynamic {
            phase,
            text,
            key,
            directory,
        };
        held.value().dynamic.borrow_mut().push(entry);
        held.mark(phase.bit());
    }

    /// The directory of a handler that is added without one, to a phase that has none: that of the one that runs.
    fn inherited_directory(held: &Held<'_, Exchange>, phase: Phase) -> Option<String> {
        let (request, exchange) = (held.request(), held.value());
        if request.config::<ModPython>().list(phase, None).is_some() {
            // It is looked up with the list, when the phase runs.
            return None;
        }
        match exchange.current(request)?.section {
            Section::Directory { path, .. } | Section::Htaccess { path } => Some(path.to_string()),
            Section::None | Section::Location { .. } => None,
        }
    }

    /// Has a handler been added to one of these phases of the request?
    pub(crate) fn has_added(request: Host<'_>, phases: u32) -> bool {
        request.marks() & phases != 0
    }

    /// Registers a filter of this request's own; its name covers httpd's.
    pub(crate) fn add_own_filter(
        &self,
        name: &str,
        input: bool,
        text: &str,
        directory: Option<String>,
    ) {
        let name = name.to_lowercase();
        let mut filters = self.filters.borrow_mut();
        filters.retain(|filter| filter.input != input || filter.name != name);
        filters.push(OwnFilter {
            name,
            input,
            text: text.to_string(),
            directory,
        });
    }

    /// Is there a filter of this request's own with that name?
    pub(crate) fn has_own_filter(&self, name: &str, input: bool) -> bool {
        let name = name.to_lowercase();
        self.filters
            .borrow()
            .iter()
            .any(|filter| filter.input == input && filter.name == name)
    }

    /// The handler of a filter of the request's own.
    pub(crate) fn own_filter<'r>(request: Host<'r>, name: &str, input: bool) -> Option<Entry<'r>> {
        let entry = within(request, |pool, exchange| {
            let filters = exchange.filters.borrow();
            let filter = filters
                .iter()
                .find(|filter| filter.input == input && filter.name == name)?;
            let section = filter
                .directory
                .as_ref()
                .map_or(Section::None, |directory| Section::Directory {
                    path: pool.text(directory),
                    regex: false,
                });
            Some(Entry {
                text: pool.text(&filter.text),
                key: pool.text(&filter_key(&filter.text, input)),
                section,
                silent: false,
            })
        });
        entry.flatten()
    }

    /// A phase begins; what it covers comes back at `finish`.
    pub(crate) fn begin(&self, phase: Phase, extension: Option<&str>) -> Outer {
        Outer {
            phase: self.phase.replace(Some(phase)),
            extension: self.extension.replace(extension.map(Box::from)),
            position: self.position.replace(0),
        }
    }

    pub(crate) fn finish(&self, outer: Outer) {
        self.phase.set(outer.phase);
        self.extension.replace(outer.extension);
        self.position.set(outer.position);
    }

    /// The next handler's turn.
    pub(crate) fn advance(&self) {
        self.position.set(self.position.get() + 1);
    }

    /// The handler whose turn it is in the running phase: a configured one, then those that were added.
    pub(crate) fn current<'r>(&self, request: Host<'r>) -> Option<Entry<'r>> {
        self.entry(request, self.phase.get()?, self.position.get())
    }

    /// The first handler that was added to a phase, where none is configured.
    pub(crate) fn first_added<'r>(request: Host<'r>, phase: Phase) -> Option<Entry<'r>> {
        within(request, |_, exchange| exchange.entry(request, phase, 0)).flatten()
    }

    fn entry<'r>(&self, request: Host<'r>, phase: Phase, position: usize) -> Option<Entry<'r>> {
        let list = request
            .config::<ModPython>()
            .list(phase, self.extension.borrow().as_deref());
        let configured = list.map_or(&[][..], |list| list.entries);
        if let Some(entry) = configured.get(position) {
            return Some(located(request, *entry));
        }
        let dynamic = self.dynamic.borrow();
        let mut added = dynamic.iter().filter(|entry| entry.phase == phase);
        let entry = added.nth(position.checked_sub(configured.len())?)?;
        let pool = request.pool();
        let section = match &entry.directory {
            Some(directory) => Section::Directory {
                path: pool.text(directory),
                regex: false,
            },
            None => configured
                .first()
                .map_or(Section::None, |first| located(request, *first).section),
        };
        Some(Entry {
            text: pool.text(&entry.text),
            key: pool.text(&entry.key),
            section,
            silent: false,
        })
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

    /// May the answer go on its way? Not from within a filter that the answer is passing.
    ///
    /// # Errors
    /// RuntimeError.
    pub(crate) fn check_way_out(held: &Held<'_, Exchange>) -> PyResult<()> {
        if held.is_under_way(Way::In) {
            return Err(PyRuntimeError::new_err(
                "the request's body is being read: a filter of it cannot answer",
            ));
        }
        if held.is_under_way(Way::Out) {
            return Err(PyRuntimeError::new_err(
                "the answer is passing a filter, which gives on what it has by filter.write()",
            ));
        }
        if !held.is_served() && !held.is_over() {
            return Err(PyRuntimeError::new_err(
                "another request is served at the moment: use the one that the handler was given",
            ));
        }
        Ok(())
    }

    /// Is there a way out for a part of the answer? None behind its end, where what comes is forgotten: it would be taken
    /// for the next answer.
    ///
    /// # Errors
    /// Aborted where `check_way_out` refuses, and when the request is over.
    fn is_way_open(held: &Held<'_, Exchange>) -> Result<bool, Aborted> {
        let under_way = held.is_under_way(Way::Out) || held.is_under_way(Way::In);
        if held.is_over() || under_way || !held.is_served() {
            return Err(Aborted);
        }
        Ok(held.request().eos_sent() == 0)
    }

    /// Sends a part of a file, behind what has been written; False where it has become shorter.
    pub(crate) fn send_file(
        cx: Cx<'_>,
        held: &Held<'_, Exchange>,
        part: &FilePart,
        complete: bool,
    ) -> Result<bool, Aborted> {
        if held.value().output.borrow().is_pending() {
            Exchange::send(cx, held, End::Open)?;
        }
        if !Exchange::is_way_open(held)? {
            return Ok(true);
        }
        held.value().output.borrow_mut().tell(held.request());
        cx.detached(
            (held.request(), part, complete),
            |(request, part, complete)| part.pass(request, complete),
        )
    }

    /// Breaks the answer off, behind its head and what has been written if that is to be kept; nothing where the answer is
    /// complete, or another one's to send.
    pub(crate) fn break_off(cx: Cx<'_>, held: &Held<'_, Exchange>, keep: bool) {
        if Exchange::is_way_open(held) != Ok(true) {
            held.value().output.borrow_mut().discard();
            return;
        }
        if keep {
            // It breaks off in any case.
            let _ = Exchange::send(cx, held, End::Flush);
        }
        held.value().output.borrow_mut().discard();
        cx.detached(held.request().last(), |request| request.break_off());
    }

    /// Sends what has been written, without the interpreter's lock.
    pub(crate) fn send(cx: Cx<'_>, held: &Held<'_, Exchange>, end: End) -> Result<(), Aborted> {
        if !Exchange::is_way_open(held)? {
            held.value().output.borrow_mut().discard();
            return Ok(());
        }
        let (request, exchange) = (held.request(), held.value());
        let parcel = exchange.output.borrow_mut().take(request, end);
        let result = cx.detached((request, &parcel), |(request, parcel)| parcel.pass(request));
        exchange.output.borrow_mut().put_back(parcel);
        result
    }
}

fn belongs(kept: &Kept, cx: Cx<'_>) -> bool {
    std::ptr::eq(kept.0, cx.interpreter)
}

/// The exception for output that cannot be sent.
pub(crate) fn write_failed(_: Aborted) -> PyErr {
    PyOSError::new_err("Write failed, client closed connection.")
}

/// What the module keeps for a request.
pub(crate) fn lease_of(request: Host<'_>) -> &RequestLease {
    request.lease::<ModPython>()
}

/// Looks at what is kept for a request between its phases, in the thread that serves it; None when it has ended.
fn within<'r, R>(request: Host<'r>, body: impl FnOnce(HostPool<'r>, &Exchange) -> R) -> Option<R> {
    let lease = lease_of(request);
    let _opened = lease.turn().open(request.address(), Turn::wait);
    let held = lease.acquire().ok()?;
    Some(body(request.pool(), held.value()))
}

impl Exchange {
    /// Is there anything of Python's to do when the request ends?
    pub(crate) fn has_loose_ends(&mut self) -> bool {
        self.object.get_mut().is_some()
            || !self.objects.get_mut().is_empty()
            || !self.cleanups.get_mut().is_empty()
    }

    /// Runs what register_cleanup() was given, last first, and what that registers. Was there any?
    pub(crate) fn run_cleanups(lease: &Lease<Exchange>) -> bool {
        let mut any = false;
        while let Some(cleanup) = Exchange::next_cleanup(lease) {
            any = true;
            let interpreter = cleanup.interpreter;
            let done = attached(interpreter, cleanup, |cx, cleanup| cleanup.run(cx, lease));
            if let (Err(reason), Ok(held)) = (done, lease.acquire()) {
                let text = format!("python_cleanup: {reason}");
                log::request(held.request(), Level::Error, &text);
            }
        }
        any
    }

    fn next_cleanup(lease: &Lease<Exchange>) -> Option<Cleanup> {
        let held = lease.acquire().ok()?;
        let exchange = held.value();
        if exchange.cleaned.get() == MOST_CLEANUPS && !exchange.cleanups.borrow().is_empty() {
            let text = format!(
                "python_cleanup: {MOST_CLEANUPS} clean-ups have run and register others; the rest is left out"
            );
            log::request(held.request(), Level::Error, &text);
        }
        exchange.cleaned.set(exchange.cleaned.get() + 1);
        if exchange.cleaned.get() > MOST_CLEANUPS {
            return None;
        }
        exchange.cleanups.borrow_mut().pop()
    }

    /// Lets the request's objects go, each with its interpreter attached, and what goes with them.
    pub(crate) fn release(lease: &Lease<Exchange>) {
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

/// So many clean-ups of one request run, those that others have registered among them.
const MOST_CLEANUPS: usize = 10_000;
/// How often what is released at a request's end may leave something new to be released.
const MOST_ROUNDS: usize = 100;

/// Gives `body` what holds Python references; where it cannot be attached, they are never released.
fn attached<T>(
    interpreter: &'static Interpreter,
    holder: T,
    body: impl for<'py> FnOnce(Cx<'py>, T),
) -> Result<(), String> {
    let holder = ManuallyDrop::new(holder);
    embed::enter(interpreter, |cx| body(cx, ManuallyDrop::into_inner(holder)))
}

impl Cleanup {
    fn run(self, cx: Cx<'_>, lease: &Lease<Exchange>) {
        let callable = self.callable.bind(cx.py);
        let Err(error) = exception::call(cx, &callable, &self.argument.bind(cx.py)) else {
            return;
        };
        let shown = |text: PyResult<Bound<'_, pyo3::types::PyString>>| {
            exception::or_discard(cx.py, text)
                .map_or_else(|| "(it cannot be shown)".into(), |text| text::lossy(&text))
        };
        let kind = shown(error.get_type().name());
        let text = format!(
            "python_cleanup: Error calling cleanup object {}: {kind}: {}",
            shown(callable.repr()),
            shown(error.str())
        );
        if let Ok(held) = embed::acquire(cx.py, lease) {
            super::log(cx, held.request(), Level::Error, &text);
        }
    }
}
