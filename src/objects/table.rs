//! `mp_table`: an httpd table as a Python mapping. A view on a request's table, or a table of its own.

use super::refusal::{hold, refused};
use super::table_part::Part;
pub(crate) use super::table_rules::Rules;
use crate::embed::cell::{Number, Slot};
use crate::embed::class::{self, Args, Class, Key, Method, Slots, This, method};
use crate::embed::text::{Encoding, Text};
use crate::embed::{self, Cx, exception};
use crate::exchange::{Exchange, RequestLease};
use crate::httpd::apr::table::Copies;
use crate::httpd::apr::table::OwnedTable;
use crate::httpd::apr::table::Table as AprTable;
use crate::httpd::apr::table::room_of;
use crate::httpd::apr::table::same;
use crate::httpd::request::Request as RequestRec;
use crate::httpd::request::header;
use crate::httpd::request::lease::Lease;
use pyo3::exceptions::{
    PyAttributeError, PyKeyError, PyMemoryError, PyRuntimeError, PyTypeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use std::ffi::{CStr, CString};

/// A table: a view on one of a request's, or one of its own. A view looks for the request's table at each use, since httpd may have
/// put another one in its place.
pub(crate) struct Table {
    source: Source,
    rules: Rules,
}

enum Source {
    View {
        lease: RequestLease,
        find: for<'r> fn(RequestRec<'r>) -> Option<AprTable<'r>>,
    },
    /// A lease only so that one thread at a time uses the table.
    Own(Lease<OwnedTable>),
}

type Object<'py> = Bound<'py, PyAny>;

impl Class for Table {
    const NAME: &'static CStr = c"mp_table";
    const DOC: &'static CStr = c"A table of httpd: names ignore case, and may have several values.";
    const METHODS: &'static [Method<Self>] = &[
        method!(
            Table,
            c"add(name, value, /)",
            c"adds a value beside those that are there.",
            add,
        ),
        method!(
            Table,
            c"get(name, default=None, /)",
            c"the first value.",
            get
        ),
        method!(
            Table,
            c"has_key(name, /)",
            c"1 if it has a value, else 0.",
            has_key,
        ),
        method!(
            Table,
            c"keys()",
            c"the names, with duplicates, as a list.",
            |this, _| list(this, Part::Key),
        ),
        method!(
            Table,
            c"values()",
            c"the values as a list.",
            |this, _| list(this, Part::Value),
        ),
        method!(
            Table,
            c"items()",
            c"(name, value) tuples as a list.",
            |this, _| list(this, Part::Item),
        ),
        method!(
            Table,
            c"iterkeys()",
            c"an iterator over the names.",
            |this, _| iterate(&this, Part::Key),
        ),
        method!(
            Table,
            c"itervalues()",
            c"an iterator over the values.",
            |this, _| iterate(&this, Part::Value),
        ),
        method!(
            Table,
            c"iteritems()",
            c"an iterator over (name, value) tuples.",
            |this, _| iterate(&this, Part::Item),
        ),
        method!(
            Table,
            c"update(items, /)",
            c"sets what a mapping or pairs hold.",
            |this, args| {
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
        method!(
            Table,
            c"setdefault(name, value='', /)",
            c"the value, which is set if there is none.",
            setdefault,
        ),
        method!(
            Table,
            c"popitem()",
            c"removes and returns a (name, value) tuple.",
            popitem,
        ),
        method!(Table, c"clear()", c"removes everything.", |this, _| {
            this.with(this.cx.py, |table, _| table.clear())?;
            Ok(none(this.cx))
        }),
        method!(
            Table,
            c"copy()",
            c"an independent table with the same entries.",
            |this, _| {
                let copy = Table::own(this.rules)?;
                let entries = this.copies(this.cx.py)?;
                copy.change(this.cx.py, entries.room(), move |to, _| {
                    for (name, value) in entries.iter() {
                        to.add(name, value.unwrap_or_default());
                    }
                })?;
                class::instance(this.cx, copy)
            },
        ),
    ];
    const SLOTS: Slots<Self> = Slots {
        new: Some(|_| Table::own(Rules::Notes)),
        init: Some(init),
        repr: Some(|this| Ok(this.dict(this.cx)?.repr()?.into_any())),
        iter: Some(|this| iterate(&this, Part::Key)),
        length: Some(|this| this.with(this.cx.py, |table, _| table.len())),
        item: Some(item),
        set_item: Some(set_item),
        contains: Some(|this, name| {
            let name = this.key(name)?;
            this.with(this.cx.py, move |table, _| table.has(&name))
        }),
        equals: Some(equals),
        ..Slots::NONE
    };

    fn key() -> &'static Key<Self> {
        static KEY: Key<Table> = Key::new();
        &KEY
    }
}

impl Table {
    /// Makes a view on one of a request's tables, which `find` looks for.
    pub(crate) fn view(
        lease: RequestLease,
        rules: Rules,
        find: for<'r> fn(RequestRec<'r>) -> Option<AprTable<'r>>,
    ) -> Table {
        Table {
            source: Source::View { lease, find },
            rules,
        }
    }

    /// Makes an empty table that belongs to no request.
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

    /// Makes a table of names and values of the configuration.
    ///
    /// # Errors
    /// ValueError for NUL; MemoryError.
    pub(crate) fn of_configuration(
        py: Python<'_>,
        pairs: Vec<(String, String)>,
    ) -> PyResult<Table> {
        let table = Table::own(Rules::Configuration)?;
        table.set_all(py, Rules::texts(pairs)?)?;
        Ok(table)
    }

    /// Calls `body` with the table, as it is now. `body` has nothing of Python, and gives copies: making an object may run Python's
    /// garbage collector and with it any code, and if that waited for another thread, which waits for this table, both would wait
    /// for ever.
    #[inline]
    fn with<R: 'static>(
        &self,
        py: Python<'_>,
        body: impl FnOnce(AprTable<'_>, Option<RequestRec<'_>>) -> R + 'static,
    ) -> PyResult<R> {
        self.change(py, 0, body)
    }

    /// As `with`, for a `body` that adds to the table: `room` is how many bytes its entries take.
    fn change<R: 'static>(
        &self,
        py: Python<'_>,
        room: usize,
        body: impl FnOnce(AprTable<'_>, Option<RequestRec<'_>>) -> R + 'static,
    ) -> PyResult<R> {
        match &self.source {
            Source::Own(lease) => {
                let held = embed::acquire(py, lease).map_err(refused)?;
                Ok(held.with(room, |table| body(table, None)))
            }
            Source::View { lease, find } => {
                let held = hold(py, lease)?;
                // What is written to it does not belong to a head that is on its way, and filters look at it.
                Exchange::settle(py, &held);
                let table = find(held.request())
                    .ok_or_else(|| PyRuntimeError::new_err("the request has no such table"))?;
                Ok(body(table, Some(held.request())))
            }
        }
    }

    fn copies(&self, py: Python<'_>) -> PyResult<Copies> {
        self.with(py, |table, _| Copies::of(table))
    }

    fn key(&self, name: &Object<'_>) -> PyResult<CString> {
        self.rules.encoding().encode(name)
    }

    fn set(&self, py: Python<'_>, name: CString, value: CString) -> PyResult<()> {
        let rules = self.rules;
        self.change(
            py,
            room_of(&name, Some(&value)),
            move |table, request| match request {
                Some(request) if rules.is_length(&name) => set_length(request, &value),
                _ => table.set(&name, &value),
            },
        )
    }

    /// Sets each pair, as `set` does.
    fn set_all(&self, py: Python<'_>, mut pairs: Vec<(CString, CString)>) -> PyResult<()> {
        let rules = self.rules;
        let rooms = pairs.iter().map(|(name, value)| room_of(name, Some(value)));
        self.change(py, rooms.sum(), move |table, request| {
            if let Some(request) = request {
                pairs.retain(|(name, value)| {
                    let is_length = rules.is_length(name);
                    if is_length {
                        set_length(request, value);
                    }
                    !is_length
                });
            }
            table.set_all(&pairs);
        })
    }

    fn decoded<'py>(&self, cx: Cx<'py>, text: Option<&CStr>) -> PyResult<Object<'py>> {
        self.rules.encoding().optional(cx.py, text)
    }

    fn text<'py>(&self, cx: Cx<'py>, text: Option<&Text>) -> PyResult<Object<'py>> {
        self.rules.encoding().copied(cx.py, text)
    }

    /// Finds the value of a name, or the list of its values; None where there is none.
    fn values<'py>(&self, cx: Cx<'py>, name: CString) -> PyResult<Option<Object<'py>>> {
        let (first, others) = self.with(cx.py, move |table, _| {
            let mut found = table
                .entries()
                .filter(|(other, _)| same(other, &name))
                .map(|(_, value)| value.map(Text::from));
            (found.next(), found.collect::<Vec<_>>())
        })?;
        let Some(first) = first else { return Ok(None) };
        let first = self.text(cx, first.as_ref())?;
        if others.is_empty() {
            return Ok(Some(first));
        }
        let all = PyList::new(cx.py, [first])?;
        for value in &others {
            all.append(self.text(cx, value.as_ref())?)?;
        }
        Ok(Some(all.into_any()))
    }

    /// Makes a dict: each name with its value, or the list of its values. Names that differ in case alone are one, the first.
    fn dict<'py>(&self, cx: Cx<'py>) -> PyResult<Bound<'py, PyDict>> {
        let entries = self.copies(cx.py)?;
        let dict = PyDict::new(cx.py);
        for (name, values) in entries.groups() {
            let key = self.decoded(cx, Some(name))?;
            if let [only] = values.as_slice() {
                dict.set_item(key, self.decoded(cx, *only)?)?;
            } else {
                let all = PyList::empty(cx.py);
                for value in values {
                    all.append(self.decoded(cx, value)?)?;
                }
                dict.set_item(key, all)?;
            }
        }
        Ok(dict)
    }

    /// Sets the names and values, as `str()` of each, of a mapping (what has `keys`) or an iterable of pairs. Where one of them is
    /// wrong, those before it have been set.
    fn update(&self, items: &Object<'_>) -> PyResult<()> {
        let mut pairs = Vec::new();
        let result = self.collect(items, &mut pairs);
        let set = self.set_all(items.py(), pairs);
        match (result, set) {
            (Err(first), Err(second)) => {
                exception::discard(items.py(), second);
                Err(first)
            }
            (result, set) => result.and(set),
        }
    }

    fn collect(&self, items: &Object<'_>, pairs: &mut Vec<(CString, CString)>) -> PyResult<()> {
        let mut put = |key: &Object<'_>, value: &Object<'_>| -> PyResult<()> {
            pairs.push(
                self.rules
                    .checked(key.str()?.as_any(), value.str()?.as_any())?,
            );
            Ok(())
        };
        if let Some(keys) = exception::attribute(items, "keys")? {
            for key in keys.call0()?.try_iter()? {
                let key = key?;
                put(&key, &items.get_item(&key)?)?;
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
            put(&pair.get_item(0)?, &pair.get_item(1)?)?;
        }
        Ok(())
    }
}

fn set_length(request: RequestRec<'_>, value: &CStr) {
    request.set_content_length(header::length(value.to_bytes()).unwrap_or_default());
}

fn none(cx: Cx<'_>) -> Object<'_> {
    cx.py.None().into_bound(cx.py)
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
    let found = this.values(this.cx, this.key(name)?)?;
    found.ok_or_else(|| PyKeyError::new_err(name.clone().unbind()))
}

fn set_item<'py>(
    this: This<'_, 'py, Table>,
    name: &Object<'py>,
    value: Option<&Object<'py>>,
) -> PyResult<()> {
    match value {
        Some(value) => {
            let (name, value) = this.rules.checked(name, value)?;
            this.set(this.cx.py, name, value)
        }
        None => {
            let name = this.key(name)?;
            this.with(this.cx.py, move |table, _| table.unset(&name))
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
    let (name, value) = this.rules.checked(&args.required(0)?, &args.required(1)?)?;
    let rules = this.rules;
    this.change(
        this.cx.py,
        room_of(&name, Some(&value)),
        move |table, request| match request {
            Some(request) if rules.is_length(&name) => set_length(request, &value),
            _ => table.add(&name, &value),
        },
    )?;
    Ok(none(this.cx))
}

fn get<'py>(this: This<'_, 'py, Table>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let name = this.key(&args.required(0)?)?;
    let found = this.with(this.cx.py, move |table, _| {
        // APR's index may be out of date where two tables share their entries (apr_table_overlay; a fast internal redirect leaves
        // such ones), so the entries themselves are looked at.
        let listed = || table.entries().find(|(other, _)| same(other, &name));
        let value = table.first(&name).or_else(|| listed()?.1);
        value.map(Text::from)
    })?;
    match found {
        Some(value) => this.text(this.cx, Some(&value)),
        None => Ok(args.get(1).unwrap_or_else(|| none(this.cx))),
    }
}

fn has_key<'py>(this: This<'_, 'py, Table>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let name = this.key(&args.required(0)?)?;
    let found = this.with(this.cx.py, move |table, _| table.has(&name))?;
    Ok(i32::from(found).into_pyobject(this.cx.py)?.into_any())
}

fn list<'py>(this: This<'_, 'py, Table>, part: Part) -> PyResult<Object<'py>> {
    let entries = this.copies(this.cx.py)?;
    let all = PyList::empty(this.cx.py);
    for (name, value) in entries.iter() {
        let text = |text| this.decoded(this.cx, text);
        all.append(part.of(this.cx, || text(Some(name)), || text(value))?)?;
    }
    Ok(all.into_any())
}

fn setdefault<'py>(this: This<'_, 'py, Table>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let key = args.required(0)?;
    if let Some(found) = this.values(this.cx, this.key(&key)?)? {
        return Ok(found);
    }
    let value = args
        .get(1)
        .map_or_else(|| Encoding::Utf8.decode(this.cx.py, b""), Ok)?;
    let (name, checked) = this.rules.checked(&key, &value)?;
    this.set(this.cx.py, name, checked)?;
    Ok(value)
}

/// The first pair.
fn popitem<'py>(this: This<'_, 'py, Table>, _: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let first = this.with(this.cx.py, |table, _| {
        let entry = copied(table, 0);
        table.remove_first();
        entry
    })?;
    let (name, value) = first.ok_or_else(|| PyKeyError::new_err("popitem(): table is empty"))?;
    let text = |text| this.text(this.cx, text);
    Part::Item.of(this.cx, || text(Some(&name)), || text(value.as_ref()))
}

fn copied(table: AprTable<'_>, place: usize) -> Option<(Text, Option<Text>)> {
    let (name, value) = table.entry(place)?;
    Some((name.into(), value.map(Text::from)))
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
    const SLOTS: Slots<Self> = Slots {
        iter: Some(|this| Ok(this.object())),
        next: Some(next),
        ..Slots::NONE
    };

    fn key() -> &'static Key<Self> {
        static KEY: Key<Entries> = Key::new();
        &KEY
    }

    fn references(&self, visit: &mut dyn FnMut(&Slot)) {
        visit(&self.table);
    }
}

fn iterate<'py>(this: &This<'_, 'py, Table>, part: Part) -> PyResult<Object<'py>> {
    let length = this.with(this.cx.py, |table, _| table.len())?;
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
    let position = this.position.add(1);
    let position = usize::try_from(position).unwrap_or(usize::MAX);
    let (length, entry) = table.with(this.cx.py, move |table, _| {
        (table.len(), copied(table, position))
    })?;
    if length != this.length {
        return Err(PyRuntimeError::new_err(
            "table changed size during iteration",
        ));
    }
    let Some((name, value)) = entry else {
        return Ok(None);
    };
    let text = |text| table.text(this.cx, text);
    let part = this
        .part
        .of(this.cx, || text(Some(&name)), || text(value.as_ref()));
    part.map(Some)
}
