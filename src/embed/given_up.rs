//! The end of a child with threads that do not come back (PythonTimeout): others finish first.

use super::armed::{self, Claimed, Keeps, TICK, desks};
use super::{main_thread, threads};
use crate::httpd::clock::now;
use crate::httpd::log::{self, Level};
use crate::httpd::module::{retirement, unfinished};
use crate::httpd::request::handed;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// So often nobody else is seen to be at work, before that is believed: what has been accepted may still wait for a worker.
const LOOKS: u32 = 10;

/// For so long clients of connections that are being closed may read their answers, as httpd itself gives most of them (SECONDS_TO_LINGER).
const LINGER: Duration = Duration::from_secs(2);

/// What is given up, and not back.
struct Stuck {
    /// Threads: whoever they are.
    threads: usize,
    /// Connections that httpd says it is at because of them.
    connections: usize,
}

impl Stuck {
    fn now() -> Stuck {
        let (mut threads, mut own, mut connections) = (0, 0, HashSet::new());
        let all = desks().clone();
        let claimed = all.iter().filter_map(|desk| desk.claim(now()));
        for entry in claimed.filter(|entry| entry.is_given_up()) {
            threads += 1;
            let keeps = entry.rescue.as_ref();
            // An event loop's thread is none of httpd's.
            match keeps.map_or(Keeps::Own, |rescue| rescue.keeps(&entry.call())) {
                _ if entry.is_step => {}
                Keeps::Own => own += 1,
                Keeps::Shared(connection) => drop(connections.insert(connection)),
                Keeps::Nothing => {}
            }
        }
        let connections = connections.len() + own;
        Stuck {
            threads,
            connections,
        }
    }
}

/// The entries of all that is late.
struct Kept(Vec<Claimed<'static>>);

impl Kept {
    /// None of them comes back from here on: it would wait for its entry.
    fn all() -> Kept {
        Kept(
            desks()
                .iter()
                .filter_map(|desk| desk.claim(now()))
                .collect(),
        )
    }

    /// Has those logged that are given up.
    fn close(&self) {
        let given_up = self.0.iter().filter(|entry| entry.is_given_up());
        given_up.for_each(|entry| {
            if let Some(rescue) = &entry.rescue {
                rescue.close();
            }
        });
    }
}

/// Has the child end, when what the others do is done, or httpd's Timeout has passed.
pub(super) fn retire() {
    static RETIRES: AtomicBool = AtomicBool::new(false);
    if RETIRES.swap(true, Ordering::SeqCst) {
        return;
    }
    let spawned = main_thread::spawn("mod_python end", || {
        if let Some(patience) = retirement::begin() {
            wait_for_others(patience);
        }
    });
    if let Err(reason) = spawned {
        log::process(Level::Error, &reason);
    }
}

fn wait_for_others(patience: Duration) {
    let begun = now();
    let [farewell, linger, patience] =
        [handed::farewell(), LINGER, patience].map(armed::nanoseconds);
    let mut idle = 0;
    // A thread may have come back; then httpd ends the child, unless another one is given up meanwhile.
    while !threads::is_ending() {
        std::thread::sleep(TICK);
        let stuck = Stuck::now();
        let are_busy = retirement::are_others_busy(stuck.connections);
        idle = if are_busy { 0 } else { idle + 1 };
        let (now, closed) = (now(), unfinished::closed());
        let (age, has_lingered) = (now - begun, now >= closed.saturating_add(linger));
        let is_over = age >= patience;
        let is_time = is_over || idle >= LOOKS && age >= farewell && has_lingered;
        if !is_time || stuck.threads == 0 {
            continue;
        }
        let kept = Kept::all();
        // Somebody may have come on a connection that is kept.
        if !is_over && retirement::are_others_busy(stuck.connections) {
            continue;
        }
        kept.close();
        log::process(
            Level::Warning,
            "PythonTimeout: the child ends, with a thread that has not come back",
        );
        // SAFETY: ends the process at once. An orderly end would wait for the thread.
        unsafe { libc::_exit(0) }
    }
}
