//! PythonInterpreterPool.

use super::setting::Set;
use crate::config::interpreters::MAIN;

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
