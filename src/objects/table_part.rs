//! What an iteration over a table gives for each entry.

use crate::embed::Cx;
use pyo3::prelude::*;

type Object<'py> = Bound<'py, PyAny>;

/// The name, the value, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
    Item,
}

impl Part {
    /// Makes it of the entry's name and value.
    pub(super) fn of<'py>(
        self,
        cx: Cx<'py>,
        name: impl FnOnce() -> PyResult<Object<'py>>,
        value: impl FnOnce() -> PyResult<Object<'py>>,
    ) -> PyResult<Object<'py>> {
        match self {
            Part::Key => name(),
            Part::Value => value(),
            Part::Item => Ok((name()?, value()?).into_pyobject(cx.py)?.into_any()),
        }
    }
}
