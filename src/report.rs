//! Errors of handlers: to the error log always, to the browser under PythonDebug.

use crate::config::{Entry, Phase};
use crate::embed::{self, Cx, exception, text, totals};
use crate::exchange::RequestLease;
use crate::httpd::log;
use crate::httpd::log::Level;
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
    tell(cx, lease, &place, &describe(cx, raised), debug)
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
    entry: &Entry<'_>,
    text: &str,
    debug: bool,
) -> Status {
    tell(cx, lease, &place(phase, Some(entry)), text, debug)
}

/// Logs an error, and drops what has been written and has not left: an error's page takes its place, with PythonDebug On that
/// of the text.
fn tell(cx: Cx<'_>, lease: &RequestLease, place: &str, text: &str, debug: bool) -> Status {
    let failed = Status::INTERNAL_SERVER_ERROR;
    let Ok(held) = embed::acquire(cx.py, lease) else {
        return failed;
    };
    let request = held.request();
    traceback(cx, request, place, text);
    let mut output = held.value().output.borrow_mut();
    output.discard();
    if !debug {
        return failed;
    }
    let told = output.told();
    let late = match request.departure(told) {
        Departure::Nothing => false,
        Departure::Begun if takes_more(request, told) => true,
        _ => return failed,
    };
    if !late {
        request.set_status(failed.0);
        request.set_content_type(b"text/html; charset=utf-8");
        if let Some(headers) = request.headers_out() {
            OF_ANOTHER_BODY.iter().for_each(|name| headers.unset(name));
        }
    }
    let page = format!(
        "\n<pre>\nMod_python error: \"{}\"\n\n{}\n</pre>\n",
        escape(place),
        escape(text)
    );
    match output.write(request, page.as_bytes()) {
        Ok(()) if !late => Status::DONE,
        // A part of the answer had left: the connection is broken off behind the text.
        _ => failed,
    }
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
const OF_ANOTHER_BODY: [&CStr; 6] = [
    c"Content-Length",
    c"Content-Encoding",
    c"Content-Range",
    c"Content-MD5",
    c"ETag",
    c"Last-Modified",
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

/// Counts an exception and writes its traceback to the error log, each line as an entry; the first says in which phase and handler
/// it was raised.
pub(crate) fn traceback(cx: Cx<'_>, request: Request<'_>, place: &str, text: &str) {
    count(cx);
    let text = titled(place, text);
    cx.detached((request, text.as_str()), |(request, text)| {
        log::traceback(request, Level::Error, text);
    });
}

/// Puts the line that says where it was raised in front of a traceback.
pub(crate) fn titled(place: &str, text: &str) -> String {
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

/// Makes an exception's traceback as text; never fails.
pub(crate) fn describe(cx: Cx<'_>, raised: &Bound<'_, PyAny>) -> String {
    let text = cx
        .apache()
        .and_then(|apache| apache.getattr("_describe")?.call1((raised,))?.str());
    let text = exception::or_discard(cx.py, text).map(|text| text::lossy(&text));
    text.unwrap_or_else(|| "an exception that cannot be shown".into())
}

/// Escapes text for HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
