//! epoll: which descriptors a thread waits for.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// The descriptors that are waited for, each with a number. Owned by the thread that waits.
pub(crate) struct Poll(OwnedFd);

/// What a descriptor is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    /// That the other side sends something.
    pub(crate) reads: bool,
    /// That it ends, or sends nothing more.
    pub(crate) ends: bool,
    /// That it takes more.
    pub(crate) writes: bool,
    /// That the connection has been broken off. That is told of wherever something else is waited for, too.
    pub(crate) resets: bool,
}

impl Interest {
    /// That it sends something, or ends.
    pub(crate) const READS: Interest = Interest {
        reads: true,
        ends: true,
        writes: false,
        resets: true,
    };

    pub(crate) fn is_any(self) -> bool {
        self.reads || self.ends || self.writes || self.resets
    }

    fn events(self) -> u32 {
        let events = [
            (self.reads, libc::EPOLLIN),
            (self.ends, libc::EPOLLRDHUP),
            (self.writes, libc::EPOLLOUT),
        ];
        let wanted = events.iter().filter(|(is_wanted, _)| *is_wanted);
        wanted
            .fold(0, |all, (_, event)| all | event)
            .cast_unsigned()
    }
}

/// Gives a descriptor that can be read once a number has been written to it, each of eight bytes (eventfd(2)). It never blocks.
///
/// # Errors
/// No descriptors are left.
pub(crate) fn counter() -> io::Result<File> {
    // SAFETY: a new descriptor, or a negative number.
    unsafe {
        match libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) {
            descriptor if descriptor >= 0 => Ok(File::from_raw_fd(descriptor)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// How many events are taken at once.
const BATCH: usize = 256;

impl Poll {
    /// # Errors
    /// No descriptors are left.
    pub(crate) fn new() -> io::Result<Poll> {
        // SAFETY: a new descriptor, or a negative number.
        unsafe {
            match libc::epoll_create1(libc::EPOLL_CLOEXEC) {
                descriptor if descriptor >= 0 => Ok(Poll(OwnedFd::from_raw_fd(descriptor))),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    /// Waits for a descriptor, too.
    ///
    /// # Errors
    /// No memory is left for it, or it is none that can be waited for.
    pub(crate) fn add(&self, descriptor: RawFd, number: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, descriptor, number, interest)
    }

    /// # Errors
    /// As for `add`.
    pub(crate) fn change(
        &self,
        descriptor: RawFd,
        number: u64,
        interest: Interest,
    ) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, descriptor, number, interest)
    }

    /// Waits for it no more.
    pub(crate) fn remove(&self, descriptor: RawFd) {
        // It fails where the descriptor is not waited for.
        let _ = self.control(libc::EPOLL_CTL_DEL, descriptor, 0, Interest::default());
    }

    fn control(
        &self,
        operation: i32,
        descriptor: RawFd,
        number: u64,
        interest: Interest,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: interest.events(),
            u64: number,
        };
        // SAFETY: our own descriptor, and a place that is read meanwhile.
        let done =
            unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, descriptor, &raw mut event) };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Waits, no longer than `time`; gives the numbers of those for which it is time.
    pub(crate) fn wait(&self, time: Duration) -> Vec<u64> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; BATCH];
        let milliseconds = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: as many places as it is told.
        let count = unsafe {
            libc::epoll_wait(
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                i32::try_from(BATCH).unwrap_or(0),
                milliseconds,
            )
        };
        let count = usize::try_from(count).unwrap_or(0);
        events.iter().take(count).map(|event| event.u64).collect()
    }
}
