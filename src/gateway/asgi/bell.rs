//! What wakes a thread that waits in `poll`: a byte in a socket of its own.
//!
//! The event loop has one for its inbox, and each worker one for when it waits for its client, too. Ringing needs no interpreter's
//! lock, and never blocks: a socket that is full has rung already.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// The side of who waits. Owned by its thread.
pub(super) struct Bell {
    heard: UnixStream,
    rope: Rope,
}

/// The side of who wakes; any thread may pull it, also when nobody waits any more.
#[derive(Clone)]
pub(super) struct Rope(Arc<UnixStream>);

impl Bell {
    /// # Errors
    /// No descriptors are left.
    pub(super) fn new() -> io::Result<Bell> {
        let (heard, rung) = UnixStream::pair()?;
        heard.set_nonblocking(true)?;
        rung.set_nonblocking(true)?;
        let rope = Rope(Arc::new(rung));
        Ok(Bell { heard, rope })
    }

    pub(super) fn rope(&self) -> Rope {
        self.rope.clone()
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.heard.as_raw_fd()
    }

    /// Forgets that it has rung.
    pub(super) fn hush(&self) {
        let mut rung = [0; 64];
        while (&self.heard)
            .read(&mut rung)
            .is_ok_and(|count| count == rung.len())
        {}
    }
}

impl Rope {
    pub(super) fn pull(&self) {
        // Where it fails the socket is full: it has rung.
        let _ = (&*self.0).write(&[1]);
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
        bell.hush();
        assert!(!rings());
        bell.rope().pull();
        assert!(rings());
    }
}
