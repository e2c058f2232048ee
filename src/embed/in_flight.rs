//! What the threads of all children are at: a table in memory that httpd's parent shares with them.
//!
//! A thread takes a place at its first request, and keeps it until it ends. It alone writes there, and nobody waits for it: who reads
//! what is being written reads again (a sequence lock). In the child of a fork nothing is written: the place is the parent's thread's.

use super::interpreter::{self, Interpreter};
use super::question::{Question, fill, text};
use super::shared;
use crate::config::Phase;
use crate::httpd::request::Request;
use std::cell::{Cell, OnceCell};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Once, OnceLock};

const PLACES: usize = 4096;
/// How many bytes of a request's line are kept.
const LINE: usize = 192;

/// What a thread does. All zeros is a free place.
#[repr(C)]
struct Place {
    /// The child's process.
    pid: AtomicI32,
    /// Odd while the rest is being written.
    version: AtomicU32,
    /// As `threading.get_ident()` numbers it.
    thread: AtomicU64,
    /// When the request began, in microseconds since the epoch.
    since: AtomicU64,
    /// How many calls of Python it is in, one inside the other.
    depth: AtomicU32,
    /// The place in `Work::TEXTS`.
    work: AtomicU32,
    /// The number of the interpreter's row (`scoreboard`).
    interpreter: AtomicU32,
    length: AtomicU32,
    /// How many requests its threads have had.
    requests: AtomicU64,
    line: [AtomicU64; LINE / 8],
}

/// A daemon's keeper reads it, too (`python/mod_python/_daemon/board.py`): places from the end on.
#[repr(C)]
struct Table {
    question: Question,
    /// Children's watchers sleep on it (a futex).
    bell: AtomicU32,
    places: [Place; PLACES],
}

static TABLE: AtomicPtr<Table> = AtomicPtr::new(null_mut());
/// Is this the child of a fork?
static FORKED: AtomicBool = AtomicBool::new(false);

/// What a thread does in Python.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work(u32);

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
}

/// Maps a table for the children to come; called in the parent, once for each generation. `board` is memory that somebody else has made
/// to read there.
pub(crate) fn share(board: Option<i32>) {
    const SIZE: usize = size_of::<Table>();
    // SAFETY: a new mapping, of zeros, which are a table; the old one is the parent's alone to give up, children keep theirs. Any bits are
    // a value of each part, so whoever else writes to a board does no harm.
    unsafe {
        let length = libc::off_t::try_from(SIZE).unwrap_or(0);
        let board = board.filter(|&board| libc::ftruncate(board, length) == 0);
        let (kind, descriptor) = match board {
            Some(board) => (libc::MAP_SHARED, board),
            None => (libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1),
        };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let table = libc::mmap(null_mut(), SIZE, protection, kind, descriptor, 0);
        if let Some(board) = board {
            libc::fcntl(board, libc::F_SETFD, libc::FD_CLOEXEC);
        }
        let table = if table == libc::MAP_FAILED {
            null_mut()
        } else {
            table.cast()
        };
        let before = TABLE.swap(table, Ordering::AcqRel);
        if !before.is_null() {
            libc::munmap(before.cast(), SIZE);
        }
    }
}

fn table() -> Option<&'static Table> {
    // SAFETY: mapped by `share`; a child never gives it up.
    unsafe { TABLE.load(Ordering::Acquire).as_ref() }
}

/// Is this the child of a fork, in which there is this thread alone?
#[inline]
pub(super) fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Has forks of this child known as such.
fn follow_forks() {
    unsafe extern "C" fn child() {
        FORKED.store(true, Ordering::Relaxed);
    }
    // SAFETY: a function that lives as long as the process; httpd keeps modules loaded in its children.
    unsafe { libc::pthread_atfork(None, None, Some(child)) };
}

thread_local! {
    static HERE: Here = const { Here::new() };
}

/// This thread's place.
struct Here {
    place: OnceCell<Option<&'static Place>>,
    /// The request whose line stands there: its address, and when it began.
    last: Cell<(usize, i64)>,
}

impl Here {
    const fn new() -> Here {
        Here {
            place: OnceCell::new(),
            last: Cell::new((0, 0)),
        }
    }

    #[inline]
    fn place(&self) -> Option<&'static Place> {
        *self.place.get_or_init(take)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        if let Some(Some(place)) = self.place.get()
            && !is_forked()
        {
            place.depth.store(0, Ordering::Relaxed);
            place.pid.store(0, Ordering::Release);
        }
    }
}

/// What is to be done when the first thread of this child takes a place.
static AT_FIRST: OnceLock<fn()> = OnceLock::new();

/// Has this done when the first request comes to Python. For one caller.
pub(super) fn at_first(what: fn()) {
    let _ = AT_FIRST.set(what);
}

/// Takes a place for this thread: a free one, or one of a child that has gone.
#[cold]
fn take() -> Option<&'static Place> {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| {
        follow_forks();
        AT_FIRST.get().inspect(|what| what());
    });
    let me = std::process::id().cast_signed();
    let place = table()?.places.iter().find(|place| {
        let owner = place.pid.load(Ordering::Relaxed);
        (owner == 0 || owner != me && !shared::lives(owner))
            && place
                .pid
                .compare_exchange(owner, me, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    })?;
    place.depth.store(0, Ordering::Relaxed);
    // Its owner may have been killed while it wrote.
    let version = place.version.load(Ordering::Relaxed);
    place
        .version
        .store(version.wrapping_add(version & 1), Ordering::Relaxed);
    place.thread.store(this_thread(), Ordering::Release);
    Some(place)
}

/// As Python numbers threads (PyThread_get_thread_ident).
pub(super) fn this_thread() -> u64 {
    // SAFETY: no conditions.
    unsafe { libc::pthread_self() }
}

/// Shows, until it is dropped, that this thread is in Python.
pub(crate) struct Shown {
    place: &'static Place,
    /// What a call of Python shows that this one is inside of.
    before: Option<(u32, u32)>,
}

/// Shows that this thread goes into Python for a request; None: for a connection.
#[inline]
pub(crate) fn show(
    request: Option<Request<'_>>,
    interpreter: &'static Interpreter,
) -> Option<Shown> {
    if is_forked() {
        return None;
    }
    HERE.try_with(|here| {
        let place = here.place()?;
        let number = interpreter.number();
        let depth = place.depth.load(Ordering::Relaxed);
        if depth > 0 {
            let before = (
                place.work.load(Ordering::Relaxed),
                place.interpreter.swap_relaxed(number),
            );
            place.depth.store(depth + 1, Ordering::Relaxed);
            return Some(Shown {
                place,
                before: Some(before),
            });
        }
        let about = request.map_or((0, 0), |request| {
            (request.address().as_ptr().addr(), request.time())
        });
        if about != here.last.get() || about.0 == 0 {
            here.last.set(about);
            place.write(request);
        }
        place.interpreter.store(number, Ordering::Relaxed);
        place.work.store(0, Ordering::Relaxed);
        place.depth.store(1, Ordering::Release);
        Some(Shown {
            place,
            before: None,
        })
    })
    .ok()
    .flatten()
}

/// Says what this thread does in Python now.
#[inline]
pub(crate) fn is_at(work: Work) {
    if !is_forked() {
        let _ = HERE.try_with(|here| {
            if let Some(Some(place)) = here.place.get() {
                place.work.store(work.0, Ordering::Relaxed);
            }
        });
    }
}

impl Drop for Shown {
    #[inline]
    fn drop(&mut self) {
        let place = self.place;
        let Some((work, interpreter)) = self.before else {
            place.depth.store(0, Ordering::Release);
            return;
        };
        place.work.store(work, Ordering::Relaxed);
        place.interpreter.store(interpreter, Ordering::Relaxed);
        place.depth.fetch_sub_relaxed();
    }
}

/// The thread that owns a place is the only one to write there: no operation need be one that others cannot interrupt.
trait Own {
    fn swap_relaxed(&self, value: u32) -> u32;
    fn fetch_sub_relaxed(&self);
}

impl Own for AtomicU32 {
    #[inline]
    fn swap_relaxed(&self, value: u32) -> u32 {
        let before = self.load(Ordering::Relaxed);
        self.store(value, Ordering::Relaxed);
        before
    }

    #[inline]
    fn fetch_sub_relaxed(&self) {
        self.store(
            self.load(Ordering::Relaxed).saturating_sub(1),
            Ordering::Relaxed,
        );
    }
}

impl Place {
    /// Writes whose request it is.
    fn write(&self, request: Option<Request<'_>>) {
        let version = self.version.load(Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        let requests = self.requests.load(Ordering::Relaxed);
        self.requests
            .store(requests.wrapping_add(1), Ordering::Relaxed);
        let (since, (method, uri)) = match request {
            Some(request) => (request.time(), parts_of(request)),
            None => (now(), (&b"a connection"[..], &b""[..])),
        };
        self.since
            .store(u64::try_from(since).unwrap_or(0), Ordering::Relaxed);
        let mut line = [0; LINE];
        let mut length = 0;
        let space: &[u8] = if uri.is_empty() { b"" } else { b" " };
        for part in [method, space, uri] {
            let room = line.get_mut(length..).unwrap_or_default();
            let fits = part.len().min(room.len());
            if let (Some(room), Some(part)) = (room.get_mut(..fits), part.get(..fits)) {
                room.copy_from_slice(part);
            }
            length += fits;
        }
        let used = length.next_multiple_of(8).min(LINE);
        fill(&self.line, line.get(..used).unwrap_or(&line));
        let length = u32::try_from(length).unwrap_or(0);
        self.length.store(length, Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(2), Ordering::Release);
    }

    /// Reads it, where its thread is in Python.
    fn read(&self) -> Option<Entry> {
        let pid = self.pid.load(Ordering::Acquire);
        if pid <= 0 {
            return None;
        }
        for _ in 0..100 {
            let version = self.version.load(Ordering::Acquire);
            if self.depth.load(Ordering::Acquire) == 0 {
                return None;
            }
            let entry = Entry {
                pid,
                thread: self.thread.load(Ordering::Relaxed),
                since: self.since.load(Ordering::Relaxed),
                work: Work::text(self.work.load(Ordering::Relaxed)),
                interpreter: self.interpreter.load(Ordering::Relaxed),
                line: text(&self.line, self.length.load(Ordering::Relaxed)),
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

/// A request's method, and its URI without what stands behind the question mark.
#[inline]
fn parts_of<'r>(request: Request<'r>) -> (&'r [u8], &'r [u8]) {
    let uri = request
        .unparsed_uri()
        .map_or(&b""[..], |text| text.to_bytes());
    let cut = uri.iter().position(|&byte| byte == b'?');
    let method = request.method().map_or(&b""[..], |text| text.to_bytes());
    (method, cut.and_then(|cut| uri.get(..cut)).unwrap_or(uri))
}

/// As `Entry::line`.
pub(crate) fn line_of(request: Request<'_>) -> String {
    let (method, uri) = parts_of(request);
    let line = [method, b" ", uri].concat();
    let line = line.get(..LINE).unwrap_or(&line);
    String::from_utf8_lossy(line).into_owned()
}

/// Microseconds since the epoch.
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_micros()).unwrap_or(0))
}

/// Every thread of all children that is in Python now.
pub(crate) fn entries() -> Vec<Entry> {
    let places = table().map_or(&[][..], |table| &table.places);
    let all = places.iter().filter_map(Place::read);
    all.filter(|entry| shared::lives(entry.pid)).collect()
}

/// What a thread of this process is in Python for: the request's line, when it began, and what for.
pub(super) fn of_thread(thread: u64) -> Option<Entry> {
    let me = std::process::id().cast_signed();
    let places = table().map_or(&[][..], |table| &table.places);
    let is_it = |place: &&Place| {
        place.pid.load(Ordering::Relaxed) == me && place.thread.load(Ordering::Relaxed) == thread
    };
    places.iter().find(is_it).and_then(Place::read)
}

/// The interpreter of this child that has this number.
pub(super) fn interpreter(number: u32) -> Option<&'static Interpreter> {
    interpreter::all().find(|one| one.number() == number)
}

/// Asks another child where a thread of it is. Gives the number of the question; None while another one is asked.
pub(super) fn ask(pid: i32, thread: u64) -> Option<u32> {
    let number = table()?.question.ask(pid, thread);
    ring();
    number
}

/// The question, which all children share.
pub(super) fn question() -> Option<&'static Question> {
    table().map(|table| &table.question)
}

/// What watchers sleep on; one of this process where there is no table.
static OWN_BELL: AtomicU32 = AtomicU32::new(0);

fn bell() -> &'static AtomicU32 {
    table().map_or(&OWN_BELL, |table| &table.bell)
}

/// Wakes the watchers of all children.
pub(super) fn ring() {
    let bell = bell();
    bell.fetch_add(1, Ordering::SeqCst);
    // SAFETY: a futex of all processes (not FUTEX_PRIVATE_FLAG) on a word that stays mapped.
    unsafe {
        libc::syscall(libc::SYS_futex, bell.as_ptr(), libc::FUTEX_WAKE, i32::MAX);
    }
}

/// How often the bell has been rung.
pub(super) fn rung() -> u32 {
    bell().load(Ordering::SeqCst)
}

/// Sleeps until the bell is rung, if it has not been since `seen`, or the time is up.
pub(super) fn sleep(seen: u32, time: std::time::Duration) {
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(time.subsec_nanos()),
    };
    // SAFETY: as in `ring`; the time is read before the call returns.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            bell().as_ptr(),
            libc::FUTEX_WAIT,
            seen,
            &raw const time,
        );
    }
}
