//! The keeper: a thread of each child, in which all interpreters but the main one are made and ended.
//!
//! The thread that imports `threading` in an interpreter is its main thread for Python, and has to be there when the interpreter
//! ends. A thread of httpd's will not do: it comes for one request, and ends before the child does.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

type Job = Box<dyn FnOnce() + Send>;

static KEEPER: Mutex<Option<Sender<Job>>> = Mutex::new(None);

/// Runs `job` in the keeper thread, which is started if need be, and waits for it. Call it detached.
///
/// # Errors
/// When no thread can be had.
pub(super) fn run<R: Send + 'static>(
    job: impl FnOnce() -> R + Send + 'static,
) -> Result<R, String> {
    let (answer, receiver) = channel();
    let job: Job = Box::new(move || drop(answer.send(job())));
    let mut keeper = KEEPER.lock().unwrap_or_else(PoisonError::into_inner);
    let sender = match keeper.take() {
        Some(sender) => sender,
        None => start()?,
    };
    let sent = sender.send(job);
    *keeper = Some(sender);
    drop(keeper);
    sent.map_err(|_| "the keeper thread has ended")?;
    receiver
        .recv()
        .map_err(|_| "the keeper thread has failed".to_string())
}

/// Has the keeper been started?
pub(super) fn is_running() -> bool {
    KEEPER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_some()
}

fn start() -> Result<Sender<Job>, String> {
    let (sender, jobs) = channel::<Job>();
    spawn("mod_python keeper", move || {
        jobs.into_iter().for_each(|job| job())
    })?;
    Ok(sender)
}

/// As much as a process's first thread usually has: Python nests its calls there.
const STACK: usize = 8 << 20;

/// Starts a thread that gets no signals: those are for httpd's own threads.
///
/// # Errors
/// When no thread can be had.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), String> {
    // SAFETY: sigset_t is plain data; the mask of this thread is put back below.
    let before = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    };
    let spawned = Builder::new()
        .name(name.into())
        .stack_size(STACK)
        .spawn(body);
    // SAFETY: the mask that was in force.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    spawned
        .map(drop)
        .map_err(|error| format!("cannot start a thread: {error}"))
}
