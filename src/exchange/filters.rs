//! Filters that a handler has registered for its own request.

use crate::config::{Entry, filter_key};
use crate::httpd::apr::pool::Pool;
use crate::httpd::module::command::{Section, Written};
use std::cell::RefCell;

/// A filter that req.register_output_filter() or its twin has registered.
struct OwnFilter {
    name: String,
    input: bool,
    text: String,
    directory: Option<String>,
}

/// The filters of a request's own, behind its lease. Their names cover httpd's.
#[derive(Default)]
pub(crate) struct OwnFilters(RefCell<Vec<OwnFilter>>);

impl OwnFilters {
    /// Adds a filter; it stands in the place of one of the same name.
    pub(crate) fn add(&self, name: &str, input: bool, text: &str, directory: Option<String>) {
        let name = name.to_lowercase();
        let mut filters = self.0.borrow_mut();
        filters.retain(|filter| filter.input != input || filter.name != name);
        filters.push(OwnFilter {
            name,
            input,
            text: text.to_string(),
            directory,
        });
    }

    /// Is there one of that name?
    pub(crate) fn has(&self, name: &str, input: bool) -> bool {
        let name = name.to_lowercase();
        let filters = self.0.borrow();
        filters
            .iter()
            .any(|filter| filter.input == input && filter.name == name)
    }

    /// Finds the handler of a filter, by its name in lower case.
    pub(super) fn entry<'p>(
        &self,
        pool: Pool<'p>,
        name: &str,
        input: bool,
    ) -> Option<&'p Entry<'p>> {
        let filters = self.0.borrow();
        let filter = filters
            .iter()
            .find(|filter| filter.input == input && filter.name == name)?;
        let section = filter
            .directory
            .as_ref()
            .map_or(Section::None, |directory| Section::Directory {
                path: pool.text(directory),
                written: Written::Plainly,
            });
        Some(pool.store(Entry {
            text: pool.text(&filter.text),
            key: pool.text(&filter_key(&filter.text, input)),
            section,
            silent: false,
        }))
    }

    pub(super) fn clear(&mut self) {
        self.0.get_mut().clear();
    }
}
