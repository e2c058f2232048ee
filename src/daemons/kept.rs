//! In a daemon: what its keeper has told it, by options of the configuration that it writes; and the daemon goes when its keeper does.

use crate::config::ModPython;
use crate::httpd::module::process;
use crate::httpd::request::server::Server;

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
