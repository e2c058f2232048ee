//! In a daemon: what its keeper has told it, by options of the configuration that it writes; and the daemon goes when its keeper does.

use crate::config::ModPython;
use crate::embed::main_thread;
use crate::httpd::io::{parked, staying};
use crate::httpd::log::{self, Level};
use crate::httpd::module::process;
use crate::httpd::request::handed;
use crate::httpd::request::server::Server;
use std::time::Duration;

/// Memory that the keeper reads: a descriptor.
const BOARD: &str = "daemon.board";
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
    parked::keep_from_forked();
    let spawned = main_thread::spawn("mod_python front", || {
        loop {
            std::thread::sleep(MOMENT);
            staying::look();
        }
    });
    if let Err(reason) = spawned {
        log::process(Level::Error, &reason);
    }
}

/// This child begins to end, and waits for its connections: the front is told.
pub(crate) fn part_from_front() {
    if handed::is_daemon() {
        parked::part();
    }
}
