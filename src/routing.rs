//! Which interpreter runs a request's handlers: mod_python's rules.

use crate::config::ModPython;
use crate::config::interpreters::MAIN;
use crate::config::{Directory, Entry};
use crate::embed::interpreter::Interpreter;
use crate::embed::registry::{self, Found};
use crate::httpd::module::command::{Section, Written};
use crate::httpd::request::Request;
use std::borrow::Cow;
use std::cell::Cell;
use std::ffi::c_void;
use std::path::Path;
use std::ptr::NonNull;

thread_local! {
    /// The server that this thread has served last, and its interpreter: for most requests nothing has to be looked up by name.
    static LAST: Cell<Option<(NonNull<c_void>, Found)>> = const { Cell::new(None) };
}

/// Finds the interpreter, or the pool, that runs a request's handlers; makes it where it is needed for the first time, so call
/// it detached.
///
/// # Errors
/// Why it cannot be had, with its name.
#[inline(always)]
pub(crate) fn find<'r>(
    request: Request<'r>,
    config: &Directory<'r>,
    entry: Option<&'r Entry<'r>>,
) -> Result<Found, String> {
    let server = is_by_server(config).then(|| request.server().address());
    if let Some((last, found)) = LAST.get()
        && server == Some(last)
    {
        return Ok(found);
    }
    look_up(request, config, entry, server)
}

#[inline(never)]
fn look_up<'r>(
    request: Request<'r>,
    config: &Directory<'r>,
    entry: Option<&'r Entry<'r>>,
    server: Option<NonNull<c_void>>,
) -> Result<Found, String> {
    let name = interpreter_name(request, config, entry);
    let home = request.server().config::<ModPython>().home;
    let found = registry::find(&name, home)
        .map_err(|reason| format!("no interpreter {name:?}: {reason}"))?;
    // Another module may have made a server for this request alone, in its pool: the next request's may have the same address.
    if let Some(server) = server
        && request.server().in_child().is_some()
    {
        LAST.set(Some((server, found)));
    }
    Ok(found)
}

/// Gives the interpreter's name as handlers see it (`req.interpreter`): for the main one that of the server, where the request came
/// to it by that name. Looks for nothing, and makes nothing.
pub(crate) fn shown_name<'r>(request: Request<'r>, interpreter: &'r Interpreter) -> &'r str {
    let name = interpreter.name();
    let config = request.config::<ModPython>();
    if name != MAIN || !is_by_server(config) {
        return name;
    }
    server_name(request).unwrap_or(name)
}

/// Gives the name of the interpreter that one handler asks for, where handlers of one phase may need different ones: under
/// PythonInterpPerDirective those that `req.add_handler()` adds with a directory of their own. None where all have the same.
pub(crate) fn of_place<'r>(
    request: Request<'r>,
    config: &Directory<'r>,
    entry: Option<&'r Entry<'r>>,
) -> Option<Cow<'r, str>> {
    let place_decides = config.common.interpreter.is_none()
        && config.common.interpreter_per_directory != Some(true)
        && config.common.interpreter_per_directive == Some(true);
    place_decides.then(|| interpreter_name(request, config, entry))
}

/// Does the server alone decide?
fn is_by_server(config: &Directory<'_>) -> bool {
    config.common.interpreter.is_none()
        && config.common.interpreter_per_directory != Some(true)
        && config.common.interpreter_per_directive != Some(true)
}

fn server_name(request: Request<'_>) -> Option<&str> {
    let host = request.server().server_hostname();
    host.and_then(|name| name.to_str().ok())
}

/// Gives the interpreter's name: PythonInterpreter's, the directory's, the section's (PythonInterpPerDirective), or the server's.
fn interpreter_name<'r>(
    request: Request<'r>,
    config: &Directory<'r>,
    entry: Option<&'r Entry<'r>>,
) -> Cow<'r, str> {
    if let Some(name) = config.common.interpreter {
        return name.into();
    }
    if config.common.interpreter_per_directory == Some(true) {
        return per_directory(request).unwrap_or(MAIN.into());
    }
    if config.common.interpreter_per_directive == Some(true) {
        let entry = entry.map(|entry| located(request, entry));
        let directory = entry.and_then(Entry::directory);
        return directory
            .filter(|directory| !directory.is_empty())
            .unwrap_or(MAIN)
            .into();
    }
    server_name(request)
        .or(request.server().config::<ModPython>().common.interpreter)
        .unwrap_or(MAIN)
        .into()
}

/// Puts a path in the place of an entry's `<Directory>` with wild cards or a regular expression: the shortest directory above the
/// request's file that matches. Where none matches, or only one that does not exist, the pattern stays.
#[inline]
pub(crate) fn located<'r>(request: Request<'r>, entry: &'r Entry<'r>) -> &'r Entry<'r> {
    match entry.section {
        Section::Directory { written, .. } if written != Written::Plainly => {
            matching(request, entry)
        }
        _ => entry,
    }
}

#[cold]
fn matching<'r>(request: Request<'r>, entry: &'r Entry<'r>) -> &'r Entry<'r> {
    let Section::Directory { path, written } = entry.section else {
        return entry;
    };
    let found = request.matching_directory(path, written == Written::AsRegex);
    // The rest of a path is the client's to choose: it may name directories that do not exist.
    let found = found.filter(|found| Path::new(found).is_dir());
    let Some(found) = found else {
        return entry;
    };
    request.pool().store(Entry {
        section: Section::Directory {
            path: request.pool().text(&found),
            written: Written::Plainly,
        },
        ..*entry
    })
}

/// Gives the directory that the request's file lies in, or is, with a slash at its end. Only one that exists, and that httpd has
/// looked into: otherwise a client could have any number of interpreters made by the names that it asks for. A name that is
/// no file's, such as a URI, `proxy:http://…` or what a rule has made of it, gives none.
fn per_directory<'r>(request: Request<'r>) -> Option<Cow<'r, str>> {
    let name = request.filename()?.to_str().ok()?;
    if !name.starts_with('/') || !request.has_walked() {
        return None;
    }
    let directory = if request.is_directory() && !name.ends_with('/') {
        Cow::Owned(format!("{name}/"))
    } else {
        Cow::Borrowed(name.get(..=name.rfind('/')?)?)
    };
    let is_there = request.has_found_file() || Path::new(&*directory).is_dir();
    is_there.then_some(directory)
}
