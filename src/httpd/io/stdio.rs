//! Python's standard output and error: lines for the error log, of the request that the thread serves.

use crate::httpd::log::Extra;
use crate::httpd::request::Request;
use crate::httpd::request::server::Server;
use crate::httpd::request::turn::Turn;
use crate::httpd::{log, sys};
use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr::{null, null_mut};

/// How many streams there are: standard output and standard error.
pub(crate) const STREAMS: usize = 2;
/// How long a line may become, in bytes, before what there is of it is logged.
const LONGEST: usize = 8192;

/// What a thread is doing.
struct Thread {
    /// The request whose handlers run in it, and its turn; NULL outside.
    serving: Cell<(*mut sys::request_rec, *const Turn)>,
    /// May there be lines that have no end yet?
    pending: Cell<bool>,
}

thread_local! {
    static THREAD: Thread = const {
        Thread {
            serving: Cell::new((null_mut(), null())),
            pending: Cell::new(false),
        }
    };
    /// Lines that have no end yet.
    static PARTIAL: RefCell<[Vec<u8>; STREAMS]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Says, while it lives, that this thread serves a request: what is printed is logged for that.
pub(crate) struct Serving<'t> {
    before: (*mut sys::request_rec, *const Turn),
    _turn: PhantomData<&'t Turn>,
}

impl<'t> Serving<'t> {
    pub(crate) fn new(request: Request<'t>, turn: &'t Turn) -> Serving<'t> {
        let now = (request.as_ptr(), std::ptr::from_ref(turn));
        Serving {
            before: THREAD.with(|thread| thread.serving.replace(now)),
            _turn: PhantomData,
        }
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        THREAD.with(|thread| {
            if thread.pending.replace(false) {
                (0..STREAMS).for_each(flush);
            }
            thread.serving.set(self.before);
        });
    }
}

/// Writes to a stream: logs complete lines, and keeps what comes behind the last one.
pub(crate) fn write(stream: usize, data: &[u8]) {
    // Taken out of its place, since logging runs code of other modules, which might print something.
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
    let kept = PARTIAL.try_with(|all| {
        if let Some(place) = all.borrow_mut().get_mut(stream) {
            *place = std::mem::take(&mut rest);
        }
    });
    if kept.is_err() {
        // The thread ends and keeps nothing more, so the rest is logged, too.
        line(&rest);
    }
}

/// Logs what has been written and has no line end yet.
pub(crate) fn flush(stream: usize) {
    let pending = take(stream);
    if !pending.is_empty() {
        line(&pending);
    }
}

fn take(stream: usize) -> Vec<u8> {
    let taken = PARTIAL.try_with(|all| all.borrow_mut().get_mut(stream).map(std::mem::take));
    taken.ok().flatten().unwrap_or_default()
}

fn line(text: &[u8]) {
    if !text.trim_ascii().is_empty() {
        let extra = Extra {
            logger: Some("print"),
            ..Extra::default()
        };
        log_here(None, log::Level::Error as c_int, text, extra);
    }
}

/// Logs lines for the request that this thread serves; where it serves none, for a server, which is the main one if none is given.
pub(crate) fn log_here(server: Option<Server<'_>>, level: c_int, text: &[u8], extra: Extra<'_>) {
    let (request, turn) = THREAD.with(|thread| thread.serving.get());
    // SAFETY: both live while the `Serving` does, in this thread.
    let (request, turn) = unsafe { (Request::from_raw(request), turn.as_ref()) };
    let Some(request) = request else {
        return log::traceback(server.or_else(Server::main), level, text, extra);
    };
    // Logging for a request uses its pool, so not while another thread uses the request.
    match turn.and_then(Turn::try_take) {
        Some(_taken) => log::traceback(request, level, text, extra),
        None => log::traceback(request.server(), level, text, extra),
    }
}
