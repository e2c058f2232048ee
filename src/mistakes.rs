//! Warnings, when httpd starts and of `httpd -t`: what a configuration says and cannot have meant, though httpd can run with it.

use crate::config::ModPython;
use crate::config::daemons::{self, Daemon};
use crate::config::mount::{Place, file_of};
use crate::daemons::{check, handover};
use crate::gateway::asgi;
use crate::httpd::io::unwaited::LEAST_THRESHOLD;
use crate::httpd::module::reach;
use crate::httpd::request::section::paths_with_handler;
use crate::httpd::request::server::{Server as ServerRec, can_suspend};
use std::collections::HashMap;
use std::ffi::CStr;
use std::path::Path;

/// Finds applications that no request can reach, files of applications and handlers that are not there or that httpd's children
/// cannot read, options that nobody reads, and what streams without a worker cannot do with; a sentence each.
pub(crate) fn of(server: ServerRec<'_>, files: &mut Files<'_>) -> Vec<String> {
    let paths = paths_with_handler(server);
    let mut found = Vec::new();
    for mount in server.config::<ModPython>().mounts {
        let place = format!("line {} of {}", mount.line, mount.file);
        let is_same = |path: &&CStr| match (mount.place, path.to_str()) {
            (Place::Prefix(prefix), Ok(path)) => prefix == path.trim_end_matches('/'),
            _ => false,
        };
        if let Some(path) = paths.iter().find(|path| is_same(path)) {
            let path = path.to_string_lossy();
            found.push(format!(
                "the application on {place} is never asked: <Location {path}> has a SetHandler"
            ));
        }
        if !mount.is_pattern()
            && let Some(file) = file_of(mount.target.name)
            && let Some(trouble) = files.trouble(file, mount.daemon)
        {
            found.push(format!("the application on {place} {trouble}"));
        }
    }
    for source in server.config::<ModPython>().sources {
        if let Some(trouble) = files.trouble(source.path, None) {
            let (name, line, file) = (source.directive, source.line, source.file);
            found.push(format!(
                "the file of {name} on line {line} of {file} {trouble}"
            ));
        }
    }
    for doubt in server.config::<ModPython>().doubts {
        let (key, text, line, file) = (doubt.key, doubt.text, doubt.line, doubt.file);
        found.push(format!(
            "PythonOption {key} on line {line} of {file} {text}"
        ));
    }
    found.extend(slow_streams(server));
    found
}

/// The streams' thread must never wait for one client: all the others would wait as well, for up to Timeout.
fn slow_streams(server: ServerRec<'_>) -> Option<String> {
    let mounts = server.config::<ModPython>().mounts;
    let mount = mounts
        .iter()
        .find(|mount| mount.gateway == asgi::GATEWAY.handler)?;
    let size = server.flush_max_threshold()?;
    (size < LEAST_THRESHOLD && can_suspend()).then(|| {
        format!(
            "FlushMaxThreshold {size}: a client that reads slowly would hold up all WebSockets and event streams of its child (those of \
             the application on line {} of {}, too); leave it out, or set {LEAST_THRESHOLD} at least",
            mount.line, mount.file
        )
    })
}

/// Remembers what has been found out about files, so that each is tried once, and who runs as whom.
pub(crate) struct Files<'s> {
    daemons: Vec<Daemon<'s>>,
    found: HashMap<(String, Option<String>), Option<String>>,
}

impl<'s> Files<'s> {
    pub(crate) fn of(main: ServerRec<'s>) -> Files<'s> {
        Files {
            daemons: handover::all(main),
            found: HashMap::new(),
        }
    }

    /// Says why httpd's children, or this daemon, will not be able to load a file; None where they will.
    fn trouble(&mut self, file: &str, daemon: Option<&str>) -> Option<String> {
        let find = || {
            let path = Path::new(file);
            let closed = |text: String| format!("cannot be loaded: {text}");
            let there = match std::fs::metadata(path) {
                Ok(_) => None,
                Err(error) => Some(match reach::check_own(path) {
                    Err(text) => closed(text),
                    Ok(()) => format!("is not there: {file}: {error}"),
                }),
            };
            there.or_else(|| {
                let reached = match daemon {
                    None => reach::check(path),
                    Some(name) => {
                        // One that is not there, or has no such user, is an error of its own.
                        let account = daemons::find(&self.daemons, name)
                            .and_then(|daemon| check::account(&daemon).ok().flatten());
                        reach::check_as(path, account.as_ref())
                    }
                };
                reached.err().map(closed)
            })
        };
        let key = (file.into(), daemon.map(Into::into));
        self.found.entry(key).or_insert_with(find).clone()
    }
}
