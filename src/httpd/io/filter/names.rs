//! The names of output filters, by their functions: mod_filter tells a provider nothing but by which function it is called.

use crate::httpd::apr::pool::Pool;
use std::ffi::CStr;
use std::sync::{PoisonError, RwLock};

/// How many names of output filters a configuration may give: so many can be told apart when mod_filter calls them.
pub(crate) const MOST: usize = 256;

/// Filled while a configuration is read; later only read.
static NAMES: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Another configuration is about to be read (a hook of `pre_config`).
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

/// The place of a name; None where there is none left.
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

pub(super) fn at(place: usize) -> Option<String> {
    let names = NAMES.read().unwrap_or_else(PoisonError::into_inner);
    names.get(place).cloned()
}
