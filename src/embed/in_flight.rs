//! What the threads of all children are at: a table in memory that httpd's parent shares with them.
//!
//! A thread takes a place at its first request, and keeps it until it ends. In the child of a fork nothing is written: the place is the
//! parent's thread's.

use super::interpreter::{self, Interpreter};
use super::place::{Place, claim, seconds};
use super::question::Question;
use super::shared;
use crate::httpd::fork;
use crate::httpd::request::Request;
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};
use std::sync::{Once, OnceLock};

pub(super) use super::place::this_thread;
pub(crate) use super::place::{Entry, Work, line_of};

const PLACES: usize = 4096;

/// A daemon's keeper reads it, too (`python/mod_python/_daemon/board.py`): places from the end on.
#[repr(C)]
struct Table {
    question: Question,
    /// Children's watchers sleep on it (a futex).
    bell: AtomicU32,
    parted: Parted,
    places: [Place; PLACES],
}

/// The children that take no more requests; also for the keeper.
#[repr(C, align(8))]
struct Parted {
    /// `MARK`, where there is this list.
    mark: AtomicU32,
    pids: [AtomicI32; PARTED],
}

const PARTED: usize = 1023;
const MARK: u32 = 0x7061_7274;

static TABLE: AtomicPtr<Table> = AtomicPtr::new(null_mut());

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
        if let Some(table) = self::table() {
            table.parted.mark.store(MARK, Ordering::Relaxed);
        }
        if !before.is_null() {
            libc::munmap(before.cast(), SIZE);
        }
    }
}

fn table() -> Option<&'static Table> {
    // SAFETY: mapped by `share`; a child never gives it up.
    unsafe { TABLE.load(Ordering::Acquire).as_ref() }
}

thread_local! {
    /// This thread's place, once it has been looked for. Each by itself: so little is found without a call.
    static PLACE: Cell<Option<&'static Place>> = const { Cell::new(None) };
    static IS_LOOKED_FOR: Cell<bool> = const { Cell::new(false) };
    /// The request whose line stands there: its address, and when it began.
    static LAST: Cell<(usize, i64)> = const { Cell::new((0, 0)) };
    static LEAVES: Leaves = const { Leaves };
}

#[inline]
fn place() -> Option<&'static Place> {
    PLACE.get().or_else(look)
}

#[cold]
#[inline(never)]
fn look() -> Option<&'static Place> {
    // Not for a thread that ends.
    if !IS_LOOKED_FOR.replace(true) && LEAVES.try_with(|_| ()).is_ok() {
        PLACE.set(take(this_thread()));
    }
    PLACE.get()
}

/// Gives this thread's place away when the thread ends.
struct Leaves;

impl Drop for Leaves {
    fn drop(&mut self) {
        if let Some(place) = PLACE.take()
            && !fork::is_forked()
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

/// Takes a place for a thread of this number.
#[cold]
fn take(thread: u64) -> Option<&'static Place> {
    static FIRST: Once = Once::new();
    let (places, me, now) = (table().map(|table| &table.places), shared::me(), seconds());
    FIRST.call_once(|| {
        fork::follow();
        AT_FIRST.get().inspect(|what| what());
        // What an earlier process of this number has left.
        let places = places.into_iter().flatten();
        places.for_each(|place| place.show_dead(me, now));
    });
    let place = claim(places?, me, now)?;
    place.depth.store(0, Ordering::Relaxed);
    place.streams.store(0, Ordering::Relaxed);
    // Its owner may have been killed while it wrote.
    let version = place.version.load(Ordering::Relaxed);
    place
        .version
        .store(version.wrapping_add(version & 1), Ordering::Relaxed);
    place.thread.store(thread, Ordering::Release);
    Some(place)
}

/// Shows, until it is dropped, a connection that has left its worker.
pub(crate) struct Away(&'static Place);

/// Shows a connection that is about to leave its worker, which still shows its request: at no moment neither is shown.
pub(crate) fn away() -> Option<Away> {
    static OF_CHILD: OnceLock<&'static Place> = OnceLock::new();
    if fork::is_forked() {
        return None;
    }
    // No thread's: connections stay longer than a worker may, and go from one thread to another. Where two come first, one place is for nobody.
    let place = OF_CHILD.get().copied().or_else(|| {
        let taken = take(u64::MAX)?;
        Some(*OF_CHILD.get_or_init(|| taken))
    })?;
    place.streams.fetch_add(1, Ordering::Relaxed);
    Some(Away(place))
}

impl Drop for Away {
    fn drop(&mut self) {
        if !fork::is_forked() {
            self.0.streams.fetch_sub(1, Ordering::Release);
        }
    }
}

/// Shows, until it is dropped, that this thread is in Python.
pub(crate) struct Shown {
    place: &'static Place,
    /// What a call of Python shows that this one is inside of.
    before: Option<(u32, u32)>,
}

/// Shows that this thread goes into Python for a request; None: for a connection.
#[inline(always)]
pub(crate) fn show(
    request: Option<Request<'_>>,
    interpreter: &'static Interpreter,
    work: Work,
) -> Option<Shown> {
    if fork::is_forked() {
        return None;
    }
    let place = place()?;
    let number = interpreter.number();
    let depth = place.depth.load(Ordering::Relaxed);
    if depth > 0 {
        let before = (
            place.work.load(Ordering::Relaxed),
            place.interpreter.swap_relaxed(number),
        );
        place.work.store(work.0, Ordering::Relaxed);
        place.depth.store(depth + 1, Ordering::Relaxed);
        return Some(Shown {
            place,
            before: Some(before),
        });
    }
    let about = request.map_or((0, 0), |request| {
        (request.address().as_ptr().addr(), request.time())
    });
    if about != LAST.get() || about.0 == 0 {
        LAST.set(about);
        place.write(request);
    }
    place.interpreter.store(number, Ordering::Relaxed);
    place.work.store(work.0, Ordering::Relaxed);
    place.depth.store(1, Ordering::Release);
    Some(Shown {
        place,
        before: None,
    })
}

/// Says what this thread does in Python now.
#[inline]
pub(crate) fn is_at(work: Work) {
    if let Some(place) = PLACE.get().filter(|_| !fork::is_forked()) {
        place.work.store(work.0, Ordering::Relaxed);
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

/// Shows that this child takes no more requests; where it does not, that one of its number that is gone was another one.
pub(crate) fn show_parted(has_parted: bool) {
    let me = std::process::id().cast_signed();
    let pids = table().map_or(&[][..], |table| &table.parted.pids);
    if !has_parted {
        let own = pids.iter().filter(|pid| pid.load(Ordering::Relaxed) == me);
        own.for_each(|pid| pid.store(0, Ordering::Relaxed));
        return;
    }
    let _ = pids.iter().find(|place| {
        let pid = place.load(Ordering::Relaxed);
        let is_free = pid == 0 || !shared::lives(pid);
        let (order, otherwise) = (Ordering::Release, Ordering::Relaxed);
        is_free && place.compare_exchange(pid, me, order, otherwise).is_ok()
    });
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

/// Is there a thread of that number in Python, in a child of that number?
pub(super) fn is_there(pid: i32, thread: u64) -> bool {
    let is_it = |one: &Entry| one.pid == pid && one.thread == thread;
    entries().iter().any(is_it)
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
