//! The event loop: one an interpreter and child, in a thread of its own, made at first use. The thread runs `mod_python._asgi.run`
//! until the interpreter's end; what happens in it is there, what comes from outside in the inbox.

use super::inbox::{Beginning, Inbox, Post};
use super::options;
use crate::config::Common;
use crate::embed::cell::{Ref, Slot};
use crate::embed::class::{self, Args, Class, Key, Method, This, method};
use crate::embed::interpreter::Interpreter;
use crate::embed::stopwatch::look_at_garbage;
use crate::embed::{self, Cx, PerInterpreter, deadlines, exception};
use crate::httpd::clock::now;
use crate::httpd::log::{Extra, Level};
use crate::report;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use std::ffi::CStr;
use std::sync::{Arc, Mutex, PoisonError};

type Object<'py> = Bound<'py, PyAny>;

/// The inbox of the interpreter's loop. Its lock is held while a thread is started, and never while Python runs.
static INBOX: PerInterpreter<Mutex<Option<Arc<Inbox>>>> = PerInterpreter::new();

/// Gives the inbox of this interpreter's loop, which is started if need be.
///
/// # Errors
/// OSError where there is no thread, or no descriptor, to be had.
pub(super) fn inbox(cx: Cx<'_>, common: &Common<'_>) -> PyResult<Arc<Inbox>> {
    let place = INBOX.of(cx);
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(inbox) = place.as_ref().filter(|inbox| !inbox.is_closed()) {
        return Ok(inbox.clone());
    }
    let failed = |reason: String| PyOSError::new_err(format!("no event loop: {reason}"));
    let inbox =
        Arc::new(Inbox::new(cx.interpreter.row()).map_err(|error| failed(error.to_string()))?);
    let own = Manned(Some(inbox.clone()));
    let kind = options::kind(common).to_owned();
    embed::spawn(cx.interpreter, "mod_python loop", move |cx| {
        if let Some(inbox) = own.manned() {
            run(cx, inbox, kind);
        }
    })
    .map_err(failed)?;
    *place = Some(inbox.clone());
    Ok(inbox)
}

/// The inbox of this interpreter's loop, where it runs. Needs no interpreter.
pub(super) fn running(interpreter: &'static Interpreter) -> Option<Arc<Inbox>> {
    let place = INBOX.find(interpreter)?;
    let place = place.lock().unwrap_or_else(PoisonError::into_inner);
    place.clone().filter(|inbox| !inbox.is_closed())
}

/// An inbox that a thread is to look into. Where the thread cannot attach, it is shut: nobody waits for it.
struct Manned(Option<Arc<Inbox>>);

impl Manned {
    fn manned(mut self) -> Option<Arc<Inbox>> {
        self.0.take()
    }
}

impl Drop for Manned {
    fn drop(&mut self) {
        if let Some(inbox) = &self.0 {
            inbox.shut();
        }
    }
}

/// The thread: runs the loop to its end, whatever that is.
fn run(cx: Cx<'_>, inbox: Arc<Inbox>, kind: String) {
    let run = || -> PyResult<()> {
        let inbox = inbox.clone();
        let object = class::instance(
            cx,
            Loop {
                inbox,
                kind,
                later: Slot::default(),
            },
        )?;
        let module = cx.py.import("mod_python._asgi")?;
        module.getattr("run")?.call1((object,)).map(drop)
    };
    if let Err(error) = run() {
        let what = report::describe(cx, &exception::value(cx.py, error));
        report::traceback_of_process(cx, "the event loop", &what);
    }
    // Whoever comes now gets another loop; at the child's end, none comes.
    let place = INBOX.of(cx);
    *place.lock().unwrap_or_else(PoisonError::into_inner) = None;
    drop(inbox.close());
}

/// What Python has of the inbox.
struct Loop {
    inbox: Arc<Inbox>,
    /// What PythonOption mod_python.asgi.loop says.
    kind: String,
    /// The class of what makes a request's object when it is asked for.
    later: Slot,
}

impl Class for Loop {
    const NAME: &'static CStr = c"mp_asgi_loop";
    const DOC: &'static CStr = c"What an event loop is given by httpd's threads.";
    const METHODS: &'static [Method<Self>] = &[
        method!(
            Loop,
            c"fileno()",
            c"can be read when something has come.",
            |this: This<'_, '_, Loop>, _| { this.inbox.descriptor().into_bound_py_any(this.cx.py) }
        ),
        method!(
            Loop,
            c"kind()",
            c"is what PythonOption mod_python.asgi.loop says.",
            |this: This<'_, '_, Loop>, _| { this.kind.as_str().into_bound_py_any(this.cx.py) }
        ),
        method!(
            Loop,
            c"take()",
            c"gives all that has come: what to begin with, the numbers of those that can go on, and of those to be cancelled.",
            |this: This<'_, '_, Loop>, _| {
                let post = this.inbox.take();
                let has_begun = !post.begun.is_empty();
                let taken = taken(&this, post)?;
                if has_begun {
                    this.inbox.open_batch();
                }
                Ok(taken)
            }
        ),
        method!(
            Loop,
            c"make_requests_by(later, /)",
            c"is called first: the class that makes a request's object when it is asked for.",
            |this: This<'_, '_, Loop>, args| {
                this.later.fill(args.required(0)?);
                Ok(this.cx.py.None().into_bound(this.cx.py))
            }
        ),
        method!(
            Loop,
            c"begun()",
            c"says that all of them have been begun with: answers that are complete by now leave.",
            |this: This<'_, '_, Loop>, _| {
                this.inbox.close_batch();
                Ok(this.cx.py.None().into_bound(this.cx.py))
            }
        ),
        method!(
            Loop,
            c"close()",
            c"takes nothing more; gives what take() would.",
            |this: This<'_, '_, Loop>, _| taken(&this, this.inbox.close())
        ),
        method!(
            Loop,
            c"begin_step(due, limit, /)",
            c"has RequestTimeout raised in this thread when a request's time has passed, until end_step().",
            |this: This<'_, '_, Loop>, args| {
                let number = |place| args.integer_or(place, 0).map(|one| u64::try_from(one).unwrap_or(0));
                deadlines::begin_step(this.cx, number(0)?, number(1)?);
                Ok(this.cx.py.None().into_bound(this.cx.py))
            }
        ),
        method!(
            Loop,
            c"end_step()",
            c"has nothing raised any more.",
            |this: This<'_, '_, Loop>, _| {
                deadlines::end_step(this.cx);
                Ok(this.cx.py.None().into_bound(this.cx.py))
            }
        ),
        method!(
            Loop,
            c"log(level, text, traceparent=None, message=None, exception=None, /)",
            c"logs a text, lines of a traceback an entry each; as an object of JSON it is the message and the exception. Errors are counted.",
            log_text
        ),
    ];

    fn key() -> &'static Key<Self> {
        static KEY: Key<Loop> = Key::new();
        &KEY
    }

    fn references(&self, visit: &mut dyn FnMut(&Slot)) {
        visit(&self.later);
    }
}

fn taken<'py>(this: &This<'_, 'py, Loop>, post: Post) -> PyResult<Object<'py>> {
    let cx = this.cx;
    look_at_garbage(cx, now());
    let later = this.later.get(cx.py);
    let begun = post.begun.into_iter().filter_map(|one| match one {
        Beginning::Object(object) => Some(object.into_bound(cx.py)),
        // Where that gives nothing, it is dropped, and its worker told so.
        Beginning::Arrival(arrival) => arrival.prepare(cx, later.as_ref()?),
    });
    let begun = PyList::new(cx.py, begun.collect::<Vec<_>>())?;
    let [woken, cancelled] =
        [post.woken, post.cancelled].map(|numbers| PyList::new(cx.py, numbers));
    (begun, woken?, cancelled?).into_bound_py_any(cx.py)
}

fn log_text<'py>(this: This<'_, 'py, Loop>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let cx = this.cx;
    let text = args.required(1)?.cast_into::<PyString>()?;
    let text = embed::text::lossy(&text);
    let [traceparent, message, exception] = [2, 3, 4].map(|place| {
        let given = args.get(place);
        let given = given.and_then(|given| given.cast_into::<PyString>().ok());
        given.map(|given| embed::text::lossy(&given))
    });
    let level = match args.integer_or(0, 3)? {
        ..=3 => Level::Error,
        4 => Level::Warning,
        5..=6 => Level::Info,
        _ => Level::Debug,
    };
    if level == Level::Error {
        report::count(cx);
    }
    let extra = Extra {
        traceparent: traceparent.as_deref(),
        message: message.as_deref(),
        exception: exception.as_deref(),
        ..cx.extra()
    };
    cx.log_lines_of_process(level, &text, extra);
    Ok(cx.py.None().into_bound(cx.py))
}

/// Gives the loop an object to begin with.
///
/// # Errors
/// RuntimeError where the loop has ended.
pub(super) fn begin(inbox: &Inbox, object: Object<'_>) -> PyResult<()> {
    let refused = |_: Beginning| PyRuntimeError::new_err("the event loop has ended");
    inbox
        .begin(Beginning::Object(Ref::new(object)))
        .map_err(refused)
}
