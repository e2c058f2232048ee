//! What `httpd -t` says of daemons: what they need has to be there, for the users that they run as.

use super::handover;
use crate::config::daemons::{Daemon, find, twins, unnamed};
use crate::config::{ModPython, options};
use crate::embed::home;
use crate::httpd::module::proxy;
use crate::httpd::module::reach::{self, Account};
use crate::httpd::request::server::Server;
use std::collections::HashSet;
use std::iter::successors;
use std::path::Path;

/// Checks all daemons, and gives warnings.
///
/// # Errors
/// What a daemon cannot run with.
pub(crate) fn all(main: Server<'_>) -> Result<Vec<String>, String> {
    let daemons = handover::all(main);
    let mut used = HashSet::new();
    for server in successors(Some(main), |server| server.next()) {
        let config = server.config::<ModPython>();
        for mount in config.mounts {
            let Some(name) = mount.daemon else { continue };
            if find(&daemons, name).is_none() {
                let (file, line) = (mount.file, mount.line);
                let reason = unnamed(&daemons, name);
                return Err(format!("daemon= on line {line} of {file}: {reason}"));
            }
            used.insert(name);
        }
        for &name in config.handed {
            if find(&daemons, name).is_none() {
                let reason = unnamed(&daemons, name);
                return Err(format!("PythonOption {}: {reason}", options::DAEMON));
            }
            used.insert(name);
        }
    }
    if daemons.is_empty() {
        return Ok(Vec::new());
    }
    if let Some((one, other)) = twins(&daemons) {
        return Err(format!(
            "{} has the name of that on line {} of {}, or one too like it",
            place(&other),
            one.line,
            one.file
        ));
    }
    if let Some(missing) = proxy::missing() {
        let place = daemons.first().map(place).unwrap_or_default();
        return Err(format!(
            "{place} needs {missing}: load it (LoadModule; on Debian `a2enmod proxy_http`)"
        ));
    }
    for daemon in &daemons {
        one(daemon).map_err(|reason| format!("{}: {reason}", place(daemon)))?;
    }
    let idle = daemons.iter().filter(|daemon| !used.contains(daemon.name));
    Ok(idle
        .map(|daemon| {
            let name = daemon.name;
            format!(
                "{} has nothing to do: nothing says daemon={name}",
                place(daemon)
            )
        })
        .collect())
}

/// What and where it is.
fn place(daemon: &Daemon<'_>) -> String {
    let (name, line, file) = (daemon.name, daemon.line, daemon.file);
    format!("PythonDaemon {name} on line {line} of {file}")
}

fn one(daemon: &Daemon<'_>) -> Result<(), String> {
    let account = Account::of(daemon.text("user"), daemon.text("group"))?;
    let reach = |key: &str, path: &str| {
        let path = Path::new(path);
        let there = std::fs::metadata(path).map_err(|error| match reach::check_own(path) {
            Err(text) => text,
            Ok(()) => format!("{}: {error}", path.display()),
        });
        there
            .and_then(|_| reach::check_as(path, account.as_ref()))
            .map_err(|reason| format!("{key}= {reason}"))
    };
    let module = daemon.text("module");
    if let Some(module) = module {
        reach("module", module)?;
        is_module(Path::new(module)).map_err(|reason| format!("module= {reason}"))?;
    }
    if let Some(directory) = daemon.text("python-home") {
        reach("python-home", directory)?;
        if module.is_none() {
            home::check(directory).map_err(|reason| format!("python-home= {reason}"))?;
        }
    }
    for path in daemon.list("python-path") {
        reach("python-path", path)?;
    }
    if let Some(directory) = daemon.text("working-directory") {
        reach("working-directory", directory)?;
        if !Path::new(directory).is_dir() {
            return Err(format!("working-directory= {directory} is no directory"));
        }
    }
    for path in daemon.list("reload") {
        reach("reload", path)?;
    }
    if let Some(log) = daemon.text("log") {
        let above = Path::new(log).parent().filter(|above| above.is_dir());
        above.ok_or_else(|| format!("log= there is no directory for {log}"))?;
    }
    Ok(())
}

/// Is the file this module, built for whichever Python? It is not loaded: that would bring its Python along.
fn is_module(path: &Path) -> Result<(), String> {
    const SYMBOL: &[u8] = b"\0python_module\0";
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|error| format!("{shown}: {error}"))?;
    if !bytes.starts_with(b"\x7fELF") {
        return Err(format!("{shown} is no shared object"));
    }
    let is_ours = bytes.windows(SYMBOL.len()).any(|part| part == SYMBOL);
    is_ours
        .then_some(())
        .ok_or_else(|| format!("{shown} has no python_module: it is not mod_python.so"))
}
