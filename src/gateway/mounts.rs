//! The part of the URI that an application has taken, as the phases of a request ask for it. Nothing here touches Python.

use crate::config::ModPython;
use crate::config::mount::{self, Mount};
use crate::httpd::request::Request;
use crate::httpd::request::handed::Application;
use crate::httpd::request::section::Giver;
use std::io::ErrorKind;

/// Finds the application that a request's URI lies in. None where a section for the same part of the URI, or for a part of
/// that, has a SetHandler, be it `none`; and of a request for a tunnel, whose URI is none.
pub(crate) fn at(request: Request<'_>) -> Option<&Mount<'_>> {
    let mounts = request.server().config::<ModPython>().mounts;
    if mounts.is_empty() || request.proxyreq() != 0 || request.wants_tunnel() {
        return None;
    }
    if let Some(wanted) = request.application() {
        return called(mounts, wanted);
    }
    let (mount, found) = mount::find(mounts, request.uri()?)?;
    let is_covered = match request.handler_giver() {
        Giver::Nobody | Giver::Server => false,
        Giver::Path(path) => {
            let path = path.to_bytes();
            path.strip_suffix(b"/").unwrap_or(path).len() >= found.base
        }
        Giver::Other => true,
    };
    (!is_covered).then_some(mount)
}

/// In a daemon: the application that the front has found. The front's hosts may each have another one at the same place, or below that of
/// another's. While a changed configuration comes into force there may be another one in its place; none but that takes its requests.
fn called<'c>(mounts: &'c [&'c Mount<'c>], wanted: Application<'_>) -> Option<&'c Mount<'c>> {
    let all = || mounts.iter().map(|mount| (*mount, mount.called()));
    let is_it = |kind: u8, target: &str| (kind, target) == (wanted.kind, wanted.target);
    let exact =
        all().find(|(_, (kind, place, target))| *place == wanted.place && is_it(*kind, target));
    let near = || {
        all().find(|(_, (kind, place, _))| {
            *place == wanted.place && kind.is_ascii_uppercase() == wanted.kind.is_ascii_uppercase()
        })
    };
    exact.or_else(near).map(|(mount, _)| mount)
}

/// Puts what the line that has taken a request says on top of what the sections say.
pub(crate) fn cover(request: Request<'_>) {
    let handler = request.handler_address();
    let mut mounts = request.server().config::<ModPython>().mounts.iter();
    if let Some(mount) = mounts.find(|mount| mount.handler.as_ptr() == handler) {
        mount.overlay.cover(request);
    }
}

/// Says what is wrong where the expression of a line (PythonWSGIMatch) has matched, and there is no such application. Such a request
/// is given to nobody else: what another module would send might be an application's source. Only files are looked for here;
/// whether there is a module, Python finds out.
pub(crate) fn absent(request: Request<'_>) -> Option<String> {
    let mount = request.config::<ModPython>().mount?;
    if !mount.is_pattern() {
        return None;
    }
    let found = mount.find(request.uri()?)?;
    let Some(name) = &found.name else {
        let (file, line) = (mount.file, mount.line);
        return Some(format!(
            "what the expression on line {line} of {file} has matched can name no application"
        ));
    };
    let file = found.file()?;
    let is_absent = match std::fs::metadata(file) {
        Ok(there) => !there.is_file(),
        Err(error) => matches!(
            error.kind(),
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
        ),
    };
    is_absent.then(|| format!("there is no {name}"))
}
