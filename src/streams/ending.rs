//! The end of streams, in threads that may wait: the application is told, what belongs to the request's end is run, the request is
//! logged. Then the connection goes back to the streams' thread, to linger and to be closed.

use super::stream::Taken;
use crate::embed::main_thread::spawn;
use crate::httpd::guard::guard;
use crate::httpd::log::{self, Level};
use crate::httpd::request::suspended::Suspended;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

/// How many threads there are: a log handler that takes its time holds up no others.
const THREADS: usize = 4;
/// So often it is looked whether a worker has let go of a connection.
const MOMENT: Duration = Duration::from_millis(1);

/// Starts the threads. `done` is given each connection whose request has ended, and whether it is to linger.
///
/// # Errors
/// When no thread can be had.
pub(super) fn start(
    done: impl Fn(Suspended, bool) + Clone + Send + 'static,
) -> Result<Sender<Taken>, String> {
    let (sender, ended) = channel::<Taken>();
    let ended = Arc::new(Mutex::new(ended));
    for _ in 0..THREADS {
        let (ended, done) = (ended.clone(), done.clone());
        spawn("mod_python ends", move || {
            while let Some(taken) = next(&ended) {
                let (suspended, lingers) = end(taken);
                done(suspended, lingers);
            }
        })?;
    }
    Ok(sender)
}

fn next(ended: &Mutex<Receiver<Taken>>) -> Option<Taken> {
    let ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
    ended.recv().ok()
}

fn end(taken: Taken) -> (Suspended, bool) {
    let Taken {
        stream,
        mut suspended,
        open,
        _away,
        ..
    } = taken;
    while !suspended.is_let_go() {
        sleep(MOMENT);
    }
    let told = |place: String| log::process(Level::Critical, &place);
    guard("a stream's end", || stream.end()).unwrap_or_else(told);
    drop(open);
    let lingers = guard("a stream's request", || suspended.finish());
    let lingers = lingers.map_err(told).unwrap_or(false);
    (suspended, lingers)
}
