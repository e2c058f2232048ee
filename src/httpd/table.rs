//! A handle on apr_table_t: ordered, case-insensitive, several values a name.

use super::faults;
use super::pool::{OwnedPool, Pool};
use super::sys;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A borrowed table. Names and values are copied into the table's own pool (apr_table_set, apr_table_add).
#[derive(Clone, Copy)]
pub(crate) struct Table<'t>(NonNull<sys::apr_table_t>, PhantomData<&'t sys::apr_table_t>);

impl<'t> Table<'t> {
    /// # Safety
    /// `table` is NULL or lives for `'t`, used by this thread alone.
    pub(super) unsafe fn from_raw(table: *mut sys::apr_table_t) -> Option<Table<'t>> {
        NonNull::new(table).map(|table| Table(table, PhantomData))
    }

    /// A new, empty table.
    pub(crate) fn new(pool: Pool<'t>) -> Table<'t> {
        // SAFETY: apr_table_make returns a table or aborts the process.
        Table(
            unsafe { NonNull::new_unchecked(sys::apr_table_make(pool.as_ptr(), 8)) },
            PhantomData,
        )
    }

    pub(super) fn as_ptr(self) -> *mut sys::apr_table_t {
        self.0.as_ptr()
    }

    pub(crate) fn len(self) -> usize {
        // SAFETY: a live table; apr_table_elts gives its array.
        usize::try_from(unsafe { (*sys::apr_table_elts(self.as_ptr())).nelts }).unwrap_or(0)
    }

    /// The entry at a position; None beyond the end. The value is None where httpd stored NULL.
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
            Some((super::text((*entry).key)?, super::text((*entry).val)))
        }
    }

    /// All entries in order. Do not change the table while iterating.
    pub(crate) fn entries(self) -> impl Iterator<Item = (&'t CStr, Option<&'t CStr>)> {
        (0..self.len()).filter_map(move |index| self.entry(index))
    }

    /// The first value of a name (apr_table_get).
    pub(crate) fn first(self, name: &CStr) -> Option<&'t CStr> {
        // SAFETY: a live table and a C string.
        unsafe { super::text(sys::apr_table_get(self.as_ptr(), name.as_ptr())) }
    }

    /// Replaces every value of a name (apr_table_set).
    pub(crate) fn set(self, name: &CStr, value: &CStr) {
        // SAFETY: a live table; both strings are copied.
        unsafe { sys::apr_table_set(self.as_ptr(), name.as_ptr(), value.as_ptr()) }
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

    /// Removes the first entry, and no other of its name. Takes no memory: a table's pool would keep it.
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

/// A table that its holder owns, with a pool of its own.
pub(crate) struct OwnedTable {
    table: NonNull<sys::apr_table_t>,
    _pool: OwnedPool,
}

// SAFETY: the table lies in the pool that moves with it.
unsafe impl Send for OwnedTable {}

impl OwnedTable {
    /// None when memory is short.
    pub(crate) fn new() -> Option<OwnedTable> {
        let pool = OwnedPool::new().filter(|_| !faults::strike("table"))?;
        let table = Table::new(pool.pool()).0;
        Some(OwnedTable { table, _pool: pool })
    }

    pub(crate) fn table(&self) -> Table<'_> {
        Table(self.table, PhantomData)
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::OwnedPool;
    use super::*;

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
}
