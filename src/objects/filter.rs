//! `mp_filter`: one invocation of a Python filter.

use super::refusal::refused;
use crate::embed::cell::{Flag, Number, Slot};
use crate::embed::class::{self, Args, Attribute, Class, Key, Method, This, method};
use crate::embed::{Cx, deadlines, text};
use crate::exchange::{Exchange, RequestLease};
use crate::httpd::io::filter::{Failed, Invocation};
use crate::httpd::request::lease::Held;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::ffi::CStr;
use std::sync::{Arc, Mutex, PoisonError};

/// A filter object: valid for one invocation.
pub(crate) struct Filter {
    lease: RequestLease,
    running: Running,
    name: String,
    handler: Option<String>,
    directory: Option<String>,
    is_input: bool,
    closed: Flag,
    softspace: Number,
    /// Has `disable()` been called?
    pub(crate) disabled: Flag,
    request: Slot,
}

/// Where a filter object finds its invocation: None while an operation has it, and for good when the invocation has ended.
pub(crate) type Running = Arc<Mutex<Option<Box<Invocation>>>>;

type Object<'py> = Bound<'py, PyAny>;

impl Class for Filter {
    const NAME: &'static CStr = c"mp_filter";
    const DOC: &'static CStr = c"A filter while it runs on a piece of a body.";
    const ATTRIBUTES: &'static [Attribute<Self>] = &[
        Attribute::read_only(c"name", c"The name under which it is registered.", |this| {
            this.give(this.name.as_str())
        }),
        Attribute::read_only(c"req", c"The request (mp_request).", |this| {
            this.give(this.request.get(this.cx.py))
        }),
        Attribute::read_only(c"is_input", c"1 for an input filter.", |this| {
            this.give(i32::from(this.is_input))
        }),
        Attribute::read_only(
            c"handler",
            c"The handler as it is written, or None in a page.",
            |this| this.give(this.handler.as_deref()),
        ),
        Attribute::read_only(
            c"dir",
            c"The directory where it is configured, or None.",
            |this| this.give(this.directory.as_deref()),
        ),
        Attribute::read_only(c"closed", c"1 once it has been closed.", |this| {
            this.give(i32::from(this.closed.get()))
        }),
        Attribute::new(
            c"softspace",
            c"For print.",
            |this| this.give(this.softspace.get()),
            |this, value| {
                this.softspace.set(class::integer(value)?);
                Ok(())
            },
        ),
    ];
    const METHODS: &'static [Method<Self>] = &[
        method!(
            Filter,
            c"read(size=-1, /)",
            c"bytes, b'' where this piece has no more, None at the end.",
            |this, args| receive(&this, &args, false),
        ),
        method!(
            Filter,
            c"readline(size=-1, /)",
            c"bytes up to the end of a line.",
            |this, args| receive(&this, &args, true),
        ),
        method!(
            Filter,
            c"write(data, /)",
            c"gives str (as UTF-8) or bytes on.",
            write,
        ),
        method!(
            Filter,
            c"flush()",
            c"sends on what has been written.",
            flush
        ),
        method!(Filter, c"close()", c"ends the stream.", close),
        method!(
            Filter,
            c"pass_on()",
            c"gives everything on untouched.",
            pass_on,
        ),
        method!(
            Filter,
            c"disable()",
            c"leaves the filter out of the rest of the request.",
            |this, _| {
                this.disabled.set(true);
                Ok(this.cx.py.None().into_bound(this.cx.py))
            },
        ),
    ];

    fn key() -> &'static Key<Self> {
        static KEY: Key<Filter> = Key::new();
        &KEY
    }

    fn references(&self, visit: &mut dyn FnMut(&Slot)) {
        visit(&self.request);
    }
}

/// What a filter object is made of.
pub(crate) struct Parts<'a> {
    pub(crate) lease: RequestLease,
    pub(crate) running: Running,
    pub(crate) name: String,
    pub(crate) handler: Option<&'a str>,
    pub(crate) directory: Option<&'a str>,
    pub(crate) is_input: bool,
}

/// Makes the filter object for one invocation.
///
/// # Errors
/// MemoryError.
pub(crate) fn object<'py>(
    cx: Cx<'py>,
    parts: Parts<'_>,
    request: &Object<'py>,
) -> PyResult<Object<'py>> {
    let filter = Filter {
        lease: parts.lease,
        running: parts.running,
        name: parts.name,
        handler: parts.handler.map(String::from),
        directory: parts.directory.map(String::from),
        is_input: parts.is_input,
        closed: Flag::default(),
        softspace: Number::default(),
        disabled: Flag::default(),
        request: Slot::default(),
    };
    filter.request.fill(request.clone());
    class::instance(cx, filter)
}

impl<'py> This<'_, 'py, Filter> {
    fn give<T: IntoPyObjectExt<'py>>(&self, value: T) -> PyResult<Object<'py>> {
        value.into_bound_py_any(self.cx.py)
    }

    /// Calls `body` with the invocation, detached, since it may block.
    fn operate<A: crate::embed::Detachable, R>(
        &self,
        with: A,
        body: fn((&mut Invocation, A)) -> R,
    ) -> PyResult<R> {
        let _held: Held<'_, Exchange> = self.lease.hold().map_err(refused)?;
        let taken = lock(&self.running).take();
        let mut invocation =
            taken.ok_or_else(|| PyRuntimeError::new_err("filter object has expired"))?;
        // Who sends slowly, or takes slowly, is no deadline's business.
        let _paused = deadlines::pause();
        let result = self.cx.detached((&mut *invocation, with), body);
        *lock(&self.running) = Some(invocation);
        Ok(result)
    }

    fn check_open(&self) -> PyResult<()> {
        if self.closed.get() {
            Err(PyValueError::new_err("I/O operation on closed filter"))
        } else {
            Ok(())
        }
    }
}

/// Locks the place of the invocation.
pub(crate) fn lock(running: &Running) -> std::sync::MutexGuard<'_, Option<Box<Invocation>>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

fn receive<'py>(
    this: &This<'_, 'py, Filter>,
    args: &Args<'_, 'py>,
    line: bool,
) -> PyResult<Object<'py>> {
    this.check_open()?;
    let limit = match args.get(0) {
        Some(size) if !size.is_none() => usize::try_from(class::integer(&size)?).ok(),
        _ => None,
    };
    let data = if line {
        this.operate(limit, |(invocation, limit)| invocation.read(limit, true))?
    } else {
        this.operate(limit, |(invocation, limit)| invocation.read(limit, false))?
    };
    match data {
        Ok(Some(data)) => Ok(PyBytes::new(this.cx.py, &data).into_any()),
        Ok(None) => Ok(this.cx.py.None().into_bound(this.cx.py)),
        Err(Failed(_)) => Err(PyOSError::new_err("Input filter read error")),
    }
}

fn write<'py>(this: This<'_, 'py, Filter>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    this.check_open()?;
    let failed = |Failed(_)| PyOSError::new_err("Write failed");
    let full = text::with_bytes(&args.required(0)?, |bytes| {
        let _held = this.lease.hold().map_err(refused)?;
        let mut running = lock(&this.running);
        let invocation = running
            .as_mut()
            .ok_or_else(|| PyRuntimeError::new_err("filter object has expired"))?;
        invocation.write(bytes).map_err(failed)?;
        Ok(invocation.is_full())
    })?;
    if full {
        this.operate((), |(invocation, ())| invocation.pass(false))?
            .map_err(failed)?;
    }
    this.give(())
        .map(|_| this.cx.py.None().into_bound(this.cx.py))
}

fn flush<'py>(this: This<'_, 'py, Filter>, _: Args<'_, 'py>) -> PyResult<Object<'py>> {
    this.check_open()?;
    let passed = this.operate((), |(invocation, ())| invocation.pass(true))?;
    passed.map_err(|Failed(_)| PyOSError::new_err("Flush failed."))?;
    Ok(this.cx.py.None().into_bound(this.cx.py))
}

fn close<'py>(this: This<'_, 'py, Filter>, _: Args<'_, 'py>) -> PyResult<Object<'py>> {
    if !this.closed.replace(true) {
        this.operate((), |(invocation, ())| invocation.end())?;
    }
    Ok(this.cx.py.None().into_bound(this.cx.py))
}

fn pass_on<'py>(this: This<'_, 'py, Filter>, _: Args<'_, 'py>) -> PyResult<Object<'py>> {
    this.check_open()?;
    let passed = this.operate((), |(invocation, ())| invocation.pass_on())?;
    passed.map_err(|Failed(_)| PyOSError::new_err("Filter pass_on failed"))?;
    Ok(this.cx.py.None().into_bound(this.cx.py))
}

/// The name under which httpd knows all filters that requests register by themselves (`req.register_output_filter()`).
pub(crate) const GENERIC: &CStr = c"MOD_PYTHON";
