//! Hooks that a directive asks for: where none does, no request passes them. httpd sorts its hooks when it has read its configuration, so
//! a directive may register some, as LoadModule does.

use super::hooks::{OWN_NAME, under};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Hooks that belong together.
pub(crate) struct OnDemand {
    register: OnceLock<fn()>,
    are_registered: AtomicBool,
}

impl OnDemand {
    pub(crate) const fn new() -> OnDemand {
        OnDemand {
            register: OnceLock::new(),
            are_registered: AtomicBool::new(false),
        }
    }

    /// Says how they are registered. Called each time the module is loaded: httpd has forgotten all hooks by then.
    pub(crate) fn offer(&self, register: fn()) {
        let _ = self.register.set(register);
        self.are_registered.store(false, Ordering::Relaxed);
    }

    /// Registers them, unless they are. Called while httpd reads its configuration, in one thread.
    pub(crate) fn demand(&self) {
        if let Some(register) = self.register.get()
            && !self.are_registered.swap(true, Ordering::Relaxed)
        {
            under(OWN_NAME, register);
        }
    }
}
