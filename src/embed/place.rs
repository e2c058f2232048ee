//! A place of the table of what all threads are at (`in_flight`), for one thread: how it is claimed, written and read.
//!
//! Its owner alone writes there, and nobody waits for it: who reads what is being written reads again (a sequence lock). What a child has
//! been in the middle of when it died stays for a while, for whoever is to tell of that.

use super::shared;
use super::words::Bytes;
use crate::config::Phase;
use crate::httpd::request::Request;
use std::ffi::CStr;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering, fence};

/// How many words of eight bytes are kept of a request's method, and of its URI.
const METHOD: usize = 3;
const URI: usize = 32;

/// What a thread does. All zeros is a free place.
#[repr(C)]
pub(super) struct Place {
    /// The child's process; negative where it has been found dead in the middle of a request, which the rest tells of.
    pub(super) pid: AtomicI32,
    /// Odd while the rest is being written.
    pub(super) version: AtomicU32,
    /// As `threading.get_ident()` numbers it; of a dead one, when it was found so, in seconds.
    pub(super) thread: AtomicU64,
    /// When the request began, in microseconds since the epoch.
    pub(super) since: AtomicU64,
    /// How many requests its threads have had.
    pub(super) requests: AtomicU64,
    /// How many calls of Python it is in, one inside the other.
    pub(super) depth: AtomicU32,
    /// The place in `Work::TEXTS`.
    pub(super) work: AtomicU32,
    /// The number of the interpreter's row (`scoreboard`).
    pub(super) interpreter: AtomicU32,
    /// How many connections there are that have left their workers; in the place that a child has for them.
    pub(super) streams: AtomicU32,
    /// As they came, the URI with its query: it is cut, and shown as text, by whoever reads it.
    pub(super) method: Bytes<METHOD>,
    pub(super) uri: Bytes<URI>,
}

/// What a thread does in Python.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work(pub(super) u32);

impl Work {
    const TEXTS: [&'static str; 18] = [
        "Python",
        "PythonPostReadRequestHandler",
        "PythonTransHandler",
        "PythonHeaderParserHandler",
        "PythonInitHandler",
        "PythonAccessHandler",
        "PythonAuthenHandler",
        "PythonAuthzHandler",
        "PythonTypeHandler",
        "PythonFixupHandler",
        "PythonHandler",
        "PythonLogHandler",
        "PythonCleanupHandler",
        "PythonConnectionHandler",
        "PythonInputFilter",
        "PythonOutputFilter",
        "wsgi",
        "asgi",
    ];

    pub(crate) const PYTHON: Work = Work(0);
    pub(crate) const CONNECTION: Work = Work(13);
    pub(crate) const INPUT: Work = Work(14);
    pub(crate) const OUTPUT: Work = Work(15);
    pub(crate) const WSGI: Work = Work(16);
    pub(crate) const ASGI: Work = Work(17);

    #[inline]
    pub(crate) fn of_phase(phase: Phase) -> Work {
        // There are no more phases than that.
        Work(u32::try_from(phase as usize).unwrap_or(0) + 1)
    }

    fn text(number: u32) -> &'static str {
        let place = usize::try_from(number).unwrap_or(0);
        Work::TEXTS.get(place).copied().unwrap_or("Python")
    }
}

/// A thread as it was when its place was read.
pub(crate) struct Entry {
    pub(crate) pid: i32,
    pub(crate) thread: u64,
    /// Microseconds since the epoch.
    pub(crate) since: u64,
    pub(crate) work: &'static str,
    /// The number of its row.
    pub(crate) interpreter: u32,
    /// Method and URI, without what stands behind the URI's question mark.
    pub(crate) line: String,
    /// What stands there, with the mark; of a long URI not all.
    pub(crate) query: String,
}

/// For so many seconds a dead child's requests can be read: its keeper is about to say what it was at.
const KEPT: u64 = 10;

/// Makes a place this process's own: one that nobody has, or that a dead child has left idle. Those that it has left in the middle of
/// requests only after a while, or if there are no others.
pub(super) fn claim(places: &[Place], me: i32, now: u64) -> Option<&Place> {
    let free = places.iter().find(|place| {
        let owner = place.pid.load(Ordering::Acquire);
        match owner {
            0 => place.replace(owner, me),
            ..0 => {
                let found = place.thread.load(Ordering::Relaxed);
                now.saturating_sub(found) >= KEPT && place.replace(owner, me)
            }
            _ if owner == me || shared::lives(owner) => false,
            _ if place.depth.load(Ordering::Acquire) == 0 => place.replace(owner, me),
            _ => {
                place.show_dead(owner, now);
                false
            }
        }
    });
    free.or_else(|| {
        places.iter().find(|place| {
            let owner = place.pid.load(Ordering::Acquire);
            owner < 0 && place.is_shown_dead(now) && place.replace(owner, me)
        })
    })
}

/// Seconds by a clock that all processes have, and that nobody sets.
pub(super) fn seconds() -> u64 {
    // SAFETY: a structure of numbers, which is filled.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
        time
    };
    time.tv_sec.unsigned_abs()
}

/// As Python numbers threads (PyThread_get_thread_ident).
pub(super) fn this_thread() -> u64 {
    // SAFETY: no conditions.
    unsafe { libc::pthread_self() }
}

impl Place {
    /// Gives it to another owner, if it is still this one's.
    fn replace(&self, owner: i32, next: i32) -> bool {
        let (order, otherwise) = (Ordering::AcqRel, Ordering::Relaxed);
        self.pid
            .compare_exchange(owner, next, order, otherwise)
            .is_ok()
    }

    /// Shows that its owner has died, if it is this one's. Nobody takes it before the time is there: a thread's number is later than any.
    pub(super) fn show_dead(&self, owner: i32, now: u64) {
        if self.replace(owner, -owner) {
            self.thread.store(now, Ordering::Relaxed);
        }
    }

    /// Is the time there? It may have been another process's, which has looked at the clock a little later.
    fn is_shown_dead(&self, now: u64) -> bool {
        self.thread.load(Ordering::Relaxed) <= now.saturating_add(KEPT)
    }

    /// Writes whose request it is.
    #[inline]
    pub(super) fn write(&self, request: Option<Request<'_>>) {
        let version = self.version.load(Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        let requests = self.requests.load(Ordering::Relaxed);
        self.requests
            .store(requests.wrapping_add(1), Ordering::Relaxed);
        match request {
            Some(request) => {
                let since = u64::try_from(request.time()).unwrap_or(0);
                self.since.store(since, Ordering::Relaxed);
                match request.is_plain_get() {
                    true => self.method.set(b"GET"),
                    false => self.method.set(bytes_of(request.method())),
                }
                self.uri.set(bytes_of(request.unparsed_uri()));
            }
            None => self.write_connection(),
        }
        self.version
            .store(version.wrapping_add(2), Ordering::Release);
    }

    #[cold]
    fn write_connection(&self) {
        let since = u64::try_from(now()).unwrap_or(0);
        self.since.store(since, Ordering::Relaxed);
        self.method.set(b"");
        self.uri.set(b"a connection");
    }

    /// Reads it, where its thread is in Python.
    pub(super) fn read(&self) -> Option<Entry> {
        let pid = self.pid.load(Ordering::Acquire);
        if pid <= 0 {
            return None;
        }
        for _ in 0..100 {
            let version = self.version.load(Ordering::Acquire);
            if self.depth.load(Ordering::Acquire) == 0 {
                return None;
            }
            let (method, uri) = (self.method.get(), self.uri.get());
            let (path, query) = cut(&uri);
            let entry = Entry {
                pid,
                thread: self.thread.load(Ordering::Relaxed),
                since: self.since.load(Ordering::Relaxed),
                work: Work::text(self.work.load(Ordering::Relaxed)),
                interpreter: self.interpreter.load(Ordering::Relaxed),
                line: line(&method, path),
                query: String::from_utf8_lossy(query).into_owned(),
            };
            fence(Ordering::Acquire);
            if version & 1 == 0 && version == self.version.load(Ordering::Relaxed) {
                return Some(entry);
            }
            std::hint::spin_loop();
        }
        None
    }
}

#[inline]
fn bytes_of(text: Option<&CStr>) -> &[u8] {
    text.map_or(&[], CStr::to_bytes)
}

/// What stands in front of a URI's question mark, and the rest.
fn cut(uri: &[u8]) -> (&[u8], &[u8]) {
    let mark = uri.iter().position(|&byte| byte == b'?');
    uri.split_at(mark.unwrap_or(uri.len()))
}

fn line(method: &[u8], path: &[u8]) -> String {
    let path = path.get(..URI * 8).unwrap_or(path);
    let space: &[u8] = if method.is_empty() { b"" } else { b" " };
    String::from_utf8_lossy(&[method, space, path].concat()).into_owned()
}

/// As `Entry::line`.
pub(crate) fn line_of(request: Request<'_>) -> String {
    let (path, _) = cut(bytes_of(request.unparsed_uri()));
    line(bytes_of(request.method()), path)
}

/// Microseconds since the epoch.
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_micros()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_no_query() {
        assert_eq!(cut(b"/a?b?c"), (&b"/a"[..], &b"?b?c"[..]));
        assert_eq!(cut(b"/a"), (&b"/a"[..], &b""[..]));
        assert_eq!(line(b"GET", b"/a"), "GET /a");
        assert_eq!(line(b"", b"a connection"), "a connection");
    }
    /// The number of a process that has been, and how many places there are; in the first it was in the middle of a request.
    fn places_of_a_dead_child<const COUNT: usize>() -> (i32, [Place; COUNT]) {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let dead = child.id().cast_signed();
        // SAFETY: zeros are free places.
        let places: [Place; COUNT] = unsafe { std::mem::zeroed() };
        places[0].pid.store(dead, Ordering::Relaxed);
        places[0].depth.store(1, Ordering::Relaxed);
        places[0].thread.store(this_thread(), Ordering::Relaxed);
        (dead, places)
    }

    #[test]
    fn what_a_dead_child_was_at_can_be_read_for_a_while() {
        let (me, (dead, places)) = (shared::me(), places_of_a_dead_child::<4>());
        let is = |found: Option<&Place>, place: usize| {
            found.is_some_and(|found| std::ptr::eq(found, &raw const places[place]))
        };
        assert!(is(claim(&places, me, 100), 1));
        assert_eq!(places[0].pid.load(Ordering::Relaxed), -dead);
        // One that a thread has left behind, too.
        places[1].pid.store(0, Ordering::Relaxed);
        assert!(is(claim(&places, me, 100 + KEPT - 1), 1));
        assert!(is(claim(&places, me, 100 + KEPT), 0));
        assert!(is(claim(&places, me, 100 + KEPT), 2));
    }

    #[test]
    fn rather_than_none_any_dead_childs_place_is_taken() {
        let (me, (dead, places)) = (shared::me(), places_of_a_dead_child::<2>());
        // It was idle here.
        places[1].pid.store(dead, Ordering::Relaxed);
        assert!(claim(&places, me, 100).is_some_and(|one| std::ptr::eq(one, &raw const places[1])));
        assert!(claim(&places, me, 100).is_some_and(|one| std::ptr::eq(one, &raw const places[0])));
        assert!(claim(&places, me, 100).is_none());
    }
}
