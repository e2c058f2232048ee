//! Where a thread is in Python, as text.

use super::exception;
use super::interpreter::Cx;
use super::text;
use pyo3::prelude::*;
use std::ffi::{CStr, c_int};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

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

/// Where a thread is whose interpreter cannot be attached, since its lock is not given back: by CPython's own last resort, which faulthandler
/// uses, and which needs no lock. Beginning with a line end; empty where this Python does not offer it. It may be wrong, or worse, where the
/// thread runs: it is for a child that has been given up.
pub(super) fn of_stuck(state: usize) -> String {
    const DUMP: &CStr = c"_Py_DumpTraceback";
    // SAFETY: looks a symbol up. Its signature is the same from 3.5 on; the state is that of a thread which is in the middle of a call.
    let dumped = unsafe {
        let dump = libc::dlsym(libc::RTLD_DEFAULT, DUMP.as_ptr());
        if dump.is_null() {
            return String::new();
        }
        let dump = std::mem::transmute::<
            *mut std::ffi::c_void,
            unsafe extern "C" fn(c_int, *mut pyo3::ffi::PyThreadState),
        >(dump);
        let mut ends = [0; 2];
        if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) != 0 {
            return String::new();
        }
        let [read, write] = ends.map(|end| OwnedFd::from_raw_fd(end));
        dump(
            write.as_raw_fd(),
            std::ptr::with_exposed_provenance_mut(state),
        );
        drop(write);
        read
    };
    let mut bytes = Vec::new();
    let _ = File::from(dumped).take(16_384).read_to_end(&mut bytes);
    let said = String::from_utf8_lossy(&bytes);
    let lines = said.lines().filter(|line| line.starts_with("  File"));
    let mut lines: Vec<&str> = lines.collect();
    lines.reverse();
    lines
        .iter()
        .fold(String::new(), |all, line| all + "\n" + line)
}
