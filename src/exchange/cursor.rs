//! Which handler's turn it is: the lists of the configuration, those that req.add_handler() has added, and how far the phase
//! that runs has come.

use crate::config::{Entry, ModPython, Phase, key};
use crate::httpd::module::command::{Section, Written};
use crate::httpd::request::Request as RequestRec;
use crate::routing::located;
use std::cell::{Cell, RefCell};

/// The handlers of a request. Behind its lease.
#[derive(Default)]
pub(crate) struct Cursor {
    phase: Cell<Option<Phase>>,
    /// The place of the handler that runs in the phase's list.
    position: Cell<usize>,
    /// By which extension the handlers of the phase were chosen.
    extension: RefCell<Option<Box<str>>>,
    added: RefCell<Vec<Added>>,
}

/// A handler that req.add_handler() has added to a phase.
struct Added {
    phase: Phase,
    text: String,
    key: String,
    directory: Option<String>,
}

/// The state of a phase that another one interrupts.
pub(crate) struct Outer {
    phase: Option<Phase>,
    extension: Option<Box<str>>,
    position: usize,
}

impl Cursor {
    pub(super) fn renew(&mut self) {
        self.phase.set(None);
        self.position.set(0);
        if let Some(extension) = self.extension.get_mut().take() {
            drop(extension);
        }
        self.added.get_mut().clear();
    }

    /// Begins a phase, at a handler of its list; what it covers comes back at `finish`.
    pub(crate) fn begin(&self, phase: Phase, extension: Option<&str>, position: usize) -> Outer {
        Outer {
            phase: self.phase.replace(Some(phase)),
            extension: self.extension.replace(extension.map(Box::from)),
            position: self.position.replace(position),
        }
    }

    /// Ends a phase.
    pub(crate) fn finish(&self, outer: Outer) {
        self.phase.set(outer.phase);
        self.extension.replace(outer.extension);
        self.position.set(outer.position);
    }

    /// The phase that runs.
    pub(crate) fn phase(&self) -> Option<Phase> {
        self.phase.get()
    }

    /// The extension by which the phase's handlers were chosen.
    pub(crate) fn extension(&self) -> Option<String> {
        self.extension.borrow().as_deref().map(String::from)
    }

    /// The place of the handler that runs.
    pub(crate) fn position(&self) -> usize {
        self.position.get()
    }

    /// Goes on to the next handler.
    pub(crate) fn advance(&self) {
        self.position.set(self.position.get() + 1);
    }

    /// The handler whose turn it is in the running phase: a configured one, then those that were added.
    pub(crate) fn current<'r>(&self, request: RequestRec<'r>) -> Option<&'r Entry<'r>> {
        self.entry(request, self.phase.get()?, self.position.get())
    }

    /// The handler at a place of a phase's list.
    pub(super) fn entry<'r>(
        &self,
        request: RequestRec<'r>,
        phase: Phase,
        position: usize,
    ) -> Option<&'r Entry<'r>> {
        let list = request
            .config::<ModPython>()
            .list(phase, self.extension.borrow().as_deref());
        let configured = list.map_or(&[][..], |list| list.entries);
        if let Some(entry) = configured.get(position) {
            return Some(located(request, entry));
        }
        let added = self.added.borrow();
        let mut added = added.iter().filter(|entry| entry.phase == phase);
        let entry = added.nth(position.checked_sub(configured.len())?)?;
        let pool = request.pool();
        let section = match &entry.directory {
            Some(directory) => Section::Directory {
                path: pool.text(directory),
                written: Written::Plainly,
            },
            None => configured
                .first()
                .map_or(Section::None, |first| located(request, first).section),
        };
        Some(pool.store(Entry {
            text: pool.text(&entry.text),
            key: pool.text(&entry.key),
            section,
            silent: false,
        }))
    }

    /// Adds a handler to a phase of the request; to the one that runs, behind what is left of its list.
    pub(super) fn add(
        &self,
        request: RequestRec<'_>,
        phase: Phase,
        text: &str,
        directory: Option<String>,
    ) {
        let added = Added {
            phase,
            text: text.to_string(),
            key: key(text, phase),
            directory: directory.or_else(|| self.inherited_directory(request, phase)),
        };
        self.added.borrow_mut().push(added);
    }

    /// Finds the directory of a handler that is added without one, to a phase that has none: that of the one that runs.
    fn inherited_directory(&self, request: RequestRec<'_>, phase: Phase) -> Option<String> {
        if request.config::<ModPython>().list(phase, None).is_some() {
            // It is looked up with the list, when the phase runs.
            return None;
        }
        match self.current(request)?.section {
            Section::Directory { path, .. } | Section::Htaccess { path } => Some(path.to_string()),
            Section::None | Section::Location { .. } => None,
        }
    }
}
