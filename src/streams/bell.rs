//! What wakes a thread that waits for descriptors: a counter of the kernel's that it waits for, too.
//!
//! The event loop has one for its inbox, each worker one for when it waits for its client, too, and the streams' thread one for
//! all of them. Ringing needs no interpreter's lock, and never blocks.

use crate::httpd::io::poll::counter;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

/// The side of who waits. Owned by its thread.
pub(crate) struct Bell {
    rung: Arc<File>,
    called: Arc<Mutex<Vec<u64>>>,
}

/// The side of who wakes; any thread may pull it, also when nobody waits any more.
#[derive(Clone)]
pub(crate) struct Rope {
    rung: Arc<File>,
    /// Who is called, where the bell is that of several.
    called: Option<(Arc<Mutex<Vec<u64>>>, u64)>,
}

impl Bell {
    /// # Errors
    /// No descriptors are left.
    pub(crate) fn new() -> io::Result<Bell> {
        Ok(Bell {
            rung: Arc::new(counter()?),
            called: Arc::default(),
        })
    }

    pub(crate) fn rope(&self) -> Rope {
        Rope {
            rung: self.rung.clone(),
            called: None,
        }
    }

    /// A rope that calls one of several.
    pub(crate) fn rope_of(&self, number: u64) -> Rope {
        Rope {
            rung: self.rung.clone(),
            called: Some((self.called.clone(), number)),
        }
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.rung.as_raw_fd()
    }

    /// Forgets that it has rung. Gives the numbers of those that have been called.
    pub(crate) fn hush(&self) -> Vec<u64> {
        // It fails where nobody has rung.
        let _ = (&*self.rung).read(&mut [0; 8]);
        std::mem::take(&mut *self.called.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Rope {
    pub(crate) fn pull(&self) {
        if let Some((called, number)) = &self.called {
            let mut called = called.lock().unwrap_or_else(PoisonError::into_inner);
            called.push(*number);
            if called.len() > 1 {
                // Whoever was the first has rung.
                return;
            }
        }
        // Where it fails the counter is full: it has rung.
        let _ = (&*self.rung).write(&1_u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_rings_until_it_is_hushed() {
        let bell = Bell::new().unwrap();
        let rings = || {
            let mut count = [0; 8];
            (&*bell.rung).read(&mut count).is_ok()
        };
        assert!(!rings());
        (0..200).for_each(|_| bell.rope().pull());
        assert!(bell.hush().is_empty());
        assert!(!rings());
        bell.rope().pull();
        assert!(rings());
    }

    #[test]
    fn who_is_called_is_told() {
        let bell = Bell::new().unwrap();
        let (seventh, eighth) = (bell.rope_of(7), bell.rope_of(8));
        seventh.pull();
        eighth.pull();
        assert_eq!(bell.hush(), [7, 8]);
        assert!(bell.hush().is_empty());
        eighth.pull();
        assert_eq!(bell.hush(), [8]);
    }
}
