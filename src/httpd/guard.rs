//! The panic boundary: every function that C calls runs its body under `guard`.
//!
//! Keeps invariant 2: a panic never unwinds into C; it becomes an `Err` that names its place.

use crate::httpd::faults;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

thread_local! {
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Has panics remember where they happened, instead of printing it. Called once each time the module is loaded.
pub(crate) fn install() {
    set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("a panic without a message");
        let place = info
            .location()
            .map_or_else(|| "an unknown place".to_string(), ToString::to_string);
        // Fails in a thread that ends, whose thread-locals have gone: the panic is then told without its place.
        let _ = PLACE.try_with(|slot| slot.replace(Some(format!("panic at {place}: {message}"))));
    }));
}

/// Runs the body of a function that C calls, `entry`. Gives `Err` with place and message where it has panicked.
#[inline]
pub(crate) fn guard<T>(entry: &'static str, body: impl FnOnce() -> T) -> Result<T, String> {
    let body = || {
        faults::detonate(entry);
        body()
    };
    catch_unwind(AssertUnwindSafe(body)).map_err(|_| {
        let place = PLACE.try_with(RefCell::take).ok().flatten();
        place.unwrap_or_else(|| "panic at an unknown place".to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_names_its_place() {
        install();
        let error = guard("test", || -> () { panic!("on purpose") })
            .err()
            .unwrap_or_default();
        let _ = std::panic::take_hook();
        assert!(
            error.contains("guard.rs") && error.ends_with("on purpose"),
            "{error}"
        );
        assert_eq!(guard("test", || 1), Ok(1));
    }
}
