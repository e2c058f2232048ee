//! Requests that have left their worker: one thread of the child serves them all, as many as there are.
//!
//! A gateway's handler gives its stream away (`depart`) and answers SUSPENDED; when the worker lets go of the connection, the streams'
//! thread takes it over (`take_over`). It never waits but for all of them together: a stream does what can be done at once
//! (`Stream::step`), and says what it waits for. At its end one of a few threads, which may wait, has the request end (`ending`);
//! then the connection lingers here, as httpd's do, and is closed.
//!
//! What is done for a request is done under its lease, whose turn stays open all the while: the application may use the request.

pub(crate) mod bell;
mod ending;
mod stream;
mod thread;

use crate::embed::in_flight::{self, Away};
use crate::exchange::{Exchange, lease_of};
use crate::httpd::guard::guard;
use crate::httpd::request::lease::StayOpen;
use crate::httpd::request::server::is_stopping;
use crate::httpd::request::suspended::{Suspended, note_release};
use crate::httpd::{faults, log};
use std::cell::RefCell;
use std::sync::Arc;
use stream::Taken;

pub(crate) use stream::{Step, Stream, Wants};
pub(crate) use thread::stop;

/// A stream whose worker has not let go yet.
struct Departing {
    stream: Box<dyn Stream>,
    open: Option<StayOpen<Exchange>>,
    away: Option<Away>,
}

thread_local! {
    /// What this worker's request goes on as, until the worker has let go of it.
    static DEPARTING: RefCell<Option<Departing>> = const { RefCell::new(None) };
}

/// Can a stream be taken over? Otherwise its worker has to serve it. Called by the worker.
///
/// Not in a child that ends: event waits for the connections that it knows when it stops listening. A worker may have one from its queue
/// later; for what a worker serves it waits, too, and not for what has left.
pub(crate) fn is_ready() -> bool {
    note_release();
    !faults::strike("streams") && thread::is_ready() && !is_stopping()
}

/// Has a request go on without its worker: its handler answers SUSPENDED next.
pub(crate) fn depart(stream: Box<dyn Stream>) {
    // From here on, so that the application can use it all the while.
    let open = stream
        .lease()
        .hold()
        .ok()
        .map(|held| StayOpen::new(stream.lease().clone(), held.request()));
    // Nor is it in nobody's count meanwhile.
    let away = in_flight::away();
    let departing = Departing { stream, open, away };
    let before = DEPARTING.with(|place| place.borrow_mut().replace(departing));
    if let Some(mut before) = before {
        // Its handler's result has not come to httpd: the request has had another end.
        before.stream.leave();
        before.stream.end();
    }
}

/// The worker has let go of a connection: it is ours now, if the request is.
pub(crate) fn take_over(suspended: Suspended) {
    let departing = DEPARTING.with(|departing| departing.borrow_mut().take());
    let (Some(departing), Some(request)) = (departing, suspended.request()) else {
        return;
    };
    let Departing {
        mut stream,
        open,
        away,
    } = departing;
    let lease = stream.lease();
    if !Arc::ptr_eq(lease, lease_of(request)) {
        log::entry(
            request,
            log::Level::Critical,
            "another request is suspended than the one that was to be",
        );
        stream.leave();
        stream.end();
        return;
    }
    let open = open.unwrap_or_else(|| StayOpen::new(lease.clone(), request));
    let handed = guard("a stream's hand-over", || {
        request.wait_no_more();
        open.serve(request);
    });
    if let Err(place) = &handed {
        log::process(log::Level::Critical, place);
        suspended.give_up();
    }
    // In any case: nobody else would end it.
    thread::adopt(Taken {
        stream,
        suspended,
        open,
        is_lost: handed.is_err(),
        _away: away,
    });
}
