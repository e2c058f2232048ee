//! `mp_table`: an httpd table as a Python mapping. A view on a request's table, or a table of its own.

use super::exchange::RequestLease;
use super::refused;
use crate::embed::cell::{Number, Slot};
use crate::embed::class::{self, Args, Class, Method, Slots, This};
use crate::embed::text::Encoding;
use crate::embed::{self, Cx, exception};
use crate::httpd::header;
use crate::httpd::lease::Lease;
use crate::httpd::request::Request as Host;
use crate::httpd::table::{OwnedTable, Table as HostTable};
use pyo3::exceptions::{
    PyAttributeError, PyKeyError, PyMemoryError, PyRuntimeError, PyTypeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use rustc_hash::FxHashMap;
use std::ffi::{CStr, CString};

/// A table. Behind a view is the lease of its request: the table is found anew at each use, since httpd may swap it.
pub(crate) struct Table {
    source: Source,
    rules: Rules,
}

enum Source {
    View {
        lease: RequestLease,
        find: for<'r> fn(Host<'r>) -> Option<HostTable<'r>>,
    },
    /// The lease keeps threads apart.
    Own(Lease<OwnedTable>),
}

/// What may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Response headers: checked, and Content-Length goes through httpd's own call.
    Response,
    /// Other headers: checked.
    Headers,
    /// Any text without NUL.
    Notes,
    /// Any text without NUL, as UTF-8.
    Configuration,
    /// Variables for other programs, among them paths: any text without NUL, as UTF-8.
    Environment,
}

type Object<'py> = Bound<'py, PyAny>;

type M = Method<Table>;

impl Class for Table {
    const NAME: &'static CStr = c"mp_table";
    const DOC: &'static CStr = c"A table of httpd: names ignore case, and may have several values.";
    const PLACE: usize = 3;
    const METHODS: &'static [Method<Self>] = &[
        M::new(
            c"add",
            c"add(name, value): adds a value beside those that are there.",
            add,
        ),
        M::new(c"get", c"get(name, default=None): the first value.", get),
        M::new(
            c"has_key",
            c"has_key(name): 1 if it has a value, else 0.",
            has_key,
        ),
        M::new(
            c"keys",
            c"keys(): the names, with duplicates, as a list.",
            |this, args| list(this, args, "keys", Part::Key),
        ),
        M::new(
            c"values",
            c"values(): the values as a list.",
            |this, args| list(this, args, "values", Part::Value),
        ),
        M::new(
            c"items",
            c"items(): (name, value) tuples as a list.",
            |this, args| list(this, args, "items", Part::Item),
        ),
        M::new(
            c"iterkeys",
            c"iterkeys(): an iterator over the names.",
            |this, args| entries(this, args, Part::Key),
        ),
        M::new(
            c"itervalues",
            c"itervalues(): an iterator over the values.",
            |this, args| entries(this, args, Part::Value),
        ),
        M::new(
            c"iteritems",
            c"iteritems(): an iterator over (name, value) tuples.",
            |this, args| entries(this, args, Part::Item),
        ),
        M::new(
            c"update",
            c"update(mapping): sets what a mapping or pairs hold.",
            |this, args| {
                args.count("update", 1..=1)?;
                let items = args.required(0)?;
                if items.is_none() {
                    return Err(PyAttributeError::new_err(
                        "'NoneType' object has no attribute 'keys'",
                    ));
                }
                this.update(&items)?;
                Ok(none(this.cx))
            },
        ),
        M::new(
            c"setdefault",
            c"setdefault(name, value=''): the value, which is set if there is none.",
            setdefault,
        ),
        M::new(
            c"popitem",
            c"popitem(): removes and returns a (name, value) tuple.",
            popitem,
        ),
        M::new(c"clear", c"clear(): removes everything.", |this, args| {
            args.count("clear", 0..=0)?;
            this.with(this.cx.py, |table, _| Ok(table.clear()))?;
            Ok(none(this.cx))
        }),
        M::new(
            c"copy",
            c"copy(): an independent table with the same entries.",
            |this, args| {
                args.count("copy", 0..=0)?;
                let copy = Table::own(this.rules)?;
                let fill = |to: HostTable<'_>| {
                    this.with(this.cx.py, |from, _| {
                        Ok(from
                            .entries()
                            .for_each(|(name, value)| to.add(name, value.unwrap_or_default())))
                    })
                };
                copy.with(this.cx.py, |to, _| fill(to))?;
                class::instance(this.cx, copy)
            },
        ),
    ];
    const SLOTS: Slots<Self> = Slots {
        new: Some(|_| Table::own(Rules::Notes)),
        init: Some(init),
        repr: Some(|this| Ok(this.dict(this.cx)?.repr()?.into_any())),
        iter: Some(|this| iterate(&this, Part::Key)),
        length: Some(|this| this.with(this.cx.py, |table, _| Ok(table.len()))),
        item: Some(item),
        set_item: Some(set_item),
        contains: Some(|this, name| {
            let name = this.key(name)?;
            this.with(this.cx.py, |table, _| {
                Ok(table.entries().any(|(other, _)| same(other, &name)))
            })
        }),
        equals: Some(equals),
        ..Slots::NONE
    };
}

impl Table {
    /// A view on one of a request's tables.
    pub(crate) fn view(
        lease: RequestLease,
        rules: Rules,
        find: for<'r> fn(Host<'r>) -> Option<HostTable<'r>>,
    ) -> Table {
        Table {
            source: Source::View { lease, find },
            rules,
        }
    }

    /// An empty table of its own.
    ///
    /// # Errors
    /// MemoryError.
    pub(crate) fn own(rules: Rules) -> PyResult<Table> {
        let table =
            OwnedTable::new().ok_or_else(|| PyMemoryError::new_err("no memory for a table"))?;
        Ok(Table {
            source: Source::Own(Lease::for_table(table)),
            rules,
        })
    }

    /// Adds configuration text; for tables that Rust fills.
    ///
    /// # Errors
    /// ValueError for NUL.
    pub(crate) fn put(&self, py: Python<'_>, name: &str, value: &str) -> PyResult<()> {
        let nul = |_| PyValueError::new_err("embedded null character");
        let (name, value) = (
            CString::new(name).map_err(nul)?,
            CString::new(value).map_err(nul)?,
        );
        self.with(py, |table, _| Ok(table.set(&name, &value)))
    }

    /// Runs `body` on the table, as it is now.
    fn with<R>(
        &self,
        py: Python<'_>,
        body: impl FnOnce(HostTable<'_>, Option<Host<'_>>) -> PyResult<R>,
    ) -> PyResult<R> {
        match &self.source {
            Source::Own(lease) => {
                let held = embed::acquire(py, lease).map_err(refused)?;
                body(held.table(), None)
            }
            Source::View { lease, find } => {
                let held = lease.hold().map_err(refused)?;
                let table = find(held.request())
                    .ok_or_else(|| PyRuntimeError::new_err("the request has no such table"))?;
                body(table, Some(held.request()))
            }
        }
    }

    fn encoding(&self) -> Encoding {
        match self.rules {
            Rules::Configuration | Rules::Environment => Encoding::Utf8,
            Rules::Response | Rules::Headers | Rules::Notes => Encoding::Latin1,
        }
    }

    fn key(&self, name: &Object<'_>) -> PyResult<CString> {
        self.encoding().encode(name)
    }

    /// The checked forms of a name and a value.
    fn checked(&self, name: &Object<'_>, value: &Object<'_>) -> PyResult<(CString, CString)> {
        let (name, value) = (
            self.encoding().encode(name)?,
            self.encoding().encode(value)?,
        );
        let refusal = match self.rules {
            Rules::Response => header::refusal(name.as_bytes(), value.as_bytes()),
            Rules::Headers if !header::is_name(name.as_bytes()) => {
                Some(format!("{name:?} is not a header name"))
            }
            Rules::Headers if !header::is_value(value.as_bytes()) => Some(format!(
                "the value of the header {name:?} holds a control character"
            )),
            _ => None,
        };
        refusal.map_or(Ok((name, value)), |text| Err(PyValueError::new_err(text)))
    }

    fn set(&self, py: Python<'_>, name: &CStr, value: &CStr) -> PyResult<()> {
        self.with(py, |table, request| {
            match request {
                Some(request)
                    if self.rules == Rules::Response
                        && name.to_bytes().eq_ignore_ascii_case(b"content-length") =>
                {
                    request
                        .set_content_length(header::length(value.to_bytes()).unwrap_or_default());
                }
                _ => table.set(name, value),
            }
            Ok(())
        })
    }

    fn text<'py>(&self, cx: Cx<'py>, text: Option<&CStr>) -> PyResult<Object<'py>> {
        self.encoding().optional(cx.py, text)
    }

    fn part<'py>(
        &self,
        cx: Cx<'py>,
        entry: (&CStr, Option<&CStr>),
        part: Part,
    ) -> PyResult<Object<'py>> {
        match part {
            Part::Key => self.text(cx, Some(entry.0)),
            Part::Value => self.text(cx, entry.1),
            Part::Item => Ok((self.text(cx, Some(entry.0))?, self.text(cx, entry.1)?)
                .into_pyobject(cx.py)?
                .into_any()),
        }
    }

    /// The value, or the list of values, of a name; None where there is none.
    fn values<'py>(&self, cx: Cx<'py>, name: &CStr) -> PyResult<Option<Object<'py>>> {
        self.with(cx.py, |table, _| {
            let mut found = table
                .entries()
                .filter(|(other, _)| same(other, name))
                .map(|(_, value)| self.text(cx, value));
            match (found.next(), found.next()) {
                (None, _) => Ok(None),
                (Some(only), None) => only.map(Some),
                (Some(first), Some(second)) => {
                    let all = PyList::new(cx.py, [first?, second?])?;
                    found.try_for_each(|value| all.append(value?))?;
                    Ok(Some(all.into_any()))
                }
            }
        })
    }

    /// Name and value, or list of values, of all: names that differ in case alone are those that come first.
    fn dict<'py>(&self, cx: Cx<'py>) -> PyResult<Bound<'py, PyDict>> {
        let entries = self.with(cx.py, |table, _| {
            let entries = table.entries();
            Ok(entries
                .map(|(name, value)| (name.to_owned(), value.map(CStr::to_owned)))
                .collect::<Vec<_>>())
        })?;
        let mut places = FxHashMap::<Vec<u8>, usize>::default();
        let mut groups: Vec<(&CStr, Vec<Option<&CStr>>)> = Vec::new();
        for (name, value) in &entries {
            let next = groups.len();
            let place = *places
                .entry(name.to_bytes().to_ascii_lowercase())
                .or_insert(next);
            match groups.get_mut(place) {
                Some((_, values)) => values.push(value.as_deref()),
                None => groups.push((name, vec![value.as_deref()])),
            }
        }
        let dict = PyDict::new(cx.py);
        for (name, values) in groups {
            let key = self.text(cx, Some(name))?;
            if let [only] = values.as_slice() {
                dict.set_item(key, self.text(cx, *only)?)?;
            } else {
                let all = PyList::empty(cx.py);
                for value in values {
                    all.append(self.text(cx, value)?)?;
                }
                dict.set_item(key, all)?;
            }
        }
        Ok(dict)
    }

    /// Sets what a mapping (it has `keys`) or an iterable of pairs holds, as `str()` of it.
    fn update(&self, items: &Object<'_>) -> PyResult<()> {
        if let Some(keys) = exception::attribute(items, "keys")? {
            for key in keys.call0()?.try_iter()? {
                let key = key?;
                self.put_str(&key, &items.get_item(&key)?)?;
            }
            return Ok(());
        }
        for (place, pair) in items.try_iter()?.enumerate() {
            let pair = pair?;
            if !class::is_sequence(&pair) {
                return Err(PyTypeError::new_err(format!(
                    "cannot convert table update sequence element #{place} to a sequence"
                )));
            }
            let length = pair.len()?;
            if length != 2 {
                return Err(PyValueError::new_err(format!(
                    "table update sequence element #{place} has length {length}; 2 is required"
                )));
            }
            self.put_str(&pair.get_item(0)?, &pair.get_item(1)?)?;
        }
        Ok(())
    }

    fn put_str(&self, key: &Object<'_>, value: &Object<'_>) -> PyResult<()> {
        let (name, value) = self.checked(key.str()?.as_any(), value.str()?.as_any())?;
        self.set(key.py(), &name, &value)
    }
}

fn none(cx: Cx<'_>) -> Object<'_> {
    cx.py.None().into_bound(cx.py)
}

fn same(one: &CStr, other: &CStr) -> bool {
    one.to_bytes().eq_ignore_ascii_case(other.to_bytes())
}

fn init<'py>(
    this: This<'_, 'py, Table>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<()> {
    let named = kwargs
        .map(|kwargs| kwargs.get_item("items"))
        .transpose()?
        .flatten();
    if args.len() + kwargs.map_or(0, |kwargs| kwargs.len()) > 1
        || (named.is_none() && kwargs.is_some_and(|kwargs| !kwargs.is_empty()))
    {
        return Err(PyTypeError::new_err(
            "table() takes at most one argument: items",
        ));
    }
    let items = if args.is_empty() {
        named
    } else {
        Some(args.get_item(0)?)
    };
    items.map_or(Ok(()), |items| this.update(&items))
}

fn item<'py>(this: This<'_, 'py, Table>, name: &Object<'py>) -> PyResult<Object<'py>> {
    let found = this.values(this.cx, &this.key(name)?)?;
    found.ok_or_else(|| PyKeyError::new_err(name.clone().unbind()))
}

fn set_item<'py>(
    this: This<'_, 'py, Table>,
    name: &Object<'py>,
    value: Option<&Object<'py>>,
) -> PyResult<()> {
    match value {
        Some(value) => {
            let (name, value) = this.checked(name, value)?;
            this.set(this.cx.py, &name, &value)
        }
        None => {
            let name = this.key(name)?;
            this.with(this.cx.py, |table, _| Ok(table.unset(&name)))
        }
    }
}

fn equals<'py>(this: This<'_, 'py, Table>, other: &Object<'py>) -> PyResult<Option<bool>> {
    let own = this.dict(this.cx)?;
    if let Some(other) = class::payload::<Table>(this.cx, other) {
        return own.eq(other.dict(this.cx)?).map(Some);
    }
    match other.cast::<PyDict>() {
        Ok(other) => own.eq(other).map(Some),
        Err(_) => Ok(None),
    }
}

fn add<'py>(this: This<'_, 'py, Table>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    args.count("add", 2..=2)?;
    let (name, value) = this.checked(&args.required(0)?, &args.required(1)?)?;
    if this.rules == Rules::Response && name.as_bytes().eq_ignore_ascii_case(b"content-length") {
        this.set(this.cx.py, &name, &value)?;
    } else {
        this.with(this.cx.py, |table, _| Ok(table.add(&name, &value)))?;
    }
    Ok(none(this.cx))
}

fn get<'py>(this: This<'_, 'py, Table>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    args.count("get", 1..=2)?;
    let name = this.key(&args.required(0)?)?;
    let found = this.with(this.cx.py, |table, _| {
        // APR's index may be out of date where two tables share their entries (apr_table_overlay, as a fast internal redirect
        // leaves them): what the entries show is there.
        let listed = || table.entries().find(|(other, _)| same(other, &name));
        let value = table.first(&name).or_else(|| listed()?.1);
        value
            .map(|value| this.text(this.cx, Some(value)))
            .transpose()
    })?;
    Ok(found
        .or_else(|| args.get(1))
        .unwrap_or_else(|| none(this.cx)))
}

fn has_key<'py>(this: This<'_, 'py, Table>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    args.count("has_key", 1..=1)?;
    let name = this.key(&args.required(0)?)?;
    let found = this.with(this.cx.py, |table, _| {
        Ok(table.entries().any(|(other, _)| same(other, &name)))
    })?;
    Ok(i32::from(found).into_pyobject(this.cx.py)?.into_any())
}

fn list<'py>(
    this: This<'_, 'py, Table>,
    args: Args<'_, 'py>,
    name: &str,
    part: Part,
) -> PyResult<Object<'py>> {
    args.count(name, 0..=0)?;
    let all = PyList::empty(this.cx.py);
    this.with(this.cx.py, |table, _| {
        let mut entries = table.entries();
        entries.try_for_each(|entry| all.append(this.part(this.cx, entry, part)?))
    })?;
    Ok(all.into_any())
}

fn setdefault<'py>(this: This<'_, 'py, Table>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    args.count("setdefault", 1..=2)?;
    let key = args.required(0)?;
    if let Some(found) = this.values(this.cx, &this.key(&key)?)? {
        return Ok(found);
    }
    let value = args
        .get(1)
        .map_or_else(|| Encoding::Utf8.decode(this.cx.py, b""), Ok)?;
    let (name, checked) = this.checked(&key, &value)?;
    this.set(this.cx.py, &name, &checked)?;
    Ok(value)
}

/// The first pair.
fn popitem<'py>(this: This<'_, 'py, Table>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    args.count("popitem", 0..=0)?;
    this.with(this.cx.py, |table, _| {
        let Some(first) = table.entry(0) else {
            return Err(PyKeyError::new_err("popitem(): table is empty"));
        };
        let item = this.part(this.cx, first, Part::Item)?;
        table.remove_first();
        Ok(item)
    })
}

/// What an iteration gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Key,
    Value,
    Item,
}

/// An iteration over a table.
pub(crate) struct Entries {
    table: Slot,
    part: Part,
    length: usize,
    position: Number,
}

impl Class for Entries {
    const NAME: &'static CStr = c"mp_table_iterator";
    const DOC: &'static CStr = c"An iteration over a table.";
    const PLACE: usize = 4;
    const SLOTS: Slots<Self> = Slots {
        iter: Some(|this| Ok(this.object())),
        next: Some(next),
        ..Slots::NONE
    };

    fn references(&self) -> &[Slot] {
        std::slice::from_ref(&self.table)
    }
}

fn entries<'py>(
    this: This<'_, 'py, Table>,
    args: Args<'_, 'py>,
    part: Part,
) -> PyResult<Object<'py>> {
    args.count("iter", 0..=0)?;
    iterate(&this, part)
}

fn iterate<'py>(this: &This<'_, 'py, Table>, part: Part) -> PyResult<Object<'py>> {
    let length = this.with(this.cx.py, |table, _| Ok(table.len()))?;
    let entries = Entries {
        table: Slot::default(),
        part,
        length,
        position: Number::default(),
    };
    entries.table.fill(this.object());
    class::instance(this.cx, entries)
}

fn next<'py>(this: This<'_, 'py, Entries>) -> PyResult<Option<Object<'py>>> {
    let Some(object) = this.table.get(this.cx.py) else {
        return Ok(None);
    };
    let Some(table) = class::payload::<Table>(this.cx, &object) else {
        return Ok(None);
    };
    table.with(this.cx.py, |host, _| {
        if host.len() != this.length {
            return Err(PyRuntimeError::new_err(
                "table changed size during iteration",
            ));
        }
        let position = usize::try_from(this.position.add(1)).unwrap_or(usize::MAX);
        host.entry(position)
            .map(|entry| table.part(this.cx, entry, this.part))
            .transpose()
    })
}
