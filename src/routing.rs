//! Which interpreter runs a request's handlers: mod_python's rules.

use crate::ModPython;
use crate::config::{Directory, Entry};
use crate::embed::interpreters::MAIN;
use crate::httpd::request::Request;
use std::borrow::Cow;

/// The interpreter's name: PythonInterpreter, a name a directory, a name a directive, or the server's.
pub(crate) fn interpreter_name<'r>(
    request: Request<'r>,
    config: &Directory<'r>,
    entry: Option<&Entry<'r>>,
) -> Cow<'r, str> {
    if let Some(name) = config.common.interpreter {
        return name.into();
    }
    if config.interpreter_per_directory == Some(true) {
        return per_directory(request).unwrap_or(MAIN.into());
    }
    if config.common.interpreter_per_directive == Some(true) {
        let directory = entry
            .and_then(Entry::directory)
            .filter(|directory| !directory.is_empty());
        return directory.unwrap_or(MAIN).into();
    }
    let host = request
        .server()
        .server_hostname()
        .and_then(|name| name.to_str().ok());
    host.or(request.server().config::<ModPython>().common.interpreter)
        .unwrap_or(MAIN)
        .into()
}

/// The directory that the request's file lies in, or is, with a slash at its end.
fn per_directory<'r>(request: Request<'r>) -> Option<Cow<'r, str>> {
    let name = request.filename()?.to_str().ok()?;
    if request.is_directory() && !name.ends_with('/') {
        return Some(format!("{name}/").into());
    }
    name.rfind('/')
        .and_then(|slash| name.get(..=slash))
        .map(Cow::Borrowed)
}
