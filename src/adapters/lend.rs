//! Lends a filter's invocation to a Python object while a handler runs.

use crate::embed::{self, Cx};
use crate::exchange::RequestLease;
use crate::httpd::io::filter::Invocation;
use crate::httpd::request::turn::Way;
use crate::objects::filter::{Running, lock};
use std::sync::{Arc, Mutex};

/// Has an object reach the invocation, but only while `body` runs; what it leaves is put back for httpd.
pub(super) fn lend<R>(
    cx: Cx<'_>,
    lease: &RequestLease,
    way: Way,
    invocation: &mut Invocation,
    body: impl FnOnce(&Running) -> R,
) -> R {
    let _set_out = lease.turn().set_out(way);
    let running: Running = Arc::new(Mutex::new(None));
    let taken_back = TakenBack {
        cx,
        lease,
        running: &running,
    };
    invocation.lend(|lent| {
        *lock(&running) = Some(lent);
        let result = body(&running);
        (result, taken_back.take())
    })
}

/// No object reaches the invocation any more when this has gone, however that comes about.
struct TakenBack<'a, 'py> {
    cx: Cx<'py>,
    lease: &'a RequestLease,
    running: &'a Running,
}

impl TakenBack<'_, '_> {
    fn take(&self) -> Option<Box<Invocation>> {
        // What another thread is in the middle of has taken it, and puts it back.
        let _held = embed::acquire(self.cx.py, self.lease);
        lock(self.running).take()
    }
}

impl Drop for TakenBack<'_, '_> {
    fn drop(&mut self) {
        drop(self.take());
    }
}
