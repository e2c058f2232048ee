//! Where a thread is in Python, as text.

use super::interpreter::{Cx, Interpreter};
use super::{exception, main_thread, text, threads};
use pyo3::prelude::*;
use std::ffi::{CStr, c_int, c_void};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

/// Where a thread of the attached interpreter is, a line or two a frame (`mod_python._stacks.of_thread`). Empty where it is not in Python.
pub(super) fn of_thread(cx: Cx<'_>, thread: u64) -> String {
    let shown = || -> PyResult<String> {
        let module = cx.py.import("mod_python._stacks")?;
        let shown = module.getattr("of_thread")?.call1((thread,))?;
        Ok(text::lossy(&shown.str()?))
    };
    exception::or_discard(cx.py, shown()).unwrap_or_else(|| "  (its stack cannot be shown)".into())
}

/// Is a thread of the attached interpreter in the middle of an import (`mod_python._stacks.is_importing`)?
pub(super) fn is_importing(cx: Cx<'_>, thread: u64) -> bool {
    let asked = || -> PyResult<bool> {
        let module = cx.py.import("mod_python._stacks")?;
        module
            .getattr("is_importing")?
            .call1((thread,))?
            .is_truthy()
    };
    exception::or_discard(cx.py, asked()).unwrap_or(false)
}

/// A thread whose interpreter cannot be attached, since its lock is not given back.
#[derive(Clone, Copy)]
pub(super) struct Stuck {
    pub(super) interpreter: &'static Interpreter,
    /// As `threading.get_ident()` numbers it.
    pub(super) thread: u64,
    /// The thread's state: it is in the middle of a call.
    pub(super) state: usize,
}

/// Where such a thread is: by CPython's own last resort, which needs no lock. Beginning with a line end; empty where it cannot be had. It may
/// be wrong, or worse, where the thread runs: it is for a child that has been given up. Waits for moments.
pub(super) fn of_stuck(stuck: Stuck) -> String {
    let said = by_state(stuck.state).or_else(|| by_handler(stuck));
    let said = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
    // The innermost frame comes first there.
    let lines: Vec<&str> = frames(&said, stuck.thread).collect();
    let lines = lines.iter().rev();
    lines.fold(String::new(), |all, line| all + "\n" + line)
}

/// A thread's lines of faulthandler's.
fn frames(said: &str, thread: u64) -> impl Iterator<Item = &str> {
    let head = format!("hread 0x{thread:016x} ");
    let several = said.contains("hread 0x");
    said.lines()
        .skip_while(move |line| several && !line.contains(&head))
        .skip(usize::from(several))
        .take_while(move |line| !several || line.starts_with("  "))
        .filter(|line| line.starts_with("  File"))
}

/// By the function for one thread, which faulthandler uses; None where this Python does not offer it (3.13 and later).
fn by_state(state: usize) -> Option<Vec<u8>> {
    const DUMP: &CStr = c"_Py_DumpTraceback";
    // SAFETY: looks a symbol up. Its signature is the same from 3.5 on; the state is that of a thread which is in the middle of a call.
    unsafe {
        let dump = libc::dlsym(libc::RTLD_DEFAULT, DUMP.as_ptr());
        if dump.is_null() {
            return None;
        }
        let dump = std::mem::transmute::<
            *mut c_void,
            unsafe extern "C" fn(c_int, *mut pyo3::ffi::PyThreadState),
        >(dump);
        let mut file = memory()?;
        dump(
            file.as_raw_fd(),
            std::ptr::with_exposed_provenance_mut(state),
        );
        read(&mut file)
    }
}

/// A file in memory.
fn memory() -> Option<File> {
    // SAFETY: a constant name; a new descriptor is nobody else's.
    unsafe {
        let descriptor = libc::memfd_create(c"mod_python".as_ptr(), libc::MFD_CLOEXEC);
        (descriptor >= 0).then(|| File::from_raw_fd(descriptor))
    }
}

fn read(file: &mut File) -> Option<Vec<u8>> {
    const MOST: u64 = 1 << 20;
    let mut bytes = Vec::new();
    file.rewind().ok()?;
    file.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// A signal's handler.
type Handler = extern "C" fn(c_int);

/// What faulthandler has been given: a signal that is never sent, its handler, and the file that the handler writes to.
struct LastResort {
    signal: c_int,
    handler: Handler,
    file: Mutex<File>,
}

static LAST_RESORT: OnceLock<LastResort> = OnceLock::new();

/// Does this Python offer no dump of one thread?
pub(super) fn needs_last_resort() -> bool {
    // SAFETY: looks a symbol up.
    let dump = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_Py_DumpTraceback".as_ptr()) };
    dump.is_null()
}

/// Has faulthandler be ready to show all threads of an interpreter whose lock cannot be had (`by_handler`). Not from an interpreter with a lock
/// of its own, which cannot import it: false.
pub(super) fn prepare(cx: Cx<'_>) -> bool {
    let registered = exception::or_discard(cx.py, register(cx));
    let is_imported = registered.is_some();
    if let Some(found) = registered.flatten() {
        let _ = LAST_RESORT.set(found);
    }
    is_imported
}

/// Registers one of the signals that nobody uses with faulthandler, takes its handler, and puts back what was there.
fn register(cx: Cx<'_>) -> PyResult<Option<LastResort>> {
    let signal = libc::SIGRTMAX() - 3;
    let Some(file) = memory() else {
        return Ok(None);
    };
    let module = cx.py.import("faulthandler")?;
    // SAFETY: asks and sets what a signal does; both structures are filled by the system.
    unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        let mut taken: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(signal, std::ptr::null(), &raw mut before) != 0
            || before.sa_sigaction != libc::SIG_DFL
        {
            // It is somebody's.
            return Ok(None);
        }
        let all_threads = true;
        module
            .getattr("register")?
            .call1((signal, file.as_raw_fd(), all_threads))?;
        libc::sigaction(signal, &raw const before, &raw mut taken);
        if matches!(taken.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) {
            return Ok(None);
        }
        let handler = std::mem::transmute::<*const (), Handler>(std::ptr::with_exposed_provenance(
            taken.sa_sigaction,
        ));
        let file = Mutex::new(file);
        Ok(Some(LastResort {
            signal,
            handler,
            file,
        }))
    }
}

/// By that handler, which shows the threads of the interpreter that the calling thread has a state of: in a thread made for it, which ends
/// when the lock can be had again.
fn by_handler(stuck: Stuck) -> Option<Vec<u8>> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let last = LAST_RESORT.get()?;
    let file = last.file.lock().unwrap_or_else(PoisonError::into_inner);
    file.set_len(0).ok()?;
    (&*file).rewind().ok()?;
    let (sender, receiver) = mpsc::channel();
    let interpreter = stuck.interpreter;
    main_thread::spawn("mod_python stack", move || {
        let has_state = threads::state_of(interpreter).is_some();
        if has_state {
            (last.handler)(last.signal);
        }
        let _ = sender.send(has_state);
    })
    .ok()?;
    let shown = receiver.recv_timeout(PATIENCE).ok()?;
    let mut file = file.try_clone().ok().filter(|_| shown)?;
    read(&mut file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_one_thread() {
        let said = "Thread 0x00000000000000ab (most recent call first):\n  File \"a\", line 1 in f\n  File \"b\", line 2 in g\n\n\
                    Current thread 0x00000000000000ac [x] (most recent call first):\n  File \"c\", line 3 in h\n";
        let of = |thread| frames(said, thread).collect::<Vec<_>>();
        assert_eq!(
            of(0xab),
            ["  File \"a\", line 1 in f", "  File \"b\", line 2 in g"]
        );
        assert_eq!(of(0xac), ["  File \"c\", line 3 in h"]);
        assert!(of(0xad).is_empty());
        let alone = "Stack (most recent call first):\n  File \"a\", line 1 in f\n";
        assert_eq!(
            frames(alone, 1).collect::<Vec<_>>(),
            ["  File \"a\", line 1 in f"]
        );
    }
}
