//! `mp_hlist`: the handler list of the running phase, from which handlers read the entry that is running.

use super::refusal::refused;
use crate::config::Entry;
use crate::embed::cell::Flag;
use crate::embed::class::{Args, Attribute, Class, Key, Method, Slots, This, method};
use crate::exchange::RequestLease;
use crate::httpd::module::command::Section;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use std::ffi::CStr;

/// A cursor on the running phase's handlers.
pub(crate) enum HandlerList {
    Request(RequestLease),
    Connection(Alone),
}

/// The only handler of a connection.
pub(crate) struct Alone {
    text: String,
    passed: Flag,
}

type Object<'py> = Bound<'py, PyAny>;

impl HandlerList {
    pub(crate) fn of_request(lease: RequestLease) -> HandlerList {
        HandlerList::Request(lease)
    }

    pub(crate) fn of_connection(handler: &str) -> HandlerList {
        HandlerList::Connection(Alone {
            text: handler.into(),
            passed: Flag::default(),
        })
    }
}

impl Class for HandlerList {
    const NAME: &'static CStr = c"mp_hlist";
    const DOC: &'static CStr =
        c"The handlers of the running phase. At the end every attribute is None.";
    const ATTRIBUTES: &'static [Attribute<Self>] = &[
        Attribute::read_only(c"handler", c"The handler as it is written.", |this| {
            this.give(|entry| entry.text.to_string())
        }),
        Attribute::read_only(c"silent", c"1 for PythonHandlerModule.", |this| {
            this.give(|entry| i32::from(entry.silent))
        }),
        Attribute::read_only(c"is_location", c"1 when it stands in <Location>.", |this| {
            this.give(|entry| i32::from(is_location(entry)))
        }),
        Attribute::read_only(
            c"directory",
            c"The directory or location where it stands, or None.",
            |this| this.give(|entry| entry.directory().map(String::from)),
        ),
    ];
    const METHODS: &'static [Method<Self>] = &[method!(
        HandlerList,
        c"next()",
        c"goes on to the next handler.",
        next,
    )];
    const SLOTS: Slots<Self> = Slots {
        repr: Some(repr),
        ..Slots::NONE
    };

    fn key() -> &'static Key<Self> {
        static KEY: Key<HandlerList> = Key::new();
        &KEY
    }
}

impl<'py> This<'_, 'py, HandlerList> {
    fn give<T: IntoPyObjectExt<'py> + 'static>(
        &self,
        part: impl FnOnce(&Entry<'_>) -> T + 'static,
    ) -> PyResult<Object<'py>> {
        let part = match &**self {
            HandlerList::Request(lease) => {
                let held = lease.hold().map_err(refused)?;
                held.value().cursor.current(held.request()).map(part)
            }
            HandlerList::Connection(alone) => (!alone.passed.get()).then(|| {
                part(&Entry {
                    text: &alone.text,
                    key: &alone.text,
                    section: Section::None,
                    silent: false,
                })
            }),
        };
        part.map_or_else(
            || Ok(self.cx.py.None().into_bound(self.cx.py)),
            |part| part.into_bound_py_any(self.cx.py),
        )
    }
}

fn is_location(entry: &Entry<'_>) -> bool {
    matches!(entry.section, Section::Location { .. })
}

fn next<'py>(this: This<'_, 'py, HandlerList>, _: Args<'_, 'py>) -> PyResult<Object<'py>> {
    match &*this {
        HandlerList::Request(lease) => lease.hold().map_err(refused)?.value().cursor.advance(),
        HandlerList::Connection(alone) => alone.passed.set(true),
    }
    Ok(this.cx.py.None().into_bound(this.cx.py))
}

fn repr<'py>(this: This<'_, 'py, HandlerList>) -> PyResult<Object<'py>> {
    let text = this.give(|entry| {
        let directory = entry
            .directory()
            .map_or("None".to_string(), |directory| format!("'{directory}'"));
        let (location, silent) = (
            if is_location(entry) { "True" } else { "False" },
            i32::from(entry.silent),
        );
        format!(
            "{{'handler':'{}','directory':{directory},'is_location':{location},'silent':{silent}}}",
            entry.text
        )
    })?;
    if text.is_none() {
        "{}".into_bound_py_any(this.cx.py)
    } else {
        Ok(text)
    }
}
