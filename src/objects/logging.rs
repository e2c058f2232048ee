//! What the `log_error` functions and methods share.

use crate::embed::Cx;
use crate::embed::class::Args;
use crate::httpd::log::{self, Level};
use crate::httpd::request::server::Server;
use pyo3::prelude::*;

/// Reads the arguments of the `log_error` methods, message and level. A level of 0 is APLOG_ERR; a message of None is not logged.
pub(super) fn log_arguments<'py>(
    args: &Args<'_, 'py>,
    write: impl FnOnce(i32, &Bound<'py, PyAny>) -> PyResult<()>,
) -> PyResult<()> {
    let level = i32::try_from(args.integer_or(1, 0)?).unwrap_or(0);
    let message = args.required(0)?;
    if message.is_none() {
        Ok(())
    } else {
        write(
            if level == 0 {
                Level::Error as i32
            } else {
                level
            },
            &message,
        )
    }
}

/// Writes to a server's log; detached, since the log may be a pipe that is full.
pub(super) fn log_for(cx: Cx<'_>, server: Option<Server<'_>>, level: i32, message: &[u8]) {
    let entry = (level, message, cx.extra());
    cx.detached((server, entry), |(server, (level, message, extra))| {
        log::message(server, level, message, extra);
    });
}
