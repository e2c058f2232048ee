//! Has operations fail on purpose, for tests (feature `test-faults`). In other builds nothing of this is left.
//!
//! The environment variable MOD_PYTHON_FAULTS names a file with a line for each place that is to fail, `name`, or to panic,
//! `name=panic`.

use crate::httpd::sys;
use std::ffi::c_int;

/// Is the operation at this place to fail now?
#[inline]
pub(crate) fn strike(place: &str) -> bool {
    cfg!(feature = "test-faults") && kind(place).as_deref() == Some("")
}

/// Gives an APR call's status, or, where the place is to fail, that of a failure.
#[inline]
pub(in crate::httpd) fn status(place: &str, call: impl FnOnce() -> c_int) -> c_int {
    if strike(place) {
        sys::APR_EGENERAL
    } else {
        call()
    }
}

/// Panics where the place is to panic now.
#[inline]
#[cfg_attr(
    feature = "test-faults",
    expect(clippy::panic, reason = "the subject of the test")
)]
pub(crate) fn detonate(place: &str) {
    #[cfg(feature = "test-faults")]
    if kind(place).as_deref() == Some("panic") {
        panic!("a deliberate panic in {place}");
    }
    #[cfg(not(feature = "test-faults"))]
    let _ = place;
}

/// Reads what is to happen at a place.
fn kind(place: &str) -> Option<String> {
    let lines = std::fs::read_to_string(std::env::var_os("MOD_PYTHON_FAULTS")?).ok()?;
    let found = lines.lines().find_map(|line| line.strip_prefix(place));
    match found? {
        "" => Some(String::new()),
        rest => rest.strip_prefix('=').map(String::from),
    }
}
