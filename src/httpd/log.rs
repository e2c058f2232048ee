//! The error log, with httpd's own decoration: `[python:error] … [client …]`.
//!
//! Keeps invariant 6: the format is always the constant "%s". A text longer than one entry is cut into several.
//!
//! Where `mod_python.log.json` says so, an entry is an object of JSON instead (`record`).
//!
//! A message is one entry: the line ends in it, which may be a client's, are escaped by httpd. Only of a traceback (`*_lines`) each
//! line is an entry. A line end inside of an exception's text comes here as CR LF; it is escaped as in a message.

use crate::httpd::lines::{entries, fits, lines};
use crate::httpd::module::slot;
pub(crate) use crate::httpd::record::Extra;
use crate::httpd::record::Record;
pub(in crate::httpd) use crate::httpd::record::{About, Trace};
use crate::httpd::sys;
use std::ffi::{CStr, c_char, c_int};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

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

/// What test builds call where an entry is written: the log may be a pipe that is full.
static WAITS: OnceLock<fn()> = OnceLock::new();

/// Sets that check.
pub(crate) fn check_waits(check: fn()) {
    let _ = WAITS.set(check);
}

fn waits() {
    if cfg!(debug_assertions)
        && let Some(check) = WAITS.get()
    {
        check();
    }
}

/// What an entry belongs to: a request, a connection, a server.
pub(crate) trait Subject: Copy {
    /// Is it an error in test builds to write its entries while Python's lock is held?
    const MAY_WAIT: bool;

    /// Writes one entry (ap_log_rerror and the like).
    fn write(self, entry: Entry<'_>);

    /// Where its entries go as objects; None where they are httpd's own.
    fn sink(self) -> Option<Sink>;

    /// What its entries say of the request.
    fn about(&self) -> Option<About<'_>> {
        None
    }

    /// The trace that it is part of.
    fn trace(&self) -> Option<Trace<'_>> {
        None
    }
}

/// Where entries go as objects.
pub(crate) struct Sink {
    /// NULL where the log is no file.
    pub(in crate::httpd) file: *mut sys::apr_file_t,
    /// The level of LogLevel.
    pub(in crate::httpd) most: c_int,
}

/// An entry as httpd's functions take it.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'e> {
    pub(in crate::httpd) level: c_int,
    pub(in crate::httpd) text: &'e CStr,
}

impl Entry<'_> {
    /// Gives `log` what httpd's logging functions have in common: file, line, module, level and status; then format and text.
    pub(in crate::httpd) fn write(
        self,
        log: impl FnOnce((*const c_char, c_int, c_int, c_int), (*const c_char, *const c_char)),
    ) {
        log(
            (FILE, 0, slot::index(), self.level),
            (FORMAT, self.text.as_ptr()),
        );
    }
}

/// Logs a message.
pub(crate) fn entry(subject: impl Subject, level: Level, text: &str) {
    raw(subject, level as c_int, text.as_bytes());
}

/// Logs a message at a numeric level that Python chose.
pub(crate) fn raw<S: Subject>(subject: S, level: c_int, text: &[u8]) {
    message(subject, level, text, Extra::default());
}

/// As `raw`, with what the entry has as an object.
pub(crate) fn message<S: Subject>(subject: S, level: c_int, text: &[u8], extra: Extra<'_>) {
    if S::MAY_WAIT {
        waits();
    }
    let level = level & sys::APLOG_LEVELMASK;
    match subject.sink() {
        Some(sink) => object(subject, &sink, level, text, extra),
        None => write(subject, level, text, &extra),
    }
}

/// Logs a traceback, an entry a line; as an object it is one.
pub(crate) fn traceback(subject: impl Subject, level: c_int, text: &[u8], extra: Extra<'_>) {
    waits();
    lines_of(subject, level, text, extra);
}

fn lines_of(subject: impl Subject, level: c_int, text: &[u8], extra: Extra<'_>) {
    let level = level & sys::APLOG_LEVELMASK;
    match subject.sink() {
        Some(sink) => object(subject, &sink, level, text, extra),
        None => lines(text, |line| write(subject, level, line, &extra)),
    }
}

/// Logs a mistake that stops httpd: at start-up it goes to the terminal, without decoration (APLOG_STARTUP).
pub(in crate::httpd) fn startup(subject: impl Subject, text: &str) {
    let level = sys::APLOG_CRIT | sys::APLOG_STARTUP;
    write(subject, level, text.as_bytes(), &Extra::default());
}

/// Logs where no server is at hand: in the main one's log, or where httpd writes before there is one.
pub(crate) fn process(level: Level, text: &str) {
    raw(Process, level as c_int, text.as_bytes());
}

/// Does the main server's LogLevel let `process` through at this level?
pub(crate) fn is_read(level: Level) -> bool {
    // SAFETY: NULL, or the live main server.
    unsafe {
        let server = sys::ap_server_conf;
        let module = crate::httpd::module::slot::index();
        server.is_null() || sys::ap_get_server_module_loglevel(server, module) >= level as c_int
    }
}

/// As `process`, for a message or a traceback.
pub(crate) fn lines_of_process(level: c_int, text: &str, extra: Extra<'_>) {
    lines_of(Process, level, text.as_bytes(), extra);
}

/// Says whether the main server's entries are objects; called in the child.
pub(crate) fn set_json_of_process(is_json: bool) {
    PROCESS_IS_JSON.store(is_json, Ordering::Relaxed);
}

static PROCESS_IS_JSON: AtomicBool = AtomicBool::new(false);

/// The main server, if there is one yet.
#[derive(Clone, Copy)]
pub(crate) struct Process;

impl Subject for Process {
    const MAY_WAIT: bool = false;

    fn sink(self) -> Option<Sink> {
        // SAFETY: NULL or a live server.
        unsafe {
            let server = sys::ap_server_conf;
            let is_json = PROCESS_IS_JSON.load(Ordering::Relaxed) && !server.is_null();
            is_json.then(|| Sink {
                file: (*server).error_log,
                most: sys::ap_get_server_module_loglevel(server, slot::index()),
            })
        }
    }

    fn write(self, entry: Entry<'_>) {
        entry.write(|(file, line, module, level), (format, text)| {
            // SAFETY: NULL or a live server, and a constant format with its one argument.
            unsafe {
                let server = sys::ap_server_conf;
                sys::ap_log_error_(file, line, module, level, 0, server, format, text);
            }
        });
    }
}

/// None is the main server.
impl<S: Subject> Subject for Option<S> {
    const MAY_WAIT: bool = S::MAY_WAIT;

    fn sink(self) -> Option<Sink> {
        self.map_or_else(|| Process.sink(), Subject::sink)
    }

    fn about(&self) -> Option<About<'_>> {
        self.as_ref().and_then(Subject::about)
    }

    fn trace(&self) -> Option<Trace<'_>> {
        self.as_ref().and_then(Subject::trace)
    }

    fn write(self, entry: Entry<'_>) {
        match self {
            Some(subject) => subject.write(entry),
            None => Process.write(entry),
        }
    }
}

/// Writes a text as entries of httpd's own; those of a request that is part of a trace say of which.
fn write(subject: impl Subject, level: c_int, text: &[u8], extra: &Extra<'_>) {
    let prefix = trace_of(&subject, extra).map(|trace| format!("trace={} ", trace.trace));
    entries(prefix.as_deref().unwrap_or_default(), text, |text| {
        subject.write(Entry { level, text });
    });
}

fn trace_of<'a>(subject: &'a impl Subject, extra: &Extra<'a>) -> Option<Trace<'a>> {
    let said = extra.traceparent.map(str::as_bytes);
    subject.trace().or_else(|| said.and_then(Trace::parse))
}

/// Writes an entry as an object: past httpd's own function, which escapes backslashes, cuts, and decorates. A log that is no file
/// (syslog, another module's) gets it from there; there a collector finds the texts of an object escaped once more.
fn object(subject: impl Subject, sink: &Sink, level: c_int, text: &[u8], extra: Extra<'_>) {
    // As httpd: a notice is never too much.
    if level != sys::APLOG_NOTICE && level > sink.most {
        return;
    }
    let mut record = Record {
        time: SystemTime::now(),
        level: name(level),
        text,
        extra,
        about: subject.about(),
        trace: trace_of(&subject, &extra),
        pid: std::process::id(),
        // SAFETY: asks for this thread's number.
        thread: unsafe { libc::gettid() },
    };
    let mut line = record.object();
    if !sink.file.is_null() {
        if line.len() < libc::PIPE_BUF || !is_pipe(sink.file) {
            return write_line(sink.file, line);
        }
        // Of what is longer, other processes' objects may come to stand in the middle.
        let all = record.objects(libc::PIPE_BUF - 1);
        return all.into_iter().for_each(|one| write_line(sink.file, one));
    }
    if !fits(&line) {
        let message = extra.message.map_or(text, str::as_bytes);
        record.text = message.get(..400).unwrap_or(message);
        (
            record.extra.message,
            record.extra.exception,
            record.extra.fields,
        ) = (None, None, None);
        line = record.object();
    }
    entries("", line.as_bytes(), |text| {
        subject.write(Entry { level, text });
    });
}

fn write_line(file: *mut sys::apr_file_t, mut line: String) {
    line.push('\n');
    // SAFETY: a server's open log; the bytes live while they are written. It is not buffered: each call is one write(2).
    unsafe {
        sys::apr_file_write_full(file, line.as_ptr().cast(), line.len(), std::ptr::null_mut());
    }
}

/// Is a log a pipe (`ErrorLog "|..."`), of which a write is whole up to PIPE_BUF bytes alone? Of a file each is.
fn is_pipe(file: *mut sys::apr_file_t) -> bool {
    let mut descriptor = -1;
    // SAFETY: a server's open log; both fill what they are given.
    unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        sys::apr_os_file_get(&raw mut descriptor, file) == 0
            && libc::fstat(descriptor, &raw mut status) == 0
            && status.st_mode & libc::S_IFMT != libc::S_IFREG
    }
}

/// httpd's name for a level (LogLevel).
fn name(level: c_int) -> &'static str {
    const NAMES: [&str; 8] = [
        "emerg", "alert", "crit", "error", "warn", "notice", "info", "debug",
    ];
    let place = usize::try_from(level).unwrap_or(0);
    NAMES.get(place).copied().unwrap_or("trace")
}

const FORMAT: *const c_char = c"%s".as_ptr();
// httpd shows the source file only at trace levels; ours would mean nothing to an operator.
const FILE: *const c_char = c"mod_python".as_ptr();
