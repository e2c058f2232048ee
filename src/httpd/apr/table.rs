//! A handle on apr_table_t: it keeps its order, ignores case, and a name may have several values.

use crate::httpd::apr::pool::{OwnedPool, Pool};
use crate::httpd::{faults, sys};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A borrowed table. Names and values are copied into the table's own pool (apr_table_set, apr_table_add).
#[derive(Clone, Copy)]
pub(crate) struct Table<'t>(NonNull<sys::apr_table_t>, PhantomData<&'t sys::apr_table_t>);

impl<'t> Table<'t> {
    /// # Safety
    /// `table` is NULL or lives for `'t`, and no other thread uses it meanwhile.
    pub(in crate::httpd) unsafe fn from_raw(table: *mut sys::apr_table_t) -> Option<Table<'t>> {
        NonNull::new(table).map(|table| Table(table, PhantomData))
    }

    /// Makes an empty table.
    pub(crate) fn new(pool: Pool<'t>) -> Table<'t> {
        // SAFETY: apr_table_make returns a table or aborts the process.
        Table(
            unsafe { NonNull::new_unchecked(sys::apr_table_make(pool.as_ptr(), 8)) },
            PhantomData,
        )
    }

    pub(in crate::httpd) fn as_ptr(self) -> *mut sys::apr_table_t {
        self.0.as_ptr()
    }

    pub(crate) fn len(self) -> usize {
        // SAFETY: a live table; apr_table_elts gives its array.
        usize::try_from(unsafe { (*sys::apr_table_elts(self.as_ptr())).nelts }).unwrap_or(0)
    }

    /// Gives the entry at a position; None beyond the end. Its value is None where httpd has stored NULL.
    pub(crate) fn entry(self, index: usize) -> Option<(&'t CStr, Option<&'t CStr>)> {
        if index >= self.len() {
            return None;
        }
        // SAFETY: the array holds `nelts` entries; the strings live in the table's pool.
        unsafe {
            let entry = (*sys::apr_table_elts(self.as_ptr()))
                .elts
                .cast::<sys::apr_table_entry_t>()
                .add(index);
            Some((
                crate::httpd::text((*entry).key)?,
                crate::httpd::text((*entry).val),
            ))
        }
    }

    /// Iterates over all entries, in order. Do not change the table meanwhile.
    pub(crate) fn entries(self) -> impl Iterator<Item = (&'t CStr, Option<&'t CStr>)> {
        (0..self.len()).filter_map(move |index| self.entry(index))
    }

    /// Is there an entry of that name?
    pub(crate) fn has(self, name: &CStr) -> bool {
        self.entries().any(|(other, _)| same(other, name))
    }

    /// Gives the first value of a name (apr_table_get).
    pub(crate) fn first(self, name: &CStr) -> Option<&'t CStr> {
        // SAFETY: a live table and a C string.
        unsafe { crate::httpd::text(sys::apr_table_get(self.as_ptr(), name.as_ptr())) }
    }

    /// Replaces every value of a name (apr_table_set).
    pub(crate) fn set(self, name: &CStr, value: &CStr) {
        // SAFETY: a live table; both strings are copied.
        unsafe { sys::apr_table_set(self.as_ptr(), name.as_ptr(), value.as_ptr()) }
    }

    /// Sets all pairs, as `set` does one, but goes through the table once: APR goes through it for each name.
    pub(crate) fn set_all(self, pairs: &[(CString, CString)]) {
        if pairs.len() < FEW {
            return pairs.iter().for_each(|(name, value)| self.set(name, value));
        }
        let last: HashMap<Vec<u8>, usize> = pairs
            .iter()
            .enumerate()
            .map(|(place, (name, _))| (lower(name), place))
            .collect();
        let mut written = vec![false; pairs.len()];
        // SAFETY: a live table; the pointers that are added are those that it had, to strings that live as long as its pool, or
        // to copies in that pool.
        unsafe {
            let array = sys::apr_table_elts(self.as_ptr());
            let pool = (*array).pool;
            let elements = (*array).elts.cast::<sys::apr_table_entry_t>();
            let old: Vec<_> = (0..self.len())
                .map(|place| ((*elements.add(place)).key, (*elements.add(place)).val))
                .collect();
            sys::apr_table_clear(self.as_ptr());
            let copy = |text: &CStr| sys::apr_pstrmemdup(pool, text.as_ptr(), text.count_bytes());
            for (key, value) in old {
                let found = crate::httpd::text(key).and_then(|name| last.get(&lower(name)));
                let Some((&place, (_, new))) =
                    found.and_then(|place| Some((place, pairs.get(*place)?)))
                else {
                    sys::apr_table_addn(self.as_ptr(), key, value);
                    continue;
                };
                // Of the entries with this name the first one gets the value, the others are removed.
                if let Some(written) = written.get_mut(place).filter(|written| !**written) {
                    *written = true;
                    sys::apr_table_addn(self.as_ptr(), key, copy(new));
                }
            }
            // Names that the table does not have yet are added in the order of the pairs.
            for (name, _) in pairs {
                let Some(&place) = last.get(&lower(name)) else {
                    continue;
                };
                if let (Some(written), Some((_, value))) =
                    (written.get_mut(place), pairs.get(place))
                    && !*written
                {
                    *written = true;
                    sys::apr_table_addn(self.as_ptr(), copy(name), copy(value));
                }
            }
        }
    }

    /// Adds a value beside those that are there (apr_table_add).
    pub(crate) fn add(self, name: &CStr, value: &CStr) {
        // SAFETY: a live table; both strings are copied.
        unsafe { sys::apr_table_add(self.as_ptr(), name.as_ptr(), value.as_ptr()) }
    }

    /// Removes every value of a name (apr_table_unset).
    pub(crate) fn unset(self, name: &CStr) {
        // SAFETY: a live table and a C string.
        unsafe { sys::apr_table_unset(self.as_ptr(), name.as_ptr()) }
    }

    /// Removes the first entry, and no other of its name. Needs no memory, which the table's pool would not free again.
    pub(crate) fn remove_first(self) {
        let Some((name, _)) = self.entry(0) else {
            return;
        };
        let mut others = self.entries().skip(1);
        if !others.any(|(other, _)| other.to_bytes().eq_ignore_ascii_case(name.to_bytes())) {
            return self.unset(name);
        }
        // SAFETY: a live table; the pointers are those that it had, to strings that live as long as its pool.
        unsafe {
            let entries = (*sys::apr_table_elts(self.as_ptr()))
                .elts
                .cast::<sys::apr_table_entry_t>();
            let rest: Vec<_> = (1..self.len())
                .map(|place| ((*entries.add(place)).key, (*entries.add(place)).val))
                .collect();
            sys::apr_table_clear(self.as_ptr());
            for (key, value) in rest {
                sys::apr_table_addn(self.as_ptr(), key, value);
            }
        }
    }

    pub(crate) fn clear(self) {
        // SAFETY: a live table.
        unsafe { sys::apr_table_clear(self.as_ptr()) }
    }
}

/// Up to how many pairs are set one after the other.
const FEW: usize = 8;

/// Are two names the same to a table?
pub(crate) fn same(one: &CStr, other: &CStr) -> bool {
    one.to_bytes().eq_ignore_ascii_case(other.to_bytes())
}

fn lower(name: &CStr) -> Vec<u8> {
    name.to_bytes().to_ascii_lowercase()
}

/// A copy of a table's entries, in one piece of memory.
pub(crate) struct Copies {
    bytes: Vec<u8>,
    /// Where each name and its value end, with their NULs. Both are the same where the value is NULL.
    ends: Vec<(usize, usize)>,
}

impl Copies {
    pub(crate) fn of(table: Table<'_>) -> Copies {
        let mut copies = Copies {
            bytes: Vec::new(),
            ends: Vec::with_capacity(table.len()),
        };
        for (name, value) in table.entries() {
            copies.bytes.extend_from_slice(name.to_bytes_with_nul());
            let name_ends = copies.bytes.len();
            let value = value.map(CStr::to_bytes_with_nul);
            copies.bytes.extend_from_slice(value.unwrap_or_default());
            copies.ends.push((name_ends, copies.bytes.len()));
        }
        copies
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&CStr, Option<&CStr>)> {
        let mut begins = 0;
        self.ends.iter().map(move |&(name_ends, ends)| {
            let text = |from, to| CStr::from_bytes_with_nul(self.bytes.get(from..to)?).ok();
            let entry = (
                text(begins, name_ends).unwrap_or_default(),
                text(name_ends, ends),
            );
            begins = ends;
            entry
        })
    }

    pub(crate) fn room(&self) -> usize {
        self.iter().map(|(name, value)| room_of(name, value)).sum()
    }

    /// Lists each name with its values. Names that differ in case alone are one, the first.
    pub(crate) fn groups(&self) -> Vec<(&CStr, Vec<Option<&CStr>>)> {
        let mut places = HashMap::<Vec<u8>, usize>::new();
        let mut groups: Vec<(&CStr, Vec<Option<&CStr>>)> = Vec::new();
        for (name, value) in self.iter() {
            let next = groups.len();
            let place = *places.entry(lower(name)).or_insert(next);
            match groups.get_mut(place) {
                Some((_, values)) => values.push(value),
                None => groups.push((name, vec![value])),
            }
        }
        groups
    }
}

/// A table with a pool of its own, which belong to whoever has this. A pool frees nothing before its end, so once more than half
/// of it is garbage the entries are copied to a new one.
pub(crate) struct OwnedTable {
    /// Borrowed while the table is used.
    held: RefCell<InPool>,
    /// How many bytes the pool has been asked for; `tidy` is called when they are as many as `checked_at`.
    taken: Cell<usize>,
    checked_at: Cell<usize>,
}

/// A table in the pool that it owns.
struct InPool {
    table: NonNull<sys::apr_table_t>,
    _pool: OwnedPool,
}

// SAFETY: the table lies in the pool that moves with it.
unsafe impl Send for OwnedTable {}

/// Below this much garbage nothing is copied.
const LITTLE: usize = 64 << 10;

impl OwnedTable {
    /// Makes an empty table; None when memory is short.
    pub(crate) fn new() -> Option<OwnedTable> {
        Some(OwnedTable {
            held: RefCell::new(InPool::new()?),
            taken: Cell::new(0),
            checked_at: Cell::new(LITTLE),
        })
    }

    /// Calls `body` with the table, to read or to change it. `room` is how many bytes it will add (`room_of`). What `body` gives
    /// must not refer to the table's pool.
    pub(crate) fn with<R: 'static>(&self, room: usize, body: impl FnOnce(Table<'_>) -> R) -> R {
        let result = body(Table(self.held.borrow().table, PhantomData));
        if room > 0 {
            self.taken.set(self.taken.get().saturating_add(room));
            if self.taken.get() >= self.checked_at.get() {
                self.tidy();
            }
        }
        result
    }

    /// Copies the entries to another pool, where most of this one is entries that have been replaced or removed. It looks into that
    /// when the pool has grown by as much as it had, so that this takes no more time than writing has taken.
    fn tidy(&self) {
        let Ok(mut held) = self.held.try_borrow_mut() else {
            return;
        };
        let old = Table(held.table, PhantomData);
        let rooms = old.entries().map(|(name, value)| room_of(name, value));
        let live: usize = rooms.sum();
        if self.taken.get() > live.saturating_mul(2)
            && let Some(fresh) = InPool::new()
        {
            let new: Table<'_> = Table(fresh.table, PhantomData);
            for (name, value) in old.entries() {
                new.add(name, value.unwrap_or_default());
            }
            self.taken.set(live);
            *held = fresh;
        }
        self.checked_at
            .set(self.taken.get().saturating_add(live.max(LITTLE)));
    }
}

impl InPool {
    fn new() -> Option<InPool> {
        let pool = OwnedPool::new().filter(|_| !faults::strike("table"))?;
        let table = Table::new(pool.pool()).0;
        Some(InPool { table, _pool: pool })
    }
}

/// Gives how many bytes an entry takes in a pool.
pub(crate) fn room_of(name: &CStr, value: Option<&CStr>) -> usize {
    let texts = name.count_bytes() + value.map_or(0, CStr::count_bytes);
    texts + 2 * size_of::<sys::apr_table_entry_t>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::httpd::apr::pool::OwnedPool;

    #[test]
    fn names_ignore_case_and_keep_every_value_in_order() {
        let pool = OwnedPool::new().unwrap();
        let table = Table::new(pool.pool());
        table.add(c"Set-Cookie", c"a=1");
        table.add(c"set-cookie", c"b=2");
        table.set(c"Other", c"x");
        assert_eq!(table.len(), 3);
        assert_eq!(table.first(c"SET-COOKIE"), Some(c"a=1"));
        assert_eq!(
            table
                .entries()
                .filter(|(name, _)| name.to_bytes().eq_ignore_ascii_case(b"set-cookie"))
                .count(),
            2
        );
        table.remove_first();
        assert_eq!(table.len(), 2);
        assert_eq!(table.first(c"Set-Cookie"), Some(c"b=2"));
        table.unset(c"set-cookie");
        assert_eq!(table.entry(0), Some((c"Other", Some(c"x"))));
        assert_eq!(table.entry(1), None);
        table.remove_first();
        assert_eq!((table.len(), table.first(c"Other")), (0, None));
        table.remove_first();
    }

    #[test]
    fn many_are_set_as_one_by_one() {
        let text = |text: String| CString::new(text).unwrap();
        for count in [3_usize, 40] {
            let pool = OwnedPool::new().unwrap();
            let (one, other) = (Table::new(pool.pool()), Table::new(pool.pool()));
            let pairs: Vec<_> = (0..count)
                .map(|n| {
                    (
                        text(format!("{}{}", ["n", "N"][n % 2], n % 25)),
                        text(format!("v{n}")),
                    )
                })
                .collect();
            for table in [one, other] {
                for name in [c"first", c"n2", c"N3", c"n2", c"last"] {
                    table.add(name, c"old");
                }
            }
            pairs.iter().for_each(|(name, value)| one.set(name, value));
            other.set_all(&pairs);
            assert_eq!(
                one.entries().collect::<Vec<_>>(),
                other.entries().collect::<Vec<_>>()
            );
            assert_eq!(other.first(c"N2"), one.first(c"n2"));
        }
    }

    #[test]
    fn what_is_replaced_again_and_again_does_not_stay() {
        let table = OwnedTable::new().unwrap();
        let value = CString::new(vec![b'x'; 1000]).unwrap();
        let mut highest = 0;
        for _ in 0..10_000 {
            table.with(room_of(c"name", Some(&value)), |table| {
                table.set(c"name", &value)
            });
            highest = highest.max(table.taken.get());
        }
        assert!(highest < 3 * LITTLE, "{highest}");
        table.with(0, |table| {
            assert_eq!(table.first(c"NAME"), Some(value.as_c_str()))
        });
        // An entry that is there, and stays.
        for place in 0..1000 {
            let name = CString::new(format!("n{place}")).unwrap();
            table.with(room_of(&name, Some(&value)), |table| {
                table.set(&name, &value)
            });
        }
        assert_eq!(table.with(0, |table| table.len()), 1001);
    }
}
