//! Which Python runs: the one that the module was built with, or the virtual environment of PythonHome.
//!
//! Pure checks of files, so that a mistake is reported when the configuration is read.

use std::path::{Path, PathBuf};

/// The interpreter that the module was built with.
pub(crate) const EXECUTABLE: &str = env!("MOD_PYTHON_EXECUTABLE");

/// What PythonHome names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// A virtual environment, by its interpreter.
    Environment(PathBuf),
    /// An installation's prefix.
    Prefix(PathBuf),
}

/// Checks a PythonHome.
///
/// # Errors
/// What is wrong and what to do.
pub(crate) fn check(directory: &str) -> Result<Home, String> {
    let version = super::BUILT_VERSION;
    let path = Path::new(directory);
    let remedy = format!("make one with `{EXECUTABLE} -m venv {directory}`");
    if !path.is_absolute() {
        return Err(format!("{directory:?} is not an absolute path"));
    }
    if !path.is_dir() {
        return Err(format!("there is no directory {directory}; {remedy}"));
    }
    let Ok(configuration) = std::fs::read_to_string(path.join("pyvenv.cfg")) else {
        // A free-threaded Python has a library of its own (PEP 703).
        let threading = if cfg!(Py_GIL_DISABLED) { "t" } else { "" };
        let library = format!("lib/python{version}{threading}/os.py");
        if path.join(library).is_file() {
            return Ok(Home::Prefix(path.into()));
        }
        return Err(format!(
            "{directory} is not a virtual environment (it has no pyvenv.cfg); {remedy}"
        ));
    };
    if let Some(found) = version_of(&configuration)
        && found != version
    {
        return Err(format!(
            "{directory} is an environment of Python {found}, but mod_python was built with Python {version}; {remedy}"
        ));
    }
    let executable = ["bin/python3", "bin/python"]
        .into_iter()
        .map(|name| path.join(name))
        .find(|file| file.is_file());
    executable
        .map(Home::Environment)
        .ok_or_else(|| format!("{directory} has no working bin/python3; {remedy}"))
}

/// The major and minor version that a pyvenv.cfg states (PEP 405; `version`, or `version_info` as virtualenv writes).
fn version_of(configuration: &str) -> Option<String> {
    configuration.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        if !matches!(key.trim(), "version" | "version_info") {
            return None;
        }
        let mut parts = value.trim().split('.');
        Some(format!("{}.{}", parts.next()?, parts.next()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_names_its_version() {
        assert_eq!(
            version_of("home = /usr/bin\nversion = 3.11.2\n").as_deref(),
            Some("3.11")
        );
        assert_eq!(
            version_of("version_info = 3.9.1.final.0").as_deref(),
            Some("3.9")
        );
        assert_eq!(version_of("home = /usr/bin"), None);
    }

    #[test]
    fn what_is_no_environment_is_refused_with_a_remedy() {
        for directory in ["relative", "/nowhere/at/all", "/etc"] {
            assert!(check(directory).is_err(), "{directory}");
        }
        assert!(check("/etc").is_err_and(|error| error.contains("-m venv /etc")));
    }

    #[test]
    fn an_installation_is_a_prefix() {
        let prefix = Path::new(EXECUTABLE)
            .parent()
            .and_then(Path::parent)
            .map(|path| path.display().to_string());
        assert!(matches!(
            check(&prefix.unwrap_or_default()),
            Ok(Home::Prefix(_))
        ));
    }
}
