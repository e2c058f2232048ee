//! The names of output filters. mod_filter calls a filter's function, and does not tell it for which filter: so each name has a
//! function of its own, and is found by the function's place.

use crate::httpd::apr::pool::Pool;
use std::ffi::CStr;
use std::sync::{PoisonError, RwLock};

/// How many names of output filters a configuration may have: there are so many functions.
pub(crate) const MOST: usize = 256;

/// The names, by place. They are added while a configuration is read, and only looked up later.
static NAMES: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Forgets all names, before another configuration is read (a hook of `pre_config`).
///
/// # Errors
/// None.
pub(crate) fn forget(_pool: Pool<'_>) -> Result<(), String> {
    NAMES
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
    Ok(())
}

/// Gives a name its place, or the one that it has; None where none is left.
pub(super) fn place(name: &CStr) -> Option<usize> {
    let name = name.to_string_lossy().to_lowercase();
    let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
    let known = names.iter().position(|known| *known == name);
    known.or_else(|| {
        let place = names.len();
        (place < MOST).then(|| names.push(name))?;
        Some(place)
    })
}

/// Is it the name of a Python filter?
pub(super) fn is_known(name: &CStr) -> bool {
    let names = NAMES.read().unwrap_or_else(PoisonError::into_inner);
    let name = name.to_bytes();
    names
        .iter()
        .any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

pub(super) fn at(place: usize) -> Option<String> {
    let names = NAMES.read().unwrap_or_else(PoisonError::into_inner);
    names.get(place).cloned()
}
