//! The error log, with httpd's own decoration: `[python:error] … [client …]`.
//!
//! Keeps invariant 6: the format is always the constant "%s". A text longer than one entry is cut into several.

use super::connection::Connection;
use super::request::Request;
use super::server::Server;
use super::{module, sys};
use std::ffi::{CString, c_int};

/// Levels of the error log (http_log.h: APLOG_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Level {
    Critical = sys::APLOG_CRIT,
    Error = sys::APLOG_ERR,
    Warning = sys::APLOG_WARNING,
    Info = sys::APLOG_INFO,
    Debug = sys::APLOG_DEBUG,
}

/// httpd cuts an entry at MAX_STRING_LEN (8192) after escaping it, and escaping can add a lot.
const ENTRY: usize = 6000;

/// Logs for a request (ap_log_rerror).
pub(crate) fn request(request: Request<'_>, level: Level, text: &str) {
    request_raw(request, level as c_int, text.as_bytes());
}

/// Logs for a request at a numeric level that Python chose.
pub(crate) fn request_raw(request: Request<'_>, level: c_int, text: &[u8]) {
    entries(text, |entry| {
        // SAFETY: a live request and a constant format with its one argument.
        unsafe {
            sys::ap_log_rerror_(
                FILE,
                0,
                module::index(),
                level & sys::APLOG_LEVELMASK,
                0,
                request.as_ptr(),
                FORMAT,
                entry.as_ptr(),
            );
        }
    });
}

/// Logs for a connection (ap_log_cerror).
pub(crate) fn connection_raw(connection: Connection<'_>, level: c_int, text: &[u8]) {
    entries(text, |entry| {
        // SAFETY: as in `request_raw`.
        unsafe {
            sys::ap_log_cerror_(
                FILE,
                0,
                module::index(),
                level & sys::APLOG_LEVELMASK,
                0,
                connection.as_ptr(),
                FORMAT,
                entry.as_ptr(),
            );
        }
    });
}

/// Logs for a server (ap_log_error).
pub(crate) fn server(server: Server<'_>, level: Level, text: &str) {
    server_raw(Some(server), level as c_int, text.as_bytes());
}

/// Logs for a server, or for the main one, at a numeric level that Python chose.
pub(crate) fn server_raw(server: Option<Server<'_>>, level: c_int, text: &[u8]) {
    let server = server.map_or(std::ptr::null(), |server| server.as_ptr().cast_const());
    entries(text, |entry| {
        // SAFETY: a live server or NULL (httpd's default log), and a constant format.
        unsafe {
            sys::ap_log_error_(
                FILE,
                0,
                module::index(),
                level & sys::APLOG_LEVELMASK,
                0,
                server,
                FORMAT,
                entry.as_ptr(),
            );
        }
    });
}

/// Logs where no server is at hand.
pub(crate) fn process(level: Level, text: &str) {
    server_raw(Server::main(), level as c_int, text.as_bytes());
}

const FORMAT: *const std::ffi::c_char = c"%s".as_ptr();
// httpd shows the source file only at trace levels; ours would mean nothing to an operator.
const FILE: *const std::ffi::c_char = c"mod_python".as_ptr();

fn entries(text: &[u8], mut write: impl FnMut(&CString)) {
    let text = text.trim_ascii_end();
    for chunk in text.chunks(ENTRY) {
        // NUL cannot be part of a C string: shown as the replacement httpd would use for other controls.
        let clean: Vec<u8> = chunk
            .iter()
            .map(|&byte| if byte == 0 { b'?' } else { byte })
            .collect();
        if let Ok(entry) = CString::new(clean) {
            write(&entry);
        }
    }
}

/// Logs a mistake that stops httpd: at start-up it goes to the terminal, without decoration (APLOG_STARTUP).
pub(super) fn server_startup(server: Server<'_>, text: &str) {
    entries(text.as_bytes(), |entry| {
        // SAFETY: as in `server_raw`.
        unsafe {
            sys::ap_log_error_(
                FILE,
                0,
                module::index(),
                sys::APLOG_CRIT | sys::APLOG_STARTUP,
                0,
                server.as_ptr(),
                FORMAT,
                entry.as_ptr(),
            );
        }
    });
}
