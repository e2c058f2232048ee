//! `module=`: another mod_python.so, perhaps for another Python. What it says of itself is read, and httpd's own program is asked whether it
//! can be loaded: in this process that would bring its Python along.

use crate::embed::home::Embedded;
use crate::embed::package;
use crate::httpd::module::asking::ask;
use crate::httpd::module::process::{self, Identity};
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

/// For how long the loader may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a module says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Other {
    /// Its version; empty where it does not say so.
    version: String,
    /// Its Python's, such as 3.12 or 3.13t; empty where it does not say so.
    python: String,
}

impl Other {
    /// Looks into a file.
    ///
    /// # Errors
    /// It is not this module.
    pub(super) fn of(path: &Path) -> Result<Other, String> {
        const SYMBOL: &[u8] = b"\0python_module\0";
        let shown = path.display();
        // A device or a FIFO may have no end.
        if path.exists() && !path.is_file() {
            return Err(format!("{shown} is no file"));
        }
        let bytes = std::fs::read(path).map_err(|error| format!("{shown}: {error}"))?;
        if !bytes.starts_with(b"\x7fELF") {
            return Err(format!("{shown} is no shared object"));
        }
        if behind(&bytes, SYMBOL).next().is_none() {
            return Err(format!(
                "{shown} has no python_module: it is not mod_python.so"
            ));
        }
        let version = version(&bytes);
        // What came before the fourth version knows nothing of daemons.
        if version.is_empty() {
            return Err(format!(
                "{shown} is another mod_python.so than this project's, such as that of mod_python 3"
            ));
        }
        Ok(Other {
            version,
            python: python(&bytes),
        })
    }

    /// A sentence for the operator, where it is of another version than this module.
    pub(super) fn doubt(&self) -> Option<String> {
        (self.version != package::VERSION).then(|| {
            format!(
                "is version {}, and httpd's own is {}: what one of them does, the other may not know; build both from the same source",
                self.version,
                package::VERSION
            )
        })
    }

    /// Its Python, for the check of an environment.
    pub(super) fn embedded<'o>(&'o self, command: &'o mut String) -> Option<Embedded<'o>> {
        if self.python.is_empty() {
            return None;
        }
        *command = format!("python{}", self.python);
        Some(Embedded {
            version: &self.python,
            command,
        })
    }
}

/// Has httpd's program load it, as this user.
///
/// # Errors
/// Why it cannot be loaded: what it needs is not there, or out of this user's reach.
pub(super) fn load(
    path: &Path,
    environment: &[(&str, &str)],
    identity: Option<&Identity>,
) -> Result<(), String> {
    let Some(program) = process::program() else {
        return Ok(());
    };
    let quoted = path
        .to_string_lossy()
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    let line = format!("LoadModule python_module \"{quoted}\"");
    // Without an MPM it goes no further than its modules, which is what is asked.
    let arguments = ["-t", "-f", "/dev/null", "-C", &line].map(OsStr::new);
    let Ok(said) = ask(&program, &arguments, environment, identity, PATIENCE) else {
        // This user may not run httpd: its daemon will say so.
        return Ok(());
    };
    let shown = path.display();
    if let Some(signal) = said.signal {
        return Err(format!(
            "{shown} cannot be loaded: httpd has ended with signal {signal} meanwhile"
        ));
    }
    match said.text.split_once("Syntax error") {
        None => Ok(()),
        Some((_, rest)) => {
            let line = rest.lines().next().unwrap_or_default();
            let reason = line
                .split_once("into server: ")
                .map_or(line, |(_, reason)| reason);
            Err(format!("{shown} cannot be loaded: {reason}"))
        }
    }
}

/// What stands behind each place of a text.
fn behind<'b>(bytes: &'b [u8], text: &'static [u8]) -> impl Iterator<Item = &'b [u8]> {
    let first = text.first().copied().unwrap_or_default();
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = bytes.get(at..)?;
            at += rest.iter().position(|&byte| byte == first)? + 1;
            if let Some(found) = bytes.get(at - 1..).and_then(|rest| rest.strip_prefix(text)) {
                return Some(found);
            }
        }
    })
}

/// `mod_python/4.0.0`, as it is part of what httpd calls itself.
fn version(bytes: &[u8]) -> String {
    let all = behind(bytes, b"mod_python/").map(|rest| taken(rest, |byte| byte == b'.'));
    let is_version = |text: &String| {
        let mut parts = text.split('.').map(str::parse::<u32>);
        let major = parts.next().and_then(Result::ok);
        major.is_some_and(|major| major >= 4) && parts.filter(Result::is_ok).count() == 2
    };
    let mut all = all.filter(is_version);
    all.next().unwrap_or_default()
}

/// `libpython3.12.so.1.0`, which it needs.
fn python(bytes: &[u8]) -> String {
    let all = behind(bytes, b"libpython3.").map(|rest| {
        let text = taken(rest, |byte| byte == b't' || byte == b'd');
        (text.len(), text.trim_end_matches('d').to_string(), rest)
    });
    let mut found = all.filter_map(|(length, text, rest)| {
        let is_library = rest.get(length..)?.starts_with(b".so");
        (is_library && text.starts_with(|letter: char| letter.is_ascii_digit()))
            .then(|| format!("3.{text}"))
    });
    found.next().unwrap_or_default()
}

fn taken(bytes: &[u8], is_more: impl Fn(u8) -> bool) -> String {
    let part = bytes.iter().copied();
    let part = part.take_while(|&byte| byte.is_ascii_digit() || is_more(byte));
    part.take(16).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_says_what_it_is() {
        let bytes = b"x mod_python/3.5.0 mod_python/ mod_python/4.12.3 Python\0libpython3.\0libpython3.13t.so.1.0\0";
        assert_eq!(version(bytes), "4.12.3");
        assert_eq!(python(bytes), "3.13t");
        assert_eq!(python(b"libpython3.12.so.1.0"), "3.12");
        assert_eq!(python(b"libpython3.12d.so"), "3.12");
        assert_eq!(
            (version(b"mod_python/3.5.0"), python(b"libpython")),
            (String::new(), String::new())
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        assert!(Other::of(Path::new("/etc/passwd")).is_err_and(|text| text.contains("no shared")));
        assert!(Other::of(Path::new("/nowhere")).is_err());
        assert!(Other::of(Path::new("/dev/zero")).is_err_and(|text| text.ends_with("is no file")));
    }
}
