//! Errors of handlers: to the error log always, to the browser under PythonDebug.

use crate::config::options::may_log_objects;
use crate::config::{Entry, Phase};
use crate::embed::{self, Cx, exception, text, totals};
use crate::exchange::RequestLease;
use crate::httpd::io::output::Output;
use crate::httpd::log;
use crate::httpd::log::{Extra, Level, Subject};
use crate::httpd::request::Request;
use crate::httpd::request::departure::Departure;
use crate::httpd::status::Status;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use std::ffi::CStr;

/// Logs an uncaught exception with its traceback; with PythonDebug On it becomes the answer, too.
pub(crate) fn exception(
    cx: Cx<'_>,
    lease: &RequestLease,
    phase: Phase,
    entry: Option<&Entry<'_>>,
    raised: &Bound<'_, PyAny>,
    debug: bool,
) -> Status {
    let place = place(phase, entry);
    let failed = Status::INTERNAL_SERVER_ERROR;
    let Ok(held) = embed::acquire(cx.py, lease) else {
        return failed;
    };
    let (lost, refused) = (held.value().lost.get(), held.value().refused.get());
    let aborted = held.request().connection().aborted();
    drop(held);
    let gone = lost || aborted;
    // A client that still listens may be the developer's, who wants to see what the handler has raised.
    if gone && (aborted || !debug) && is_of_the_client(raised) {
        let text = exception::or_discard(cx.py, raised.str())
            .map(|text| text.to_string())
            .unwrap_or_default();
        count(cx);
        let text = format!("{place}: the client went away: {text}");
        if let Ok(held) = embed::acquire(cx.py, lease) {
            cx.log(held.request(), Level::Info, &text);
        }
        // A client that has only stopped sending can still read an answer: its request was broken.
        return if lost {
            refused.unwrap_or(Status::BAD_REQUEST)
        } else {
            failed
        };
    }
    let told = Told {
        place: &place,
        what: &describe(cx, raised),
        raised: Some(raised),
    };
    tell(cx, lease, &told, debug)
}

/// Has reading from, or writing to, the client raised it? Those are an OSError with a text alone. Others, such as that of a
/// database's socket, come from the system and have its error number, too.
fn is_of_the_client(raised: &Bound<'_, PyAny>) -> bool {
    let arguments = raised.getattr("args").and_then(|arguments| arguments.len());
    raised.is_exact_instance_of::<PyOSError>()
        && exception::or_discard(raised.py(), arguments).is_some_and(|count| count < 2)
}

/// Logs what is wrong with a handler's result; with PythonDebug On it becomes the answer, as an exception does.
pub(crate) fn mistake(
    cx: Cx<'_>,
    lease: &RequestLease,
    phase: Phase,
    entry: Option<&Entry<'_>>,
    text: &str,
    debug: bool,
) -> Status {
    let told = Told {
        place: &place(phase, entry),
        what: &text.to_owned().into(),
        raised: None,
    };
    tell(cx, lease, &told, debug)
}

/// What is wrong.
struct Told<'a, 'py> {
    place: &'a str,
    what: &'a Described,
    /// None where it is a result.
    raised: Option<&'a Bound<'py, PyAny>>,
}

/// Logs an error, and drops what has been written and has not left: an error's page takes its place, with PythonDebug On one that
/// shows the error. Where a part has left, with PythonDebug On the text alone follows it.
fn tell(cx: Cx<'_>, lease: &RequestLease, told: &Told<'_, '_>, debug: bool) -> Status {
    let failed = Status::INTERNAL_SERVER_ERROR;
    let Ok(held) = embed::acquire(cx.py, lease) else {
        return failed;
    };
    traceback(cx, held.request(), told.place, told.what);
    held.value().output.borrow_mut().discard();
    if !debug {
        return failed;
    }
    let left = room(held.request(), &held.value().output.borrow());
    match left {
        Some(Room::Whole) => {}
        Some(Room::Behind) => {
            let mut output = held.value().output.borrow_mut();
            // The connection is broken off behind the text.
            let _ = output.write(held.request(), text_page(told).as_bytes());
            return failed;
        }
        None => return failed,
    }
    let is_part = held.request().main().is_some();
    let asked = Asked::of(held.request());
    drop(held);
    // Python shows the application's values, whose code may do anything, also with the request. A part of another page is none.
    let page = if is_part {
        Page::of_text(told)
    } else {
        page(cx, told, asked)
    };
    let Ok(held) = embed::acquire(cx.py, lease) else {
        return failed;
    };
    let request = held.request();
    let mut output = held.value().output.borrow_mut();
    output.discard();
    if room(request, &output) != Some(Room::Whole) {
        return failed;
    }
    request.set_status(failed.0);
    request.set_content_type(page.kind.as_bytes());
    if let Some(headers) = request.headers_out() {
        OF_ANOTHER_BODY.iter().for_each(|name| headers.unset(name));
        headers.set(c"Cache-Control", c"no-store");
        headers.set(c"X-Content-Type-Options", c"nosniff");
        headers.set(c"Vary", c"Accept");
        headers.set(
            c"Content-Security-Policy",
            request.pool().c_string(page.policy.as_bytes()),
        );
    }
    match output.write(request, page.text.as_bytes()) {
        Ok(()) => Status::DONE,
        Err(_) => failed,
    }
}

/// What can still be shown to the client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    /// A page of its own.
    Whole,
    /// Text behind what has left.
    Behind,
}

fn room(request: Request<'_>, output: &Output) -> Option<Room> {
    let told = output.told();
    match request.departure(told) {
        Departure::Nothing => Some(Room::Whole),
        Departure::Begun if takes_more(request, told) => Some(Room::Behind),
        _ => None,
    }
}

/// What a page says of the request that it answers.
struct Asked {
    method: String,
    uri: String,
    protocol: String,
    remote: String,
    headers: Vec<(String, String)>,
}

impl Asked {
    /// Copies: making Python's objects may run any code, and the request is held for moments only.
    fn of(request: Request<'_>) -> Asked {
        let text = |text: Option<&CStr>| text.unwrap_or_default().to_string_lossy().into_owned();
        let headers = request.headers_in();
        let headers = headers.iter().flat_map(|table| table.entries());
        Asked {
            method: text(request.method()),
            uri: text(request.unparsed_uri()),
            protocol: text(request.protocol()),
            remote: text(request.useragent_ip()),
            headers: headers
                .map(|(name, value)| (text(Some(name)), text(value)))
                .collect(),
        }
    }
}

/// An answer that shows an error.
struct Page {
    kind: String,
    policy: String,
    text: String,
}

impl Page {
    fn of_text(told: &Told<'_, '_>) -> Page {
        Page {
            kind: "text/html; charset=utf-8".into(),
            policy: "default-src 'none'".into(),
            text: text_page(told),
        }
    }
}

/// Has the Python package make the page; where it cannot, the text is all.
fn page(cx: Cx<'_>, told: &Told<'_, '_>, asked: Asked) -> Page {
    let Asked {
        method,
        uri,
        protocol,
        remote,
        headers,
    } = asked;
    let make = || -> PyResult<Page> {
        let request = (method, uri, protocol, remote, headers);
        let arguments = (told.raised, told.place, &told.what.text, request);
        let made = cx.apache()?.getattr("_page")?.call1(arguments)?;
        let part =
            |place: usize| -> PyResult<String> { Ok(text::lossy(&made.get_item(place)?.str()?)) };
        Ok(Page {
            kind: part(0)?,
            policy: part(1)?,
            text: part(2)?,
        })
    };
    exception::or_discard(cx.py, make()).unwrap_or_else(|| Page::of_text(told))
}

fn text_page(told: &Told<'_, '_>) -> String {
    let (place, text) = (escape(told.place), escape(&told.what.text));
    format!("\n<pre>\nMod_python error: \"{place}\"\n\n{text}\n</pre>\n")
}

/// Can text be added to an answer that has begun to leave? Not where its length has been announced, where it
/// has no body, or in a part of a page.
fn takes_more(request: Request<'_>, told: Option<i64>) -> bool {
    let has_length = || {
        request
            .headers_out()
            .is_some_and(|headers| headers.first(c"Content-Length").is_some())
    };
    request.main().is_none()
        && !request.is_head_only(told.unwrap_or(request.status()))
        && !has_length()
}

/// Headers that tell of the body that an error's page has replaced.
const OF_ANOTHER_BODY: [&CStr; 9] = [
    c"Content-Disposition",
    c"Content-Language",
    c"Content-Length",
    c"Content-Encoding",
    c"Content-Range",
    c"Content-MD5",
    c"ETag",
    c"Last-Modified",
    c"Location",
];

/// Counts an error of Python code that httpd has called, for `mod_python.status`.
pub(crate) fn count(cx: Cx<'_>) {
    if let Some(row) = cx.interpreter.row() {
        row.count_error();
    }
    totals::count_error(cx.interpreter);
}

/// Counts an error and writes it to the request's log.
pub(crate) fn error(cx: Cx<'_>, request: Request<'_>, text: &str) {
    count(cx);
    cx.log(request, Level::Error, text);
}

/// An exception, or another error, as the log has it.
pub(crate) struct Described {
    /// The traceback: lines.
    pub(crate) text: String,
    /// The exception in one line, and as an object of JSON, where logs may have objects.
    object: Option<(String, String)>,
}

impl From<String> for Described {
    fn from(text: String) -> Described {
        Described { text, object: None }
    }
}

/// Counts an exception and writes its traceback to the error log, each line as an entry; the first says in which phase and handler
/// it was raised.
pub(crate) fn traceback(cx: Cx<'_>, request: Request<'_>, place: &str, what: &Described) {
    count(cx);
    with_extra(cx.extra(), place, what, |text, extra| {
        write_lines(cx, request, text, extra);
    });
}

/// Counts an error and writes lines of it to the request's log.
pub(crate) fn lines(cx: Cx<'_>, request: Request<'_>, text: &str) {
    count(cx);
    write_lines(cx, request, text, cx.extra());
}

fn write_lines(cx: Cx<'_>, request: Request<'_>, text: &str, extra: Extra<'_>) {
    cx.detached((request, text, extra), |(request, text, extra)| {
        log::traceback(request, Level::Error as i32, text.as_bytes(), extra);
    });
}

/// As `traceback`, in the main server's log.
pub(crate) fn traceback_of_process(cx: Cx<'_>, place: &str, what: &Described) {
    count(cx);
    with_extra(cx.extra(), place, what, |text, extra| {
        cx.log_lines_of_process(Level::Error, text, extra);
    });
}

/// Writes what has been counted already; not while an interpreter is attached.
pub(crate) fn traceback_outside(subject: impl Subject, place: &str, what: &Described) {
    with_extra(Extra::default(), place, what, |text, extra| {
        log::traceback(subject, Level::Error as i32, text.as_bytes(), extra);
    });
}

/// Calls `write` with a traceback, behind the line that says where it was raised, and with what it has as an object.
fn with_extra(
    extra: Extra<'_>,
    place: &str,
    what: &Described,
    write: impl FnOnce(&str, Extra<'_>),
) {
    let text = titled(place, &what.text);
    let Some((message, object)) = &what.object else {
        return write(&text, extra);
    };
    let extra = Extra {
        message: Some(&titled(place, message)),
        exception: Some(object),
        ..extra
    };
    write(&text, extra);
}

/// Puts the line that says where it was raised in front of a traceback.
fn titled(place: &str, text: &str) -> String {
    format!("{}: {text}", place.replace('\n', " "))
}

/// Makes the sentence for a handler's result that is no status.
pub(crate) fn no_status(cx: Cx<'_>, result: &Bound<'_, PyAny>, how: &str) -> String {
    if let Some(number) = exception::exact_int(result) {
        return format!(
            "the handler {how} {number}, which is no status; it must be apache.OK, DECLINED, DONE or 100 to 599"
        );
    }
    let kind = exception::or_discard(cx.py, result.get_type().name())
        .map(|name| name.to_string())
        .unwrap_or_default();
    format!(
        "the handler {how} a value of type {kind}; it must be an int such as apache.OK or apache.HTTP_NOT_FOUND"
    )
}

fn place(phase: Phase, entry: Option<&Entry<'_>>) -> String {
    entry.map_or_else(
        || phase.directive().to_string(),
        |entry| format!("{} {}", phase.directive(), entry.text),
    )
}

/// Describes an exception; never fails.
pub(crate) fn describe(cx: Cx<'_>, raised: &Bound<'_, PyAny>) -> Described {
    let text = cx
        .apache()
        .and_then(|apache| apache.getattr("_describe")?.call1((raised,))?.str());
    let text = exception::or_discard(cx.py, text).map(|text| text::lossy(&text));
    let object = || -> PyResult<(String, String)> {
        let described = cx.apache()?.getattr("_object")?.call1((raised,))?;
        let part = |place: usize| -> PyResult<String> {
            Ok(text::lossy(&described.get_item(place)?.str()?))
        };
        Ok((part(0)?, part(1)?))
    };
    Described {
        text: text.unwrap_or_else(|| "an exception that cannot be shown".into()),
        object: may_log_objects()
            .then(object)
            .and_then(|made| exception::or_discard(cx.py, made)),
    }
}

/// Escapes text for HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
