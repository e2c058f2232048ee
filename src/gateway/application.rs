//! Which application answers a request, and which part of the URI is its own.

use crate::config::gateways::Gateway;
use crate::config::mount::{Found, file_of};
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

type Object<'py> = Bound<'py, PyAny>;

/// The application that answers a request: where it is imported from, and where in the URI it lies.
pub(super) struct Mounted<'r> {
    /// `module::callable`.
    pub(super) name: Cow<'r, str>,
    /// How many bytes of the URI are SCRIPT_NAME.
    pub(super) base: usize,
    /// Is `name` called, once, to make the application?
    is_factory: bool,
    /// Is a part of `name` the client's (`$1` of PythonWSGIMatch)?
    is_chosen: bool,
}

impl Mounted<'_> {
    /// Gives the application's file, where the configuration names one.
    pub(super) fn file(&self) -> Option<&str> {
        file_of(&self.name)
    }

    /// Splits a URI into what leads to the application, and what is left for it.
    pub(super) fn split<'u>(&self, uri: &'u [u8]) -> (&'u [u8], &'u [u8]) {
        uri.split_at_checked(self.base).unwrap_or((uri, &[]))
    }
}

/// Finds out by the line that has taken the request (PythonWSGI), or by the gateway's options and the `<Location>`, which application answers; None where the URI lies outside of it, as that of a
/// request for a tunnel does.
///
/// # Errors
/// LookupError where no option names an application, ValueError for an option that is wrong.
pub(super) fn mounted<'h>(
    cx: Cx<'_>,
    gateway: &Gateway,
    held: &'h Held<'_, Exchange>,
) -> PyResult<Option<Mounted<'h>>> {
    let request = held.request();
    if request.wants_tunnel() {
        return Ok(None);
    }
    let config = request.config::<ModPython>();
    if let Some(mount) = config.mount {
        let found = request.uri().and_then(|uri| mount.find(uri));
        return Ok(found.map(|Found { base, name }| Mounted {
            // There is one: a request whose expression names nothing has been refused by now.
            name: name.unwrap_or_default(),
            base,
            is_factory: mount.target.is_factory,
            is_chosen: mount.is_pattern(),
        }));
    }
    let common = &config.common;
    let Some(text) = common
        .option(gateway.application)
        .filter(|text| !text.is_empty())
    else {
        let option = gateway.application;
        return Err(PyLookupError::new_err(format!(
            "no application: set PythonOption {option} package.module, or package.module::callable"
        )));
    };
    let name = if text.contains("::") {
        Cow::Borrowed(text)
    } else {
        format!("{text}::application").into()
    };
    let uri = request.uri().unwrap_or_default().to_bytes();
    let option = gateway.base_uri;
    let base = match common.option(option) {
        Some(base) if base.ends_with('/') => {
            return Err(PyValueError::new_err(format!(
                "PythonOption {option}: {base:?} must not end with a slash"
            )));
        }
        Some(base) => Some(base),
        None => location(held),
    };
    let base = base.unwrap_or_default();
    let rest = uri.strip_prefix(base.as_bytes());
    if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")) {
        return Ok(Some(Mounted {
            name,
            base: base.len(),
            is_factory: false,
            is_chosen: false,
        }));
    }
    let uri = String::from_utf8_lossy(uri);
    let text = format!(
        "{}: {uri} lies outside PythonOption {option} {base}",
        gateway.handler
    );
    cx.log(request, Level::Warning, &text);
    Ok(None)
}

/// Gives the application's name, for the log.
///
/// # Errors
/// As for `mounted`.
pub(super) fn name(cx: Cx<'_>, gateway: &Gateway, held: &Held<'_, Exchange>) -> PyResult<String> {
    let mounted = mounted(cx, gateway, held)?;
    Ok(mounted
        .map(|mounted| mounted.name.into_owned())
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

/// Imports the application, as handlers are: PythonPath and PythonAutoReload count. A class on the way to it is a place for names, no more.
///
/// # Errors
/// What importing raises; AttributeError where the module has no such object.
pub(super) fn find<'py>(
    cx: Cx<'py>,
    held: &Held<'_, Exchange>,
    mounted: &Mounted<'_>,
) -> PyResult<Object<'py>> {
    let host = held.request();
    let common = &host.config::<ModPython>().common;
    // Of a factory such as `Site.create` only `Site` is looked up here; the rest is, once, when the factory is called.
    let parts = mounted.is_factory.then(|| mounted.name.split_once("::"));
    let (key, rest) = match parts.flatten() {
        Some((module, object)) => {
            let first = object.split('.').next().unwrap_or_default();
            let rest = object.get(first.len()..).unwrap_or_default();
            let end = module.len() + "::".len() + first.len();
            (mounted.name.get(..end).unwrap_or_default(), rest)
        }
        None => (&*mounted.name, ""),
    };
    let entry = entry(held, mounted, key);
    let importing = Importing::new(common, host.time());
    let found = handlers::resolve(cx, &entry, importing, None)?
        .ok_or_else(|| PyAttributeError::new_err(format!("there is no {}", mounted.name)))?;
    if !mounted.is_factory {
        return Ok(found);
    }
    let factories = cx.py.import("mod_python._factories")?;
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    factories
        .getattr("made")?
        .call1((&*mounted.name, found, rest))
}

/// The application, where it has been imported and its module looked at lately; None where `find` has to be asked, which may take its time.
///
/// # Errors
/// What looking it up raises.
pub(super) fn known<'py>(
    cx: Cx<'py>,
    held: &Held<'_, Exchange>,
    mounted: &Mounted<'_>,
) -> PyResult<Option<Object<'py>>> {
    if mounted.is_factory {
        return Ok(None);
    }
    let host = held.request();
    let common = &host.config::<ModPython>().common;
    let entry = entry(held, mounted, &mounted.name);
    handlers::known(cx, &entry, Importing::new(common, host.time()))
}

/// What is imported, as a handler's entry.
fn entry<'e>(held: &'e Held<'_, Exchange>, mounted: &'e Mounted<'_>, key: &'e str) -> Entry<'e> {
    let host = held.request();
    // Where there is a PythonPath, the section's directory plays no part.
    let section = match host.config::<ModPython>().common.path {
        Some(_) => None,
        None => held.value().cursor.current(host).map(|entry| entry.section),
    };
    Entry {
        text: &mounted.name,
        key,
        section: section.unwrap_or(Section::None),
        silent: false,
    }
}

/// Was it raised since there is no such module, and has the client chosen its name?
pub(super) fn is_absent(mounted: &Mounted<'_>, raised: &Object<'_>) -> bool {
    if !mounted.is_chosen || !raised.is_instance_of::<PyModuleNotFoundError>() {
        return false;
    }
    let py = raised.py();
    let module = mounted.name.split("::").next().unwrap_or_default();
    let name = exception::or_discard(py, raised.getattr("name"));
    let name = name.and_then(|name| exception::or_discard(py, name.extract::<String>()));
    name.is_some_and(|name| name == module)
}
