//! In a daemon: processes that applications fork have none of the front's connections. The front would get answers of theirs, and would not
//! see that the child has ended which it talks to.
//!
//! A connection is told by the path of its socket, not by what this child knows of it: one that has been accepted may still wait for a
//! worker.

use crate::httpd::fork::{self, AtFork, at_fork};
use crate::httpd::io::listener;
use std::ffi::c_int;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

/// What a forked process has in place of a connection, and by which paths it tells one.
struct Instead {
    nowhere: File,
    paths: Vec<Vec<u8>>,
}

static INSTEAD: OnceLock<Instead> = OnceLock::new();

/// The highest descriptor, as of the last fork.
static HIGHEST: AtomicI32 = AtomicI32::new(0);

/// So many more may have been opened while the fork was made.
const MEANWHILE: c_int = 256;

/// Without /proc no more than these are looked at.
const MOST: c_int = 65_536;

/// Takes the front's connections away from processes that applications fork. To be called once in each child.
///
/// # Errors
/// Why it cannot be done.
pub(crate) fn keep_from_forked() -> Result<(), String> {
    let nowhere = File::options().read(true).write(true).open("/dev/null");
    let nowhere = nowhere.map_err(|error| format!("/dev/null: {error}"))?;
    let paths = listener::paths();
    if INSTEAD.set(Instead { nowhere, paths }).is_ok() {
        at_fork(AtFork {
            prepare: || HIGHEST.store(highest().unwrap_or(MOST), Ordering::Relaxed),
            parent: || (),
            child: take_away,
        });
    }
    Ok(())
}

/// The highest descriptor of this process.
fn highest() -> Option<c_int> {
    let all = std::fs::read_dir("/proc/self/fd").ok()?.flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .max()
}

fn take_away() {
    let Some(instead) = INSTEAD.get() else {
        return;
    };
    let nowhere = instead.nowhere.as_raw_fd();
    let behind = HIGHEST.load(Ordering::Relaxed).saturating_add(MEANWHILE);
    for descriptor in 0..behind {
        if listener::is_accepted(descriptor, &instead.paths) {
            // SAFETY: two open descriptors.
            unsafe { libc::dup3(nowhere, descriptor, libc::O_CLOEXEC) };
        }
    }
}

/// Ends a process that an application has forked, and that has come back from it: all that httpd would do next is its parent's.
pub(super) fn end_forked() {
    if fork::is_forked() {
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(0) }
    }
}
