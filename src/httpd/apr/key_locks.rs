//! Locks by key, across all processes of one httpd. Each key has its own, so that nobody waits for another key's.
//!
//! A lock is a byte of a file without a name (memfd_create), which each child opens for itself and locks by fcntl (F_OFD_SETLK). So
//! any thread of the child can free it, it is free when the child dies, and it is the same one for the old and the new children of
//! a graceful restart. Where a system has none of this, one global lock serves many keys (`mutex.rs`).
//!
//! Threads of one child are not kept apart here; `root_locks.rs` does that.

use crate::httpd::apr::mutex;
use crate::httpd::faults;
use crate::httpd::log::{self, Level};
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;

/// The parent's descriptor of the file. It is kept over restarts: no configuration has a part in it.
static MADE: OnceLock<Option<OwnedFd>> = OnceLock::new();
/// What this child's locks are; set once, in child_init.
static PLACE: OnceLock<Place> = OnceLock::new();

enum Place {
    /// Bytes of the file, as this child has opened it.
    File(File),
    /// Global locks. All other children use them, too.
    Global,
    /// There are none: this child cannot open the file, and global locks would not keep it apart from the others, who can.
    Broken,
}

/// A key's lock: the place of a byte in the file, or the index of a global lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lock(i64);

/// How an attempt has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::httpd) enum Attempt {
    Taken,
    /// Another process has it.
    Busy,
    /// The system gives no lock.
    Failed,
}

/// Makes the file, in the parent, once.
pub(crate) fn create() {
    MADE.get_or_init(make);
}

/// Opens the file for this child.
pub(crate) fn adopt() {
    let place = match MADE.get().and_then(Option::as_ref).map(open) {
        Some(Ok(file)) => Place::File(file),
        // Without /proc, as in a chroot, no child can open it: then all of them use global locks.
        Some(Err(error)) if error.kind() != ErrorKind::NotFound => {
            let text =
                format!("cannot open the file of locks, so that no session can be locked: {error}");
            log::process(Level::Error, &text);
            Place::Broken
        }
        _ => Place::Global,
    };
    let _ = PLACE.set(place);
}

#[cfg(target_os = "linux")]
fn make() -> Option<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: a constant name; the descriptor that is returned is ours alone.
    unsafe {
        let made = libc::memfd_create(c"mod_python locks".as_ptr(), libc::MFD_CLOEXEC);
        (made >= 0).then(|| OwnedFd::from_raw_fd(made))
    }
}

#[cfg(not(target_os = "linux"))]
fn make() -> Option<OwnedFd> {
    None
}

/// Opens the file once more: a descriptor that has been inherited by fork shares its locks with the parent and with other children.
fn open(made: &OwnedFd) -> std::io::Result<File> {
    let path = format!("/proc/self/fd/{}", made.as_raw_fd());
    File::options().read(true).write(true).open(path)
}

impl Lock {
    pub(crate) fn of(key: &[u8]) -> Lock {
        match PLACE.get() {
            // 62 bits, so that the place of the byte, and that behind it, are file offsets.
            Some(Place::File(_)) => Lock(i64::try_from(mutex::hash(key) >> 2).unwrap_or(0)),
            _ => Lock(i64::try_from(mutex::place_of(key)).unwrap_or(0)),
        }
    }

    /// Takes the lock if no other process has it. The caller makes sure that no other thread of this process has.
    pub(in crate::httpd) fn attempt(self) -> Attempt {
        if faults::strike("lock") {
            return Attempt::Failed;
        }
        match PLACE.get() {
            Some(Place::File(file)) => set(file, self.0, true),
            Some(Place::Global) => match mutex::try_lock(self.index()) {
                Some(true) => Attempt::Taken,
                Some(false) => Attempt::Busy,
                None => Attempt::Failed,
            },
            Some(Place::Broken) | None => Attempt::Failed,
        }
    }

    /// Gives back what `attempt` took.
    pub(in crate::httpd) fn free(self) {
        match PLACE.get() {
            Some(Place::File(file)) => drop(set(file, self.0, false)),
            Some(Place::Global) => drop(mutex::unlock(self.index())),
            Some(Place::Broken) | None => {}
        }
    }

    /// Gives the index of a global lock; one that no lock has, where there is none.
    fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

#[cfg(target_os = "linux")]
fn set(file: &File, byte: i64, taken: bool) -> Attempt {
    let kind = if taken { libc::F_WRLCK } else { libc::F_UNLCK };
    // SAFETY: a plain structure, for which zeros are good values (l_pid must be 0); the descriptor is open.
    let status = unsafe {
        let mut range: libc::flock = std::mem::zeroed();
        range.l_type = libc::c_short::try_from(kind).unwrap_or_default();
        range.l_whence = libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default();
        range.l_start = byte;
        range.l_len = 1;
        libc::fcntl(
            file.as_raw_fd(),
            libc::F_OFD_SETLK,
            std::ptr::from_ref(&range),
        )
    };
    if status == 0 {
        return Attempt::Taken;
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Attempt::Busy,
        _ => Attempt::Failed,
    }
}

#[cfg(not(target_os = "linux"))]
fn set(_file: &File, _byte: i64, _taken: bool) -> Attempt {
    Attempt::Failed
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn two_openings_of_the_file_keep_each_other_out() {
        let Some(made) = make() else { return };
        let (Ok(one), Ok(two)) = (open(&made), open(&made)) else {
            return;
        };
        let last = i64::try_from(u64::MAX >> 2).unwrap_or(0);
        for byte in [0, 1, last] {
            assert_eq!(set(&one, byte, true), Attempt::Taken);
            assert_eq!(set(&two, byte, true), Attempt::Busy);
            assert_eq!(set(&two, byte ^ 2, true), Attempt::Taken, "another key");
            assert_eq!(set(&one, byte, false), Attempt::Taken);
            assert_eq!(set(&two, byte, true), Attempt::Taken);
            assert_eq!(set(&two, byte, false), Attempt::Taken);
            assert_eq!(set(&two, byte ^ 2, false), Attempt::Taken);
        }
        assert_eq!(set(&one, 7, true), Attempt::Taken);
        drop(one);
        assert_eq!(set(&two, 7, true), Attempt::Taken, "freed with its opening");
    }
}
