//! What wakes a thread that waits for descriptors: a byte in a socket of its own.
//!
//! The event loop has one for its inbox, each worker one for when it waits for its client, too, and the streams' thread one for
//! all of them. Ringing needs no interpreter's lock, and never blocks: a socket that is full has rung already.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

/// The side of who waits. Owned by its thread.
pub(crate) struct Bell {
    heard: UnixStream,
    rung: Arc<UnixStream>,
    called: Arc<Mutex<Vec<u64>>>,
}

/// The side of who wakes; any thread may pull it, also when nobody waits any more.
#[derive(Clone)]
pub(crate) struct Rope {
    rung: Arc<UnixStream>,
    /// Who is called, where the bell is that of several.
    called: Option<(Arc<Mutex<Vec<u64>>>, u64)>,
}

impl Bell {
    /// # Errors
    /// No descriptors are left.
    pub(crate) fn new() -> io::Result<Bell> {
        let (heard, rung) = UnixStream::pair()?;
        heard.set_nonblocking(true)?;
        rung.set_nonblocking(true)?;
        Ok(Bell {
            heard,
            rung: Arc::new(rung),
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
        self.heard.as_raw_fd()
    }

    /// Forgets that it has rung. Gives the numbers of those that have been called.
    pub(crate) fn hush(&self) -> Vec<u64> {
        let mut rung = [0; 64];
        while (&self.heard)
            .read(&mut rung)
            .is_ok_and(|count| count == rung.len())
        {}
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
        // Where it fails the socket is full: it has rung.
        let _ = (&*self.rung).write(&[1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_rings_until_it_is_hushed() {
        let bell = Bell::new().unwrap();
        let rings = || {
            let mut byte = [0];
            (&bell.heard).read(&mut byte).is_ok()
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
