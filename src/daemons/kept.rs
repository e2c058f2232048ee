//! In a daemon: what its keeper has told it, by options of the configuration that it writes; and the daemon goes when its keeper does.

use crate::config::ModPython;
use crate::embed::{in_flight, main_thread};
use crate::httpd::clock;
use crate::httpd::io::staying::{self, Parting};
use crate::httpd::io::{forked, parked};
use crate::httpd::log::{self, Level};
use crate::httpd::module::{process, retirement};
use crate::httpd::request::Request;
use crate::httpd::request::handed;
use crate::httpd::request::server::Server;
use crate::httpd::status::Status;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Memory that the keeper reads: a descriptor.
const BOARD: &str = "daemon.board";
/// How many bytes of memory a child may have before another one takes its place: where there are several.
const MEMORY: &str = "daemon.memory";
/// The keeper's process.
const KEEPER: &str = "daemon.keeper";

fn number(server: Server<'_>, name: &str) -> Option<i32> {
    let text = server.config::<ModPython>().common.option(name)?;
    text.parse().ok().filter(|number| *number > 2)
}

/// Memory in which the keeper sees what the children are at.
pub(crate) fn board(server: Server<'_>) -> Option<i32> {
    server.config::<ModPython>().ready?;
    number(server, BOARD)
}

/// Has this process, httpd's parent, end with its keeper.
///
/// # Errors
/// The keeper has gone already.
pub(crate) fn follow_keeper(server: Server<'_>) -> Result<(), String> {
    if let Some(ready) = server.config::<ModPython>().ready {
        process::close_on_exec(ready);
    }
    match number(server, KEEPER) {
        Some(keeper) if server.config::<ModPython>().ready.is_some() => process::follow(keeper)
            .then_some(())
            .ok_or_else(|| "the daemon's keeper has gone".into()),
        _ => Ok(()),
    }
}

/// `daemon.memory` of this child; 0: there is none.
static MOST: AtomicU64 = AtomicU64::new(0);
/// When the memory was looked at last.
static LOOKED: AtomicU64 = AtomicU64::new(0);
/// How much time lies between two looks.
const PAUSE: u64 = clock::SECOND / 4;

/// In a child: remembers how much memory it may have.
pub(crate) fn limit_memory(server: Server<'_>) {
    let config = server.config::<ModPython>();
    let text = config
        .common
        .option(MEMORY)
        .filter(|_| config.ready.is_some());
    let most = text.and_then(|text| text.parse().ok());
    MOST.store(most.unwrap_or(0), Ordering::Relaxed);
}

/// Is the memory to be looked at after a request?
pub(crate) fn is_limited(_: Request<'_>) -> bool {
    MOST.load(Ordering::Relaxed) != 0
}

/// Has this child end in order when it has more memory than it may: it accepts nothing more, others do, and nothing is lost.
pub(crate) fn measure(_: Request<'_>) -> Status {
    let now = clock::now();
    let before = LOOKED.load(Ordering::Relaxed);
    let is_due = now.saturating_sub(before) >= PAUSE
        && LOOKED
            .compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
    if is_due && !retirement::has_begun() {
        let (most, found) = (MOST.load(Ordering::Relaxed), process::memory().unwrap_or(0));
        if found > most {
            let (found, most) = (found >> 20, most >> 20);
            let text = format!(
                "this process has {found} MB, and its memory-limit is {most} MB: it ends when its requests have, and another takes its place"
            );
            log::process(Level::Warning, &text);
            retirement::begin();
        }
    }
    Status::DECLINED
}

/// Has this child of a daemon end with httpd's parent: it would go on with the socket.
pub(crate) fn follow_parent(server: Server<'_>) {
    if server.config::<ModPython>().ready.is_some() {
        process::follow_this_parent();
    }
}

/// So often it is looked after the connections that the front keeps.
const MOMENT: Duration = Duration::from_millis(100);

/// Looks after the front's connections, as long as this child of a daemon lives.
pub(crate) fn look_after_front() {
    if !handed::is_daemon() {
        return;
    }
    parked::follow_forks();
    if let Err(reason) = forked::keep_from_forked() {
        log::process(Level::Error, &reason);
    }
    in_flight::show_parted(false);
    let spawned = main_thread::spawn("mod_python front", || {
        let mut before = Parting::NotYet;
        let mut alone = None;
        loop {
            let is_urgent = before == Parting::Begun;
            std::thread::sleep(if is_urgent { MOMENT / 20 } else { MOMENT });
            let now = staying::look();
            if now == Parting::Done && before != now {
                in_flight::show_parted(true);
            }
            before = now;
            if process::has_lost_parent() {
                end_alone(&mut alone);
            }
        }
    });
    if let Err(reason) = spawned {
        log::process(Level::Error, &reason);
    }
}

/// For so long a child without a parent may go on with what it has in hand.
const ALONE: Duration = Duration::from_secs(5);

/// Ends a child whose parent has been killed. The signal that comes with the parent's end (`follow_parent`) is lost on one that is just
/// starting: until httpd has set its own, handlers of its parent's take it, and do nothing.
fn end_alone(since: &mut Option<Instant>) {
    match since {
        None => {
            *since = Some(Instant::now());
            process::signal(std::process::id().cast_signed(), libc::SIGTERM);
        }
        Some(since) if since.elapsed() > ALONE => retirement::end_with_parent(),
        Some(_) => {}
    }
}

/// This child begins to end, and waits for its connections: the front is told.
pub(crate) fn part_from_front() {
    if handed::is_daemon() {
        parked::part();
    }
}
