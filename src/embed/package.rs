//! Where the Python package `mod_python` is that belongs to this DSO.
//!
//! `make install` gives each version a directory of its own: an httpd that is only restarted gracefully keeps the DSO that it has
//! loaded, and with it that version's package, whatever has been installed meanwhile.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The version of this DSO.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Major and minor version of the Python that the module was built with, such as "3.11".
pub(super) const BUILT_VERSION: &str = env!("MOD_PYTHON_PYTHON_VERSION");

/// The directory that holds the package: `python/mod_python-VERSION/` or `python/` beside the DSO. A DSO that lies where it was
/// built goes on with its source tree.
///
/// # Errors
/// A sentence: where the package should be, and what to do.
pub(crate) fn directory() -> Result<&'static Path, String> {
    static DIRECTORY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = DIRECTORY.get_or_init(|| {
        let beside = dso_directory().ok_or("the loader does not say where mod_python.so is")?;
        find(&beside, Path::new(env!("CARGO_MANIFEST_DIR")))
    });
    found.as_deref().map_err(String::clone)
}

fn find(beside: &Path, source: &Path) -> Result<PathBuf, String> {
    let versioned = beside.join(format!("python/mod_python-{VERSION}"));
    let plain = beside.join("python");
    let built = beside
        .starts_with(source.join("target"))
        .then(|| source.join("python"));
    let wanted = versioned.display().to_string();
    [versioned, plain]
        .into_iter()
        .chain(built)
        .find(|directory| directory.join("mod_python/__init__.py").is_file())
        .ok_or_else(|| {
            format!("mod_python.so {VERSION} lacks its Python package, which should be in {wanted}; run `make install` again")
        })
}

/// Makes the warning for the operator where the package is of another version than the DSO: a graceful restart has kept an old DSO,
/// or one of the two was copied without the other.
pub(crate) fn mismatch() -> Option<String> {
    let directory = directory().ok()?;
    let text = std::fs::read_to_string(directory.join("mod_python/version.py")).ok()?;
    let found = version_of(&text)?;
    let directory = directory.display();
    (found != VERSION).then(|| {
        format!(
            "mod_python.so is version {VERSION}, but its Python package in {directory} is version {found}: run `make install`, then stop httpd and start it (a graceful restart keeps the mod_python.so that is loaded)"
        )
    })
}

/// Reads the line `version = "…"` of a version.py.
fn version_of(text: &str) -> Option<&str> {
    text.lines()
        .find_map(|line| line.strip_prefix("version = "))
        .map(|value| value.trim().trim_matches(['"', '\'']))
}

/// This DSO.
pub(crate) fn module() -> Option<PathBuf> {
    static HERE: u8 = 0;
    // SAFETY: dladdr fills the structure for an address of this DSO; the name belongs to the loader.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(std::ptr::from_ref(&HERE).cast(), &raw mut info) == 0
            || info.dli_fname.is_null()
        {
            return None;
        }
        let file = PathBuf::from(OsStr::from_bytes(CStr::from_ptr(info.dli_fname).to_bytes()));
        std::fs::canonicalize(file).ok()
    }
}

fn dso_directory() -> Option<PathBuf> {
    module()?.parent().map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_tree_is_used_where_it_was_built_only() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let built = find(&source.join("target/nowhere"), source);
        assert_eq!(built, Ok(source.join("python")));
        let moved = find(Path::new("/nowhere"), source);
        assert!(moved.is_err_and(|text| text.contains("/nowhere/python/mod_python-")));
    }

    #[test]
    fn a_package_says_its_version() {
        let text = "\"\"\"version\"\"\"\nversion = \"1.2.3\"\n";
        assert_eq!(version_of(text), Some("1.2.3"));
        let own = include_str!("../../python/mod_python/version.py");
        assert_eq!(version_of(own), Some(VERSION));
    }
}
