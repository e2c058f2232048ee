//! What setters of directives share.

use crate::config::interpreters::MAIN;
use crate::config::{Entry, HandlerList, ModPython};
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

/// Adds a pool of interpreters: `PythonInterpreterPool name size=4`.
pub(super) fn add_pool<'c>(
    setting: &mut Set<'_, 'c>,
    name: &'c str,
    size: &'c str,
) -> Result<(), String> {
    const MOST: usize = 256;
    if name == MAIN {
        return Err("cannot be main_interpreter: there is one of it; choose another name".into());
    }
    let number = size
        .strip_prefix("size=")
        .and_then(|size| size.parse().ok());
    let Some(number) = number.filter(|number| (1..=MOST).contains(number)) else {
        return Err(format!(
            "needs a size from 1 to {MOST}, such as size=4, not {size:?}"
        ));
    };
    if setting.server.pools.iter().any(|(other, _)| *other == name) {
        return Err(format!("names {name:?} a second time"));
    }
    let pool = [(name, number)];
    setting.server.pools = setting.pool.concat(setting.server.pools, &pool);
    Ok(())
}
