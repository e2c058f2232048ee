//! Which application answers a request, and which part of the URI is its own.

use super::Object;
use crate::config::mount::{Found, Place as Part, file_of};
use crate::config::{Entry, ModPython};
use crate::embed::handlers::{self, Importing};
use crate::embed::{Cx, exception};
use crate::exchange::Exchange;
use crate::httpd::log::Level;
use crate::httpd::module::command::Section;
use crate::httpd::request::lease::Held;
use pyo3::exceptions::{PyAttributeError, PyLookupError, PyModuleNotFoundError, PyValueError};
use pyo3::prelude::*;
use std::borrow::Cow;

const APPLICATION: &str = "mod_python.wsgi.application";
const BASE: &str = "mod_python.wsgi.base_uri";

/// The application that answers a request: where it is imported from, and where in the URI it lies.
pub(super) struct Place<'r> {
    /// `module::callable`.
    pub(super) name: Cow<'r, str>,
    /// How many bytes of the URI are SCRIPT_NAME.
    pub(super) base: usize,
    /// Is `name` called, once, to make the application?
    is_factory: bool,
    /// Is a part of `name` the client's (`$1` of PythonWSGIMatch)?
    is_chosen: bool,
}

impl Place<'_> {
    /// Gives the application's file, where PythonWSGI names one.
    pub(super) fn file(&self) -> Option<&str> {
        file_of(&self.name)
    }
}

/// Finds out by PythonWSGI, or by the options and the `<Location>`, which application answers; None where the URI lies outside of it.
///
/// # Errors
/// LookupError where no option names an application, ValueError for an option that is wrong.
pub(super) fn place<'h>(cx: Cx<'_>, held: &'h Held<'_, Exchange>) -> PyResult<Option<Place<'h>>> {
    let request = held.request();
    let config = request.config::<ModPython>();
    if let Some(mount) = config.mount {
        let found = request.uri().and_then(|uri| mount.find(uri));
        return Ok(found.map(|Found { base, name }| Place {
            // There is one: a request whose expression names nothing has been refused by now.
            name: name.unwrap_or_default(),
            base,
            is_factory: mount.target.is_factory,
            is_chosen: matches!(mount.place, Part::Pattern(..)),
        }));
    }
    let common = &config.common;
    let Some(text) = common.option(APPLICATION).filter(|text| !text.is_empty()) else {
        return Err(PyLookupError::new_err(format!(
            "no application: set PythonOption {APPLICATION} package.module, or package.module::callable"
        )));
    };
    let name = if text.contains("::") {
        Cow::Borrowed(text)
    } else {
        format!("{text}::application").into()
    };
    let uri = request.uri().unwrap_or_default().to_bytes();
    let base = match common.option(BASE) {
        Some(base) if base.ends_with('/') => {
            return Err(PyValueError::new_err(format!(
                "PythonOption {BASE}: {base:?} must not end with a slash"
            )));
        }
        Some(base) => Some(base),
        None => location(held),
    };
    let base = base.unwrap_or_default();
    let rest = uri.strip_prefix(base.as_bytes());
    if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")) {
        return Ok(Some(Place {
            name,
            base: base.len(),
            is_factory: false,
            is_chosen: false,
        }));
    }
    let uri = String::from_utf8_lossy(uri);
    let text = format!("mod_python.wsgi: {uri} lies outside PythonOption {BASE} {base}");
    cx.log(request, Level::Warning, &text);
    Ok(None)
}

/// Gives the application's name, for the log.
///
/// # Errors
/// As for `place`.
pub(super) fn name(cx: Cx<'_>, held: &Held<'_, Exchange>) -> PyResult<String> {
    let place = place(cx, held)?;
    Ok(place
        .map(|place| place.name.into_owned())
        .unwrap_or_default())
}

/// Gives the path of the `<Location>` that the handler stands in, where it is a plain one.
fn location<'a>(held: &'a Held<'_, Exchange>) -> Option<&'a str> {
    match held.value().cursor.current(held.request())?.section {
        Section::Location {
            pattern,
            regex: false,
        } if !pattern.contains(['*', '?', '[']) => Some(pattern.trim_end_matches('/')),
        _ => None,
    }
}

/// Imports the application, as handlers are: PythonPath and PythonAutoReload count.
///
/// # Errors
/// What importing raises; AttributeError where the module has no such object.
pub(super) fn find<'py>(
    cx: Cx<'py>,
    held: &Held<'_, Exchange>,
    place: &Place<'_>,
    request: &Object<'py>,
) -> PyResult<Object<'py>> {
    let host = held.request();
    let common = &host.config::<ModPython>().common;
    let section = held.value().cursor.current(host).map(|entry| entry.section);
    // Of a factory such as `Site.create` only `Site` is looked up here; the rest is, once, when the factory is called.
    let parts = place.is_factory.then(|| place.name.split_once("::"));
    let (key, rest) = match parts.flatten() {
        Some((module, object)) => {
            let first = object.split('.').next().unwrap_or_default();
            let rest = object.get(first.len()..).unwrap_or_default();
            let end = module.len() + "::".len() + first.len();
            (place.name.get(..end).unwrap_or_default(), rest)
        }
        None => (&*place.name, ""),
    };
    let entry = Entry {
        text: &place.name,
        key,
        section: section.unwrap_or(Section::None),
        silent: false,
    };
    let importing = Importing::new(common, host.time());
    let found = handlers::resolve(cx, &entry, importing, request)?
        .ok_or_else(|| PyAttributeError::new_err(format!("there is no {}", place.name)))?;
    if !place.is_factory {
        return Ok(found);
    }
    let factories = cx.py.import("mod_python._factories")?;
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    factories
        .getattr("made")?
        .call1((&*place.name, found, rest))
}

/// Was it raised since there is no such module, and has the client chosen its name?
pub(super) fn is_absent(place: &Place<'_>, raised: &Object<'_>) -> bool {
    if !place.is_chosen || !raised.is_instance_of::<PyModuleNotFoundError>() {
        return false;
    }
    let py = raised.py();
    let module = place.name.split("::").next().unwrap_or_default();
    let name = exception::or_discard(py, raised.getattr("name"));
    let name = name.and_then(|name| exception::or_discard(py, name.extract::<String>()));
    name.is_some_and(|name| name == module)
}
