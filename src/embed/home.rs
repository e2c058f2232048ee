//! Which Python runs: the one that the module was built with, or the virtual environment of PythonHome.
//!
//! Here only files are looked at, so that a mistake is reported when the configuration is read, before Python starts.

use super::package;
use crate::httpd::module::reach::{self, Account};
use std::path::{Path, PathBuf};

/// The interpreter that the module was built with.
pub(crate) const EXECUTABLE: &str = env!("MOD_PYTHON_EXECUTABLE");

/// What kind of directory PythonHome names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// A virtual environment: the path of its interpreter.
    Environment(PathBuf),
    /// The prefix of an installation of Python.
    Prefix(PathBuf),
}

/// A Python that a module embeds.
pub(crate) struct Embedded<'p> {
    /// Major and minor version, with a t where it is free-threaded (PEP 703: its library has that name).
    pub(crate) version: &'p str,
    /// A command that makes environments of it.
    pub(crate) command: &'p str,
}

impl Embedded<'static> {
    /// This module's own.
    pub(crate) const OWN: Embedded<'static> = Embedded {
        version: if cfg!(Py_GIL_DISABLED) {
            concat!(env!("MOD_PYTHON_PYTHON_VERSION"), "t")
        } else {
            package::BUILT_VERSION
        },
        command: EXECUTABLE,
    };
}

/// Checks a PythonHome.
///
/// # Errors
/// What is wrong and what to do.
pub(crate) fn check(directory: &str) -> Result<Home, String> {
    check_of(directory, &Embedded::OWN)
}

fn check_of(directory: &str, python: &Embedded<'_>) -> Result<Home, String> {
    let threaded = python.version;
    let version = threaded.trim_end_matches('t');
    let path = Path::new(directory);
    let remedy = format!("make one with `{} -m venv {directory}`", python.command);
    if !path.is_absolute() {
        return Err(format!("{directory:?} is not an absolute path"));
    }
    reach::check_own(path)?;
    if !path.is_dir() {
        return Err(format!("there is no directory {directory}; {remedy}"));
    }
    let file = path.join("pyvenv.cfg");
    let Ok(configuration) = std::fs::read_to_string(&file) else {
        reach::check_own(&file)?;
        let library = format!("lib/python{threaded}/os.py");
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

/// Gives the interpreter that `sys.executable` names: the one in the home, where that has its own.
pub(crate) fn executable(home: Option<&Home>) -> PathBuf {
    let built = PathBuf::from(EXECUTABLE);
    match home {
        Some(Home::Environment(executable)) => executable.clone(),
        // A Python elsewhere than where the module was built, as in an image with a Python of its own.
        Some(Home::Prefix(prefix)) if !built.is_file() => prefix.join("bin/python3"),
        _ => built,
    }
}

/// Checks that httpd's children can use a PythonHome, as the user that they run as. To be called when the whole configuration has
/// been read: only then is that user known.
///
/// # Errors
/// As for `check`; which directory is in the way, the user and the remedy.
pub(crate) fn check_for_children(directory: &str) -> Result<(), String> {
    check_for(directory, &Embedded::OWN, Account::of_children().as_ref())
}

/// The same for another user (None: of whom nothing can be told), and perhaps another Python.
///
/// # Errors
/// As for `check_for_children`.
pub(crate) fn check_for(
    directory: &str,
    python: &Embedded<'_>,
    user: Option<&Account>,
) -> Result<(), String> {
    let reach = |path: &Path| reach::check_as(path, user);
    match check_of(directory, python)? {
        Home::Prefix(prefix) => reach(&prefix),
        Home::Environment(executable) => {
            let file = Path::new(directory).join("pyvenv.cfg");
            reach(&file)?;
            reach(&executable)?;
            // An environment has no standard library of its own, but that of the Python which has made it.
            let configuration = std::fs::read_to_string(&file).unwrap_or_default();
            let made_with = value_of(&configuration, &["home"]).map(Path::new);
            let made_with = made_with.filter(|path| path.is_dir());
            made_with.map_or(Ok(()), reach)
        }
    }
}

/// Reads the major and minor version from a pyvenv.cfg (PEP 405: `version`; virtualenv writes `version_info`).
fn version_of(configuration: &str) -> Option<String> {
    let value = value_of(configuration, &["version", "version_info"])?;
    let mut parts = value.split('.');
    Some(format!("{}.{}", parts.next()?, parts.next()?))
}

fn value_of<'t>(configuration: &'t str, names: &[&str]) -> Option<&'t str> {
    configuration.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        names.contains(&key.trim()).then(|| value.trim())
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
