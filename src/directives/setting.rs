//! What setters of directives share.

use crate::config::{Common, Entry, HandlerList, ModPython};
use crate::httpd::apr::pool::Pool;
use crate::httpd::module::command::Setting;
use std::path::Path;

/// What a setter is given.
pub(super) type Set<'a, 'c> = Setting<'a, 'c, ModPython>;

/// Makes `~/file.py` the path of a file beside the configuration file; gives anything else as it is.
pub(super) fn beside(handler: &str, file: Option<&str>) -> String {
    match (
        handler.strip_prefix("~/"),
        file.and_then(|file| Path::new(file).parent()),
    ) {
        (Some(name), Some(directory)) => format!("{}/{name}", directory.display()),
        _ => handler.to_string(),
    }
}

/// Appends to the list that the same directive has made in the same place.
pub(super) fn longer<'c>(
    pool: Pool<'c>,
    old: Option<&HandlerList<'c>>,
    entries: &[Entry<'c>],
) -> &'c HandlerList<'c> {
    pool.store(HandlerList {
        entries: pool.concat(old.map_or(&[][..], |list| list.entries), entries),
    })
}

/// Sets a value where `req.get_config()` finds it and, outside sections, where `server.get_config()` does.
pub(super) fn common<'c>(setting: &mut Set<'_, 'c>, mut change: impl FnMut(&mut Common<'c>)) {
    change(&mut setting.directory.common);
    if setting.server_level {
        change(&mut setting.server.common);
    }
}
