//! The clock that durations are measured with.

/// Nanoseconds since the machine has started, without those that it has slept (CLOCK_MONOTONIC): it never goes back, and is the same in
/// all processes. Read without a system call (vDSO).
#[inline]
pub(crate) fn now() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds since the machine has started, also those that it has slept (CLOCK_BOOTTIME): what is shown over time goes by it.
pub(crate) fn since_start() -> u64 {
    read(libc::CLOCK_BOOTTIME)
}

#[inline]
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: fills the structure, or leaves it as it is.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.cast_unsigned() * SECOND + time.tv_nsec.cast_unsigned()
}

/// Nanoseconds of a second.
pub(crate) const SECOND: u64 = 1_000_000_000;
