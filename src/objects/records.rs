//! `_log`: what the Python package, and `logging` through it, writes to the error log.

use super::server::payload::Server;
use crate::embed::class::{self, Args};
use crate::embed::{Cx, text};
use crate::httpd::io::stdio;
use crate::httpd::log::Extra;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// `_log(level, text, logger, message, exception, fields, traceparent, server)`: lines for the request that this thread serves, or a server.
pub(super) fn log<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let level = i32::try_from(args.integer_or(0, 3)?).unwrap_or(3);
    let text = text::message(&args.required(1)?)?;
    let texts = [2, 3, 4, 5, 6].map(|place| {
        let given = args.get(place);
        let given = given.and_then(|given| given.cast_into::<PyString>().ok());
        given.map(|given| text::lossy(&given))
    });
    let [logger, message, exception, fields, traceparent] = texts.each_ref().map(Option::as_deref);
    let server = args.get(7).filter(|server| !server.is_none());
    let server = server.map(|server| {
        class::payload::<Server>(cx, &server)
            .map(Server::listed)
            .ok_or_else(|| PyTypeError::new_err("the server must be a server object"))
    });
    let extra = Extra {
        logger,
        message,
        exception,
        fields,
        traceparent,
        ..cx.extra()
    };
    let entry = (level, text.as_slice(), extra);
    cx.detached((server.transpose()?.flatten(), entry), |(server, entry)| {
        let (level, text, extra) = entry;
        stdio::log_here(server, level, text, extra);
    });
    Ok(cx.py.None().into_bound(cx.py))
}
