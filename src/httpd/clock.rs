//! The clock that durations are measured with.

/// Nanoseconds since the machine has started, also those that it has slept (CLOCK_BOOTTIME): it never goes back, and is the same in all
/// processes. Read without a system call (vDSO).
#[inline]
pub(crate) fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: fills the structure, or leaves it as it is.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    time.tv_sec.cast_unsigned() * SECOND + time.tv_nsec.cast_unsigned()
}

/// Nanoseconds of a second.
pub(crate) const SECOND: u64 = 1_000_000_000;
