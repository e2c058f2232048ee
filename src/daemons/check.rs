//! What `httpd -t` says of daemons: what they need has to be there, for the users that they run as.

use super::handover;
use super::other::{Other, load};
use super::wanted::rivals;
use crate::config::daemons::{Daemon, find, twins, unnamed};
use crate::config::{ModPython, options};
use crate::embed::home::{self, Embedded};
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
    let mut warnings = Vec::new();
    for daemon in &daemons {
        if let Some((one, other)) = rivals(main, daemon.name) {
            return Err(format!(
                "{} is given two applications at one place: {} on line {} of {}, and {} on line {} of {}; give one of them a daemon of its own",
                place(daemon),
                one.target.name,
                one.line,
                one.file,
                other.target.name,
                other.line,
                other.file
            ));
        }
        let doubts = one(daemon).map_err(|reason| format!("{}: {reason}", place(daemon)))?;
        warnings.extend(
            doubts
                .iter()
                .map(|doubt| format!("{}: {doubt}", place(daemon))),
        );
        let name = daemon.name;
        if !used.contains(name) {
            warnings.push(format!(
                "{} has nothing to do: nothing says daemon={name}",
                place(daemon)
            ));
        }
    }
    Ok(warnings)
}

/// What and where it is.
fn place(daemon: &Daemon<'_>) -> String {
    let (name, line, file) = (daemon.name, daemon.line, daemon.file);
    format!("PythonDaemon {name} on line {line} of {file}")
}

/// Whom a daemon runs as; None of whom nothing can be told.
///
/// # Errors
/// There is no such user or group.
pub(crate) fn account(daemon: &Daemon<'_>) -> Result<Option<Account>, String> {
    Account::of(daemon.text("user"), daemon.text("group"))
}

/// Checks a daemon; gives warnings.
fn one(daemon: &Daemon<'_>) -> Result<Vec<String>, String> {
    let account = account(daemon)?;
    let account = account.as_ref();
    let reach = |key: &str, path: &str| there(path, account).map_err(|why| format!("{key}= {why}"));
    let mut doubts = Vec::new();
    let mut command = String::new();
    let mut python = Some(Embedded::OWN);
    let other;
    if let Some(path) = daemon.text("module") {
        reach("module", path)?;
        let named = |reason: String| format!("module= {reason}");
        let path = Path::new(path);
        other = Other::of(path).map_err(named)?;
        load(
            path,
            &environment(daemon),
            account.and_then(Account::identity),
        )
        .map_err(named)?;
        let doubt = other.doubt();
        doubts.extend(doubt.map(|doubt| format!("module= {} {doubt}", path.display())));
        python = other.embedded(&mut command);
    }
    if let Some(directory) = daemon.text("python-home") {
        reach("python-home", directory)?;
        if let Some(python) = &python {
            home::check_for(directory, python, account)
                .map_err(|reason| format!("python-home= {reason}"))?;
        }
    }
    for path in daemon.list("python-path") {
        reach("python-path", path)?;
        reach::check_listed_as(Path::new(path), account)
            .map_err(|reason| format!("python-path= {reason}"))?;
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
    Ok(doubts)
}

/// Is something there, and can the user come to it?
fn there(path: &str, user: Option<&Account>) -> Result<(), String> {
    let path = Path::new(path);
    std::fs::metadata(path).map_err(|error| match reach::check_own(path) {
        Err(text) => text,
        Ok(()) => format!("{}: {error}", path.display()),
    })?;
    reach::check_as(path, user)
}

/// The variables that the daemon's own line gives it.
fn environment<'c>(daemon: &Daemon<'c>) -> Vec<(&'c str, &'c str)> {
    let all = daemon.list("environment").iter();
    all.filter_map(|pair| pair.split_once('=')).collect()
}
