//! Python's standard output and error: lines for the error log, of the request that the thread serves.

use super::log;
use super::request::Request;
use super::server::Server;
use super::sys;
use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::ptr::null_mut;

/// How many streams there are: standard output and standard error.
pub(crate) const STREAMS: usize = 2;
/// A line that grows beyond this is written in pieces.
const LONGEST: usize = 8192;

/// What a thread is doing.
struct Thread {
    /// The request whose handlers run in it; NULL outside.
    serving: Cell<*mut sys::request_rec>,
    /// May there be lines that have no end yet?
    pending: Cell<bool>,
}

thread_local! {
    static THREAD: Thread = const {
        Thread {
            serving: Cell::new(null_mut()),
            pending: Cell::new(false),
        }
    };
    /// Lines that have no end yet.
    static PARTIAL: RefCell<[Vec<u8>; STREAMS]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// This thread serves a request while this lives.
pub(crate) struct Serving(*mut sys::request_rec);

impl Serving {
    pub(crate) fn new(request: Request<'_>) -> Serving {
        Serving(THREAD.with(|thread| thread.serving.replace(request.as_ptr())))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        THREAD.with(|thread| {
            if thread.pending.replace(false) {
                (0..STREAMS).for_each(flush);
            }
            thread.serving.set(self.0);
        });
    }
}

/// Takes what a stream is given; complete lines go to the log.
pub(crate) fn write(stream: usize, data: &[u8]) {
    // Out of its place while it is logged: logging runs code of other modules.
    let mut pending = take(stream);
    pending.extend_from_slice(data);
    let whole = pending.iter().rposition(|&byte| byte == b'\n');
    let mut rest = pending.split_off(whole.map_or(0, |end| end + 1));
    pending.split(|&byte| byte == b'\n').for_each(line);
    if rest.len() > LONGEST {
        line(&rest);
        rest.clear();
    }
    THREAD.with(|thread| thread.pending.set(true));
    PARTIAL.with_borrow_mut(|all| {
        if let Some(place) = all.get_mut(stream) {
            *place = rest;
        }
    });
}

/// Writes what has no end yet as a line.
pub(crate) fn flush(stream: usize) {
    let pending = take(stream);
    if !pending.is_empty() {
        line(&pending);
    }
}

fn take(stream: usize) -> Vec<u8> {
    PARTIAL.with_borrow_mut(|all| all.get_mut(stream).map(std::mem::take).unwrap_or_default())
}

fn line(text: &[u8]) {
    if text.trim_ascii().is_empty() {
        return;
    }
    let level = log::Level::Error as c_int;
    // SAFETY: the request lives while its `Serving` does, in this thread.
    match unsafe { Request::from_raw(THREAD.with(|thread| thread.serving.get())) } {
        Some(request) => log::request_raw(request, level, text),
        None => log::server_raw(Server::main(), level, text),
    }
}
