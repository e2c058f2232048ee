//! Errors of handlers: to the error log always, to the browser under PythonDebug.

use crate::config::{Entry, Phase};
use crate::embed::{Cx, exception};
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::status::Status;
use crate::objects::exchange::{RequestLease, write_failed};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

/// Logs an uncaught exception with its traceback; with PythonDebug On it becomes the answer, too.
pub(crate) fn exception(
    cx: Cx<'_>,
    request: Request<'_>,
    lease: &RequestLease,
    phase: Phase,
    entry: Option<&Entry<'_>>,
    raised: &Bound<'_, PyAny>,
    debug: bool,
) -> Status {
    let place = place(phase, entry);
    let (lost, refused) = lease.hold().map_or((false, None), |held| {
        (held.value().lost.get(), held.value().refused.get())
    });
    if (lost || request.connection().aborted())
        && exception::is_instance(raised, cx.py.get_type::<PyOSError>().as_any())
    {
        let text = exception::or_discard(cx.py, raised.str())
            .map(|text| text.to_string())
            .unwrap_or_default();
        log::request(
            request,
            Level::Info,
            &format!("{place}: the client went away: {text}"),
        );
        // A client that has closed its side alone can still see that its request was broken.
        return if lost {
            refused.unwrap_or(Status::BAD_REQUEST)
        } else {
            Status::INTERNAL_SERVER_ERROR
        };
    }
    let text = describe(cx, raised);
    log::request(request, Level::Error, &format!("{place}: {text}"));
    if !debug || request.eos_sent() != 0 {
        return Status::INTERNAL_SERVER_ERROR;
    }
    request.set_status(Status::INTERNAL_SERVER_ERROR.0);
    request.set_content_type(b"text/html; charset=utf-8");
    let page = format!(
        "\n<pre>\nMod_python error: \"{}\"\n\n{}\n</pre>\n",
        escape(&place),
        escape(&text)
    );
    let Ok(held) = lease.hold() else {
        return Status::INTERNAL_SERVER_ERROR;
    };
    let written = held
        .value()
        .output
        .borrow_mut()
        .write(request, page.as_bytes())
        .map_err(write_failed);
    exception::or_discard(cx.py, written).map_or(Status::INTERNAL_SERVER_ERROR, |()| Status::DONE)
}

/// Logs a result that is no status.
pub(crate) fn not_an_integer(
    cx: Cx<'_>,
    request: Request<'_>,
    phase: Phase,
    entry: &Entry<'_>,
    result: &Bound<'_, PyAny>,
    how: &str,
) -> Status {
    let kind = exception::or_discard(cx.py, result.get_type().name())
        .map(|name| name.to_string())
        .unwrap_or_default();
    let place = place(phase, Some(entry));
    let text = format!(
        "{place}: the handler {how} a value of type {kind}; it must be an int such as apache.OK or apache.HTTP_NOT_FOUND"
    );
    log::request(request, Level::Error, &text);
    Status::INTERNAL_SERVER_ERROR
}

fn place(phase: Phase, entry: Option<&Entry<'_>>) -> String {
    entry.map_or_else(
        || phase.directive().to_string(),
        |entry| format!("{} {}", phase.directive(), entry.text),
    )
}

/// The traceback as text; never fails.
pub(crate) fn describe(cx: Cx<'_>, raised: &Bound<'_, PyAny>) -> String {
    let text = cx
        .apache()
        .and_then(|apache| apache.getattr("_describe")?.call1((raised,))?.str());
    let text = exception::or_discard(cx.py, text).map(|text| text.to_string_lossy().into_owned());
    text.unwrap_or_else(|| "an exception that cannot be shown".into())
}

/// Text for HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
