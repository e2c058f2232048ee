//! PythonTimeout: a thread of the child's own watches what others are to have done by when, and does something about what is late.
//!
//! | when | what |
//! | --- | --- |
//! | the deadline | `RequestTimeout` is raised in the thread, and the log told where it stood; again each second, or each quarter of the limit if that is shorter |
//! | a moment later | the thread has not come back (it sleeps, waits, or is in C): its client is answered without it (`Rescue`) |
//! | the limit once more, and a second at least | it is given up: the child ends, when what others do is done |
//!
//! The watcher itself never attaches: a thread that keeps the interpreter's lock would keep it, too. Whatever has to attach is done by
//! threads that are made for it, one an interpreter at a time. It looks each `TICK` while anything is armed, and sleeps otherwise; in the
//! child of a fork there is none, and nothing is armed.

use super::armed::{self, Claimed, Desk, Entry, TICK, UNARMED, desks};
use super::attach::enter;
use super::given_up;
use super::in_flight;
use super::interpreter::{self, Cx, Interpreter};
use super::question::Question;
use super::stacks::Stuck;
use super::{exception, main_thread, stacks, threads, totals};
use crate::config::interpreters::MAIN;
use crate::httpd::clock::now;
use crate::httpd::fork::is_forked;
use crate::httpd::guard::guard;
use crate::httpd::log::{self, Extra, Level};
use crate::httpd::module::retirement;
use crate::httpd::request::server::mpm_query;
use pyo3::ffi;
use pyo3::prelude::*;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

pub(crate) use super::armed::{
    Armed, Keeps, Rescue, Rescued, end_step, hand_over, late, over, pause,
};

/// After so many looks at nothing it sleeps.
const QUIET: u32 = 100;
/// For so long a thread is given time to come back with the exception before its client is answered without it.
const PATIENCE: u64 = 150_000_000;
/// At least so often what does not end is raised again (nanoseconds).
const AGAIN: u64 = 1_000_000_000;

/// At least so long it has to come back, before it is given up.
const LEAST: u64 = 1_000_000_000;

/// So long a thread that imports something is not given up: an import that takes longer than the limit takes as long in the next child.
const MOST_OF_IMPORTS: u64 = 60_000_000_000;

static SLEEPS: AtomicBool = AtomicBool::new(false);
static WATCHER: Once = Once::new();
/// The interpreters that a thread is at, or waits for.
static VISITED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Has what this thread does now, attached, ended after a time, until what this gives is closed. None: whenever what it is inside of
/// is to have ended.
#[inline]
pub(crate) fn arm<R: Rescue + 'static>(
    cx: Cx<'_>,
    limit: Option<NonZeroU64>,
    rescue: Option<&Arc<R>>,
) -> Armed {
    if !armed::is_any() {
        if limit.is_none() {
            return UNARMED;
        }
        prepare(cx);
    }
    let rescue = rescue.map(|rescue| rescue.clone() as Arc<dyn Rescue>);
    let armed = armed::arm(cx, limit, None, rescue);
    watch();
    armed
}

/// Sees to it that a thread which keeps its interpreter's lock can be shown.
#[cold]
#[inline(never)]
fn prepare(cx: Cx<'_>) {
    static IS_DONE: AtomicBool = AtomicBool::new(false);
    if IS_DONE.swap(true, Ordering::SeqCst) || !stacks::needs_last_resort() {
        return;
    }
    // At once, where that can be: this thread may be the first that keeps the lock.
    if stacks::prepare(cx) {
        return;
    }
    let main = interpreter::named(MAIN);
    let spawned = main.map(|main| {
        main_thread::spawn("mod_python stack", move || {
            let _ = enter(main, stacks::prepare);
        })
    });
    if let Some(Err(reason)) = spawned {
        log::process(Level::Warning, &reason);
    }
}

/// A request whose time passes in so long a time: when that is (`begin_step`), a moment later than the one who waits for it acts.
pub(crate) fn due_in(left: Duration) -> u64 {
    now().saturating_add(armed::nanoseconds(left + TICK * 2))
}

/// Has the watcher run when the first request comes to Python, so that other children can ask where this one's threads are. With prefork
/// only where something is armed: a process of one thread stays one.
pub(super) fn follow_requests() {
    in_flight::at_first(|| {
        if mpm_query(retirement::IS_THREADED) != 0 {
            watch();
        }
    });
}

/// A step of a task in an event loop's thread begins, attached: it is to be over when the request's time, `due`, has passed. Its worker
/// may have left it, and nobody else be watched.
pub(crate) fn begin_step(cx: Cx<'_>, due: u64, limit: u64) {
    armed::begin_step(cx, due, limit);
    watch();
}

/// Has the watcher run, and be awake.
#[inline]
pub(crate) fn watch() {
    if !WATCHER.is_completed() {
        start();
    }
    if SLEEPS.load(Ordering::SeqCst) && SLEEPS.swap(false, Ordering::SeqCst) {
        in_flight::ring();
    }
}

#[cold]
fn start() {
    WATCHER.call_once(|| {
        if let Err(reason) = main_thread::spawn("mod_python watcher", run) {
            let text = format!("PythonTimeout: {reason}: no request is ended");
            log::process(Level::Error, &text);
        }
    });
}

fn run() {
    let mut quiet = 0;
    while !threads::is_ending() {
        let rung = in_flight::rung();
        let is_busy = guard("watcher", look).unwrap_or_else(|place| {
            log::process(Level::Critical, &place);
            true
        });
        quiet = if is_busy { 0 } else { quiet + 1 };
        if quiet <= QUIET {
            in_flight::sleep(rung, TICK);
            continue;
        }
        SLEEPS.store(true, Ordering::SeqCst);
        // Whoever has armed before that has not seen it.
        if !is_anything_armed() {
            in_flight::sleep(rung, Duration::from_secs(3600));
        }
        SLEEPS.store(false, Ordering::SeqCst);
        quiet = 0;
    }
}

fn is_anything_armed() -> bool {
    desks().iter().any(|desk| desk.is_armed())
}

/// Something that the operator is to be told of.
#[derive(Clone)]
struct Report {
    /// What the thread was at.
    about: String,
    /// The name of its interpreter.
    interpreter: &'static str,
    text: String,
    rescue: Option<Arc<dyn Rescue>>,
}

impl Report {
    /// One of what a thread does, without a text.
    fn about(desk: &Desk, entry: &Entry) -> Report {
        Report {
            about: about(desk.thread()),
            interpreter: entry.interpreter.name(),
            text: String::new(),
            rescue: entry.rescue.clone(),
        }
    }
}

/// Looks at all threads once. Is anything armed?
fn look() -> bool {
    let (all, now) = (desks().clone(), now());
    let (mut is_any, mut reports, mut given_up) = (false, Vec::new(), false);
    let mut to_visit: Vec<&'static Interpreter> = Vec::new();
    // Reports that their threads' stacks are missing in.
    let mut unseen: Vec<(usize, Stuck)> = Vec::new();
    for desk in all {
        is_any |= desk.is_armed();
        let Some(mut entry) = desk.claim(now) else {
            continue;
        };
        if entry.is_to_be_raised(now) {
            to_visit.push(entry.interpreter);
        }
        if entry.has_passed(now) && now - entry.due >= PATIENCE {
            rescue(&mut entry, now);
            let about = Report::about(desk, &entry);
            let report = |text: String| Report {
                text,
                ..about.clone()
            };
            if !entry.is_told && !entry.late().is_lock_told {
                let text = "the interpreter's lock is held by another thread, or by code in C, and cannot be had: nothing can be raised".into();
                reports.push(report(text));
            }
            let (first, last) = (entry.due, entry.due.saturating_add(MOST_OF_IMPORTS));
            let since = entry.late().spared.clamp(first, last);
            if now.saturating_sub(since) >= entry.limit.max(LEAST) && !entry.is_given_up() {
                let text = "it does not come back: the child ends when others have finished";
                reports.push(report(text.into()));
                if !entry.is_told || entry.raised() == 0 && entry.raises {
                    let stuck = Stuck {
                        interpreter: entry.interpreter,
                        thread: desk.thread(),
                        state: entry.state,
                    };
                    unseen.push((reports.len() - 1, stuck));
                }
                entry.late().is_given_up = true;
                given_up = true;
            }
            entry.late().is_lock_told = true;
        }
    }
    for interpreter in to_visit {
        visit(interpreter, None);
    }
    if let Some((number, thread)) = in_flight::question().and_then(Question::asked) {
        let at = in_flight::of_thread(thread).and_then(|at| in_flight::interpreter(at.interpreter));
        match at {
            Some(interpreter) => visit(interpreter, Some((number, thread))),
            None => reply(number, ""),
        }
    }
    for (place, stuck) in unseen {
        if let Some(report) = reports.get_mut(place) {
            report.text.push_str(&stacks::of_stuck(stuck));
        }
    }
    reports.into_iter().for_each(tell);
    if given_up {
        given_up::retire();
    }
    is_any
}

/// Answers the client of a thread that has not come back.
fn rescue(entry: &mut Claimed<'_>, now: u64) {
    if matches!(entry.late().rescued, None | Some(Rescued::Busy))
        && let Some(rescue) = &entry.rescue
    {
        let mut rescued = rescue.answer();
        if rescued == Rescued::Busy && now - entry.due >= 2 * PATIENCE {
            rescued = rescue.cut(&entry.call());
        }
        entry.late().rescued = Some(rescued);
    }
}

/// Attaches an interpreter in a thread made for it, unless there is one already, and raises what is due in it; answers a question of where
/// a thread is.
fn visit(interpreter: &'static Interpreter, question: Option<(u32, u64)>) {
    let key = std::ptr::from_ref(interpreter).addr();
    let mut visited = VISITED.lock().unwrap_or_else(PoisonError::into_inner);
    if visited.contains(&key) {
        return;
    }
    visited.push(key);
    drop(visited);
    let spawned = main_thread::spawn("mod_python deadline", move || {
        let entered = guard("deadline", || {
            enter(interpreter, |cx| {
                if let Some((number, thread)) = question {
                    reply(number, &stacks::of_thread(cx, thread));
                }
                raise(cx)
            })
        });
        let mut visited = VISITED.lock().unwrap_or_else(PoisonError::into_inner);
        visited.retain(|other| *other != key);
        drop(visited);
        match entered {
            Ok(Ok(reports)) => reports.into_iter().for_each(tell),
            Ok(Err(reason)) | Err(reason) => log::process(Level::Error, &reason),
        }
    });
    if let Err(reason) = spawned {
        let mut visited = VISITED.lock().unwrap_or_else(PoisonError::into_inner);
        visited.retain(|other| *other != key);
        drop(visited);
        log::process(Level::Error, &reason);
    }
}

/// Answers the question that this child has been asked.
fn reply(number: u32, said: &str) {
    if let Some(question) = in_flight::question() {
        question.reply(number, said);
    }
}

/// Raises the exception in every thread of this interpreter whose time has passed.
fn raise(cx: Cx<'_>) -> Vec<Report> {
    let all = desks().clone();
    let mut reports = Vec::new();
    for desk in all {
        let now = now();
        let due = desk
            .claim(now)
            .filter(|entry| {
                std::ptr::eq(entry.interpreter, cx.interpreter) && entry.is_to_be_raised(now)
            })
            .map(|entry| (entry.number, entry.is_told));
        let Some((number, is_told)) = due else {
            continue;
        };
        let is_importing = stacks::is_importing(cx, desk.thread());
        // Before it is raised: then the thread goes elsewhere.
        let stack = match is_told {
            true => String::new(),
            false => stacks::of_thread(cx, desk.thread()),
        };
        let done = match is_importing {
            true => spare(desk, number),
            false => raise_in(cx, desk, number),
        };
        if let Some(report) = done
            && !is_told
        {
            if let Some(row) = cx.interpreter.row() {
                row.count_error();
            }
            totals::count_error(cx.interpreter);
            totals::count_timeout(cx.interpreter);
            let what = match is_importing {
                true => "it is in the middle of an import, behind which RequestTimeout is raised",
                false => "RequestTimeout is raised where it stands",
            };
            let text = format!("{what}\n{stack}");
            reports.push(Report {
                text: text.trim_end().into(),
                ..report
            });
        }
    }
    reports
}

/// Leaves a thread alone that is in the middle of an import (`_stacks.is_importing`), if it is still at the same entry, and looks again soon.
fn spare(desk: &Desk, number: u64) -> Option<Report> {
    let now = now();
    let mut entry = desk
        .claim(now)
        .filter(|entry| entry.number == number && entry.is_to_be_raised(now))?;
    let report = Report::about(desk, &entry);
    let late = entry.late();
    late.spared = now;
    late.next = now + armed::nanoseconds(TICK);
    entry.is_told = true;
    Some(report)
}

/// Raises the exception in a thread, if that is still at the same entry.
fn raise_in(cx: Cx<'_>, desk: &Desk, number: u64) -> Option<Report> {
    let class = exception::or_discard(cx.py, cx.request_timeout())?;
    let now = now();
    let mut entry = desk
        .claim(now)
        .filter(|entry| entry.number == number && entry.is_to_be_raised(now))?;
    let report = Report::about(desk, &entry);
    // SAFETY: attached to the interpreter in which the thread is; the class lives as long as that.
    unsafe { ffi::PyThreadState_SetAsyncExc(desk.thread().cast_signed(), class.as_ptr()) };
    let pause = (entry.limit / 4).min(AGAIN);
    let late = entry.late();
    late.raised += 1;
    late.next = now + pause;
    entry.is_told = true;
    Some(report)
}

/// Writes what has happened to the log of the request, or of the main server.
fn tell(report: Report) {
    let text = format!("PythonTimeout: {}: {}", report.about, report.text);
    let extra = Extra {
        interpreter: Some(report.interpreter),
        ..Extra::default()
    };
    let is_told = report.rescue.is_some_and(|rescue| rescue.log(&text, extra));
    if !is_told {
        log::lines_of_process(Level::Error as i32, &text, extra);
    }
}

/// Arms and closes so many times, and calls `body` armed and `after` behind it, while another thread raises in this one at any moment (in
/// test builds). Gives how often it was raised.
///
/// # Errors
/// What `after` raises: the exception has come too late.
#[cfg(feature = "test-faults")]
pub(crate) fn race(
    cx: Cx<'_>,
    times: u64,
    mut body: impl FnMut() -> PyResult<()>,
    mut after: impl FnMut() -> PyResult<()>,
) -> PyResult<u64> {
    static ENDS: AtomicBool = AtomicBool::new(false);
    ENDS.store(false, Ordering::SeqCst);
    let (interpreter, mut raised) = (cx.interpreter, 0);
    let spawned = main_thread::spawn("mod_python race", move || {
        let entered = enter(interpreter, |cx| {
            while !ENDS.load(Ordering::SeqCst) {
                raise(cx);
                cx.detached((), |()| std::thread::yield_now());
            }
        });
        entered.unwrap_or_else(|reason| log::process(Level::Error, &reason));
        ENDS.store(false, Ordering::SeqCst);
    });
    spawned.map_err(pyo3::exceptions::PyOSError::new_err)?;
    let mut done = Ok(());
    for _ in 0..times {
        let armed = armed::arm(cx, NonZeroU64::new(AGAIN), Some(now()), None);
        armed::is_told_already();
        if let Err(error) = body() {
            exception::discard(cx.py, error);
        }
        raised += u64::from(armed.close());
        done = after();
        if done.is_err() {
            break;
        }
    }
    ENDS.store(true, Ordering::SeqCst);
    while ENDS.load(Ordering::SeqCst) {
        cx.detached((), |()| std::thread::yield_now());
    }
    done.map(|()| raised)
}

/// What a thread is at, since when, and where.
fn about(thread: u64) -> String {
    let Some(at) = in_flight::of_thread(thread) else {
        return format!("thread {thread}");
    };
    let age = age(at.since);
    let name = in_flight::interpreter(at.interpreter).map_or("?", |one| one.name());
    format!(
        "{} has taken {age:.2} s ({}, interpreter {name}, thread {thread})",
        at.line, at.work
    )
}

/// How long ago that was, in seconds.
pub(crate) fn age(since: u64) -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let since = Duration::from_micros(since);
    now.map_or(0.0, |now| now.saturating_sub(since).as_secs_f64())
}

/// Where a thread of any child is in Python, a line or two a frame; None where nobody says so in time. Call it attached to any
/// interpreter.
///
/// # Errors
/// What Python raises.
pub(crate) fn stack(cx: Cx<'_>, pid: i32, thread: u64) -> PyResult<Option<String>> {
    let here = || {
        let at = in_flight::of_thread(thread)?;
        let interpreter = in_flight::interpreter(at.interpreter)?;
        Some(std::ptr::eq(interpreter, cx.interpreter))
    };
    let is_own = pid == std::process::id().cast_signed();
    // Another interpreter may have a lock of its own, which is kept: it is asked as another child is, for so long.
    if !is_own || here() == Some(false) {
        return Ok(
            cx.detached((i64::from(pid), thread.cast_signed()), |(pid, thread)| {
                elsewhere(i32::try_from(pid).unwrap_or(0), thread.cast_unsigned())
            }),
        );
    }
    let is_there = here() == Some(true) && !is_forked();
    Ok(is_there.then(|| stacks::of_thread(cx, thread)))
}

/// Asks another child.
fn elsewhere(pid: i32, thread: u64) -> Option<String> {
    const PAUSE: Duration = Duration::from_millis(5);
    const TRIES: usize = 300;
    // Nobody else would answer: a question keeps those of others waiting.
    if !in_flight::is_there(pid, thread) {
        return None;
    }
    let number = (0..TRIES).find_map(|_| {
        let number = in_flight::ask(pid, thread);
        if number.is_none() {
            std::thread::sleep(PAUSE);
        }
        number
    })?;
    let answer = (0..TRIES).find_map(|_| {
        let answer = in_flight::question()?.answer(number);
        if answer.is_none() {
            std::thread::sleep(PAUSE);
        }
        answer
    });
    in_flight::question()?.give_up(number);
    answer.filter(|answer| !answer.is_empty())
}
