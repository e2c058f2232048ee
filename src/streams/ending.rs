//! The end of streams, in a thread that may wait: the application is told, what belongs to the request's end is run, the request is
//! logged. Then the connection goes back to the streams' thread, to linger and to be closed.

use super::stream::Taken;
use crate::embed::main_thread::spawn;
use crate::httpd::guard::guard;
use crate::httpd::log::{self, Level};
use crate::httpd::request::suspended::Suspended;
use std::sync::mpsc::{Sender, channel};
use std::thread::sleep;
use std::time::Duration;

/// So often it is looked whether a worker has let go of a connection.
const MOMENT: Duration = Duration::from_millis(1);

/// Starts the thread. `done` is given each connection whose request has ended, and whether it is to linger.
///
/// # Errors
/// When no thread can be had.
pub(super) fn start(
    done: impl Fn(Suspended, bool) + Send + 'static,
) -> Result<Sender<Taken>, String> {
    let (sender, ended) = channel::<Taken>();
    spawn("mod_python ends", move || {
        for taken in ended {
            let (suspended, lingers) = end(taken);
            done(suspended, lingers);
        }
    })?;
    Ok(sender)
}

fn end(taken: Taken) -> (Suspended, bool) {
    let Taken {
        stream,
        mut suspended,
        open,
    } = taken;
    while !suspended.is_let_go() {
        sleep(MOMENT);
    }
    if let Some(connection) = suspended.connection() {
        connection.wait_again();
    }
    let told = |place: String| log::process(Level::Critical, &place);
    guard("a stream's end", || stream.end()).unwrap_or_else(told);
    drop(open);
    let lingers = guard("a stream's request", || suspended.finish());
    let lingers = lingers.map_err(told).unwrap_or(false);
    (suspended, lingers)
}
