//! From a handler's text to the object to call, without importing or looking at files for every request.
//!
//! A module is imported at first use, through `mod_python.apache`, and checked for changes at most once a second.
//! The object is looked up in the module for each request (a dictionary look-up), so that what a module rebinds counts;
//! but for the gateways' handlers, which are called as they are (`adapters::answer`).

use super::cell::Ref;
use super::interpreter::{Cx, PerInterpreter};
use super::{dict, exception};
use crate::config::{Common, Entry};
use crate::httpd::module::command::{Section, Written};
use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};
use rustc_hash::FxHashMap;
use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The handlers that an interpreter has found so far.
#[derive(Default)]
struct Handlers {
    known: Vec<Known>,
    /// The places of all handlers in the list, by `Entry::key`.
    places: FxHashMap<String, usize>,
    /// The places of the two that were asked for last, to look at first: a WSGI request asks for two, others mostly for one.
    recent: Cell<[usize; 2]>,
    /// How many handlers' names have been interned.
    interned: usize,
}

static HANDLERS: PerInterpreter<Mutex<Handlers>> = PerInterpreter::new();

/// The handlers that have been looked up. Let them go again before anything of Python's is called: a thread that waits for them
/// is attached.
fn looked_up(cx: Cx<'_>) -> MutexGuard<'static, Handlers> {
    HANDLERS
        .of(cx)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// So many handlers are remembered, then all are looked up anew: `req.add_handler()` and .htaccess files may name any number.
const MOST: usize = 1024;
/// How many sys.path settings are remembered of a handler.
const MOST_SETTINGS: usize = 64;

impl Handlers {
    fn find(&self, key: &str) -> Option<&Known> {
        let [first, second] = self.recent.get();
        let recent = |place: usize| self.known.get(place).filter(|known| known.key == key);
        recent(first).or_else(|| recent(second)).or_else(|| {
            let place = *self.places.get(key)?;
            self.recent.set([place, first]);
            self.known.get(place)
        })
    }

    /// Remembers a handler. Gives back those that it replaces: the caller drops them when the lock is free, since that may run Python
    /// code.
    #[must_use]
    fn put(&mut self, known: Known) -> Vec<Known> {
        let mut before = Vec::new();
        if self.known.len() >= MOST && !self.places.contains_key(&known.key) {
            self.places.clear();
            before = std::mem::take(&mut self.known);
        }
        let place = *self
            .places
            .entry(known.key.clone())
            .or_insert(self.known.len());
        match self.known.get_mut(place) {
            Some(slot) => before.push(std::mem::replace(slot, known)),
            None => self.known.push(known),
        }
        before
    }

    /// May the names of this handler be interned? Python from 3.12 on never forgets such a name, so not too many.
    fn may_intern(&mut self, key: &str) -> bool {
        if !self.places.contains_key(key) {
            self.interned = self.interned.saturating_add(1);
        }
        self.interned <= MOST
    }
}

struct Known {
    /// `Entry::key`.
    key: String,
    /// The module's dictionary.
    names: Ref,
    /// The object's path in the module.
    path: Vec<Ref>,
    /// When the module was last looked at, in microseconds since the epoch.
    checked: i64,
    /// The sys.path settings (PythonPath, the section's directory) that have been applied for it.
    settings: Vec<(Option<String>, Option<String>)>,
}

/// What the configuration of a request says about importing.
#[derive(Clone, Copy)]
pub(crate) struct Importing<'c> {
    /// PythonPath.
    pub(crate) path: Option<&'c str>,
    pub(crate) auto_reload: bool,
    pub(crate) debug: bool,
    /// Microseconds since the epoch.
    pub(crate) now: i64,
}

impl<'c> Importing<'c> {
    /// Reads it from the configuration; `now` is when the request began.
    pub(crate) fn new(common: &Common<'c>, now: i64) -> Importing<'c> {
        Importing {
            path: common.path,
            auto_reload: common.auto_reload.unwrap_or(true),
            debug: common.debug.unwrap_or(false),
            now,
        }
    }
}

/// How often a module is looked at for changes (microseconds).
const INTERVAL: i64 = 1_000_000;

/// Finds the object to call for a handler; None where the entry is silent and its module has none. A class on the way to it is called
/// with `argument`, if there is one.
///
/// # Errors
/// What importing the module raises; AttributeError where it has no such object.
pub(crate) fn resolve<'py>(
    cx: Cx<'py>,
    entry: &Entry<'_>,
    importing: Importing<'_>,
    argument: Option<&Bound<'py, PyAny>>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if let Some(found) = known(cx, entry, importing)? {
        return Ok(Some(found));
    }
    let module = import(cx, entry, importing)?;
    walk(entry, module, argument)
}

/// Finds a function of a module that has been imported and looked at lately; None where `import` and `walk` have to be asked.
///
/// # Errors
/// What looking it up raises.
pub(crate) fn known<'py>(
    cx: Cx<'py>,
    entry: &Entry<'_>,
    importing: Importing<'_>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let handlers = looked_up(cx);
    let Some(known) = handlers
        .find(entry.key)
        .filter(|known| known.is_fresh(entry, importing))
    else {
        return Ok(None);
    };
    let [name] = known.path.as_slice() else {
        return Ok(None);
    };
    let (names, name) = (known.names.bind(cx.py), name.bind(cx.py));
    drop(handlers);
    dict::get(&names, &name)
}

impl Known {
    fn is_fresh(&self, entry: &Entry<'_>, importing: Importing<'_>) -> bool {
        let in_time =
            !importing.auto_reload || (0..INTERVAL).contains(&(importing.now - self.checked));
        let directory = directory_for(entry, importing);
        in_time
            && self.settings.iter().any(|(path, place)| {
                path.as_deref() == importing.path && place.as_deref() == directory
            })
    }
}

/// Gives the directory to put into sys.path: that of the section which the directive stands in, unless there is a PythonPath.
fn directory_for<'c>(entry: &Entry<'c>, importing: Importing<'_>) -> Option<&'c str> {
    match entry.section {
        Section::Directory { path, written }
            if importing.path.is_none() && written != Written::AsRegex =>
        {
            Some(path)
        }
        Section::Htaccess { path } if importing.path.is_none() => Some(path),
        _ => None,
    }
}

/// Imports a handler's module, or loads it again if it has changed, and remembers the handler.
fn import<'py>(
    cx: Cx<'py>,
    entry: &Entry<'_>,
    importing: Importing<'_>,
) -> PyResult<Bound<'py, PyAny>> {
    let (module_name, object) = entry.parts();
    let directory = directory_for(entry, importing);
    let setting = (
        importing.path.map(String::from),
        directory.map(String::from),
    );
    let seen = looked_up(cx)
        .find(entry.key)
        .is_some_and(|known| known.settings.contains(&setting));
    let (path, directory) = if seen {
        (None, None)
    } else {
        (importing.path, directory)
    };
    let module = cx.apache()?.getattr("_load")?.call1((
        module_name,
        importing.auto_reload,
        importing.debug,
        path,
        directory,
    ))?;
    let names = Ref::new(module.getattr("__dict__")?);
    let intern = looked_up(cx).may_intern(entry.key);
    let string = |name| match intern {
        true => PyString::intern(cx.py, name),
        false => PyString::new(cx.py, name),
    };
    let path = object
        .split('.')
        .map(|name| Ref::new(string(name).into_any()))
        .collect();
    let mut handlers = looked_up(cx);
    let mut settings = handlers
        .find(entry.key)
        .map(|known| known.settings.clone())
        .unwrap_or_default();
    if !seen {
        if settings.len() >= MOST_SETTINGS {
            settings.remove(0);
        }
        settings.push(setting);
    }
    let before = handlers.put(Known {
        key: entry.key.to_string(),
        names,
        path,
        checked: importing.now,
        settings,
    });
    drop(handlers);
    drop(before);
    Ok(module)
}

/// Follows the object's path from the module on. A class on the way is called with the argument, if there is one, and the next name is looked up in
/// the instance.
fn walk<'py>(
    entry: &Entry<'_>,
    module: Bound<'py, PyAny>,
    argument: Option<&Bound<'py, PyAny>>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let (_, object) = entry.parts();
    let mut found = module.clone();
    for (place, name) in object.split('.').enumerate() {
        if let Some(argument) = argument
            && place > 0
            && found.is_instance_of::<PyType>()
        {
            found = found.call1((argument,))?;
        }
        match exception::attribute(&found, name)? {
            Some(next) => found = next,
            None if entry.silent => return Ok(None),
            None => {
                let file = exception::or_discard(
                    module.py(),
                    module
                        .getattr("__file__")
                        .and_then(|file| file.extract::<String>()),
                );
                let file = file.unwrap_or_else(|| entry.parts().0.to_string());
                return Err(PyAttributeError::new_err(format!(
                    "module '{file}' contains no '{object}'"
                )));
            }
        }
    }
    Ok(Some(found))
}
