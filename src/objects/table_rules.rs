//! What tables may hold, and in which encoding.

use crate::embed::text::Encoding;
use crate::httpd::request::header;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::ffi::{CStr, CString};

/// What may be stored in a table, and how Python's text becomes bytes there.
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

impl Rules {
    /// Is it Content-Length of an answer, which httpd has a call of its own for?
    pub(super) fn is_length(self, name: &CStr) -> bool {
        self == Rules::Response && name.to_bytes().eq_ignore_ascii_case(b"content-length")
    }

    pub(super) fn encoding(self) -> Encoding {
        match self {
            Rules::Configuration | Rules::Environment => Encoding::Utf8,
            Rules::Response | Rules::Headers | Rules::Notes => Encoding::Latin1,
        }
    }

    /// Encodes a name and a value, and checks that they may be stored.
    ///
    /// # Errors
    /// TypeError, ValueError.
    pub(super) fn checked(
        self,
        name: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<(CString, CString)> {
        let (name, value) = (
            self.encoding().encode(name)?,
            self.encoding().encode(value)?,
        );
        let refusal = match self {
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

    /// Makes C strings of names and values.
    ///
    /// # Errors
    /// ValueError for NUL.
    pub(super) fn texts(pairs: Vec<(String, String)>) -> PyResult<Vec<(CString, CString)>> {
        let text =
            |text| CString::new(text).map_err(|_| PyValueError::new_err("embedded null character"));
        let pairs = pairs.into_iter();
        pairs
            .map(|(name, value)| Ok((text(name)?, text(value)?)))
            .collect()
    }
}
