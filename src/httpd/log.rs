//! The error log, with httpd's own decoration: `[python:error] … [client …]`.
//!
//! Keeps invariant 6: the format is always the constant "%s". A text longer than one entry is cut into several.
//!
//! A message is one entry: the line ends in it, which may be a client's, are escaped by httpd. Only of a traceback (`*_lines`) each
//! line is an entry. A line end inside of an exception's text comes here as CR LF; it is escaped as in a message.

use crate::httpd::module::slot;
use crate::httpd::sys;
use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::OnceLock;

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
    if S::MAY_WAIT {
        waits();
    }
    write(subject, level & sys::APLOG_LEVELMASK, text);
}

/// Logs a traceback, an entry a line.
pub(crate) fn traceback(subject: impl Subject, level: Level, text: &str) {
    waits();
    lines(text.as_bytes(), |line| {
        write(subject, level as c_int & sys::APLOG_LEVELMASK, line);
    });
}

/// Logs a mistake that stops httpd: at start-up it goes to the terminal, without decoration (APLOG_STARTUP).
pub(in crate::httpd) fn startup(subject: impl Subject, text: &str) {
    let level = sys::APLOG_CRIT | sys::APLOG_STARTUP;
    write(subject, level, text.as_bytes());
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
pub(crate) fn lines_of_process(level: c_int, text: &str) {
    lines(text.as_bytes(), |line| {
        write(Process, level & sys::APLOG_LEVELMASK, line);
    });
}

/// The main server, if there is one yet.
#[derive(Clone, Copy)]
pub(crate) struct Process;

impl Subject for Process {
    const MAY_WAIT: bool = false;

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

    fn write(self, entry: Entry<'_>) {
        match self {
            Some(subject) => subject.write(entry),
            None => Process.write(entry),
        }
    }
}

fn write(subject: impl Subject, level: c_int, text: &[u8]) {
    entries(text, |text| subject.write(Entry { level, text }));
}

const FORMAT: *const c_char = c"%s".as_ptr();
// httpd shows the source file only at trace levels; ours would mean nothing to an operator.
const FILE: *const c_char = c"mod_python".as_ptr();

/// How many lines of a traceback are logged of its beginning and of its end: a chain of exceptions may have any number.
const MOST_LINES: usize = 200;
const MOST_BYTES: usize = 64 << 10;
/// How many bytes are logged of the beginning and of the end of a line: an exception's text, which is one, may have any length.
const MOST_OF_LINE: usize = 8 << 10;

/// Calls `write` with each line that is not empty.
fn lines(text: &[u8], mut write: impl FnMut(&[u8])) {
    let lines: Vec<_> = split(text).map(shortened).collect();
    let end = |lines: &mut dyn Iterator<Item = &Cow<'_, [u8]>>| {
        let mut bytes = 0;
        let fits = |line: &&Cow<'_, [u8]>| {
            bytes += line.len();
            bytes <= MOST_BYTES
        };
        lines.take(MOST_LINES).take_while(fits).count()
    };
    let (first, last) = (end(&mut lines.iter()), end(&mut lines.iter().rev()));
    let left_out = lines.len().saturating_sub(first + last);
    for (place, line) in lines.iter().enumerate() {
        if left_out > 0 && place == first {
            write(format!("  ... {left_out} lines are left out ...").as_bytes());
        }
        if place < first || place >= first + left_out {
            write(line);
        }
    }
}

/// Shortens a long line to its beginning and its end.
fn shortened(line: &[u8]) -> Cow<'_, [u8]> {
    let left_out = line.len().saturating_sub(2 * MOST_OF_LINE);
    match (
        line.first_chunk::<MOST_OF_LINE>(),
        line.last_chunk::<MOST_OF_LINE>(),
    ) {
        (Some(first), Some(last)) if left_out > 0 => {
            let between = format!(" ... {left_out} bytes are left out ... ");
            Cow::Owned([first.as_slice(), between.as_bytes(), last].concat())
        }
        _ => Cow::Borrowed(line),
    }
}

/// Splits a traceback into lines, but not at CR LF.
fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut before = 0;
    let lines = text.split(move |&byte| {
        let ends = byte == b'\n' && before != b'\r';
        before = byte;
        ends
    });
    lines.filter(|line| !line.trim_ascii().is_empty())
}

fn entries(text: &[u8], mut write: impl FnMut(&CString)) {
    let text = text.trim_ascii_end();
    for chunk in text.chunks(ENTRY) {
        // NUL cannot be part of a C string: it is replaced as httpd replaces other control characters.
        let clean: Vec<u8> = chunk
            .iter()
            .map(|&byte| if byte == 0 { b'?' } else { byte })
            .collect();
        if let Ok(entry) = CString::new(clean) {
            write(&entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        lines(text, |line| found.push(line.to_vec()));
        found
    }

    #[test]
    fn a_traceback_is_its_lines_and_the_exceptions_own_line_ends_are_none() {
        let text = b"x: Traceback:\n  File\n\n   \nValueError: a\r\nb\r\n\nend\n";
        let expected: [&[u8]; 4] = [
            b"x: Traceback:",
            b"  File",
            b"ValueError: a\r\nb\r\n",
            b"end",
        ];
        assert_eq!(all(text), expected);
    }

    #[test]
    fn there_is_a_bound_on_lines_and_both_ends_are_shown() {
        let text: Vec<String> = (0..100_000).map(|line| format!("l{line}")).collect();
        let found = all(text.join("\n").as_bytes());
        assert_eq!(found.len(), 2 * MOST_LINES + 1);
        assert_eq!(found.first().unwrap(), b"l0");
        assert_eq!(found.last().unwrap(), b"l99999");
        assert_eq!(found[MOST_LINES], b"  ... 99600 lines are left out ...");
    }

    #[test]
    fn there_is_a_bound_on_bytes_and_both_ends_are_shown() {
        let text = format!("first\nx: {}the end\nlast", "a\r\n".repeat(10_000_000));
        let found = all(text.as_bytes());
        assert_eq!(found.len(), 3);
        assert!(found[1].len() < 2 * MOST_OF_LINE + 100);
        assert!(found[1].starts_with(b"x: a") && found[1].ends_with(b"the end"));
        let text: Vec<String> = (0..300)
            .map(|line| format!("{line}{}", "y".repeat(4000)))
            .collect();
        let found = all(text.join("\n").as_bytes());
        assert!(found.iter().map(Vec::len).sum::<usize>() <= 2 * MOST_BYTES + 100);
        assert!(
            found.first().unwrap().starts_with(b"0y") && found.last().unwrap().starts_with(b"299y")
        );
    }
}
