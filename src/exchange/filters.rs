//! Filters that a handler has registered for its own request.

use super::{Exchange, within};
use crate::config::{Entry, filter_key};
use crate::httpd::command::Section;
use crate::httpd::request::Request as Host;

/// A filter that req.register_output_filter() or its twin has registered.
pub(super) struct OwnFilter {
    name: String,
    input: bool,
    text: String,
    directory: Option<String>,
}

impl Exchange {
    /// Registers a filter of this request's own; its name covers httpd's.
    pub(crate) fn add_own_filter(
        &self,
        name: &str,
        input: bool,
        text: &str,
        directory: Option<String>,
    ) {
        let name = name.to_lowercase();
        let mut filters = self.filters.borrow_mut();
        filters.retain(|filter| filter.input != input || filter.name != name);
        filters.push(OwnFilter {
            name,
            input,
            text: text.to_string(),
            directory,
        });
    }

    /// Is there a filter of this request's own with that name?
    pub(crate) fn has_own_filter(&self, name: &str, input: bool) -> bool {
        let name = name.to_lowercase();
        self.filters
            .borrow()
            .iter()
            .any(|filter| filter.input == input && filter.name == name)
    }

    /// The handler of a filter of the request's own.
    pub(crate) fn own_filter<'r>(request: Host<'r>, name: &str, input: bool) -> Option<Entry<'r>> {
        let entry = within(request, |pool, exchange| {
            let filters = exchange.filters.borrow();
            let filter = filters
                .iter()
                .find(|filter| filter.input == input && filter.name == name)?;
            let section = filter
                .directory
                .as_ref()
                .map_or(Section::None, |directory| Section::Directory {
                    path: pool.text(directory),
                    regex: false,
                });
            Some(Entry {
                text: pool.text(&filter.text),
                key: pool.text(&filter_key(&filter.text, input)),
                section,
                silent: false,
            })
        });
        entry.flatten()
    }
}
