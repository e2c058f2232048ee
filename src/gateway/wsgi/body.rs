//! What the application returns: a single block, a file, or an iterable of blocks, which are `bytes`.

use super::file_wrapper::{self, Files};
use crate::embed::text::Encoding;
use crate::gateway::answer::{Answer, Stage};
use crate::gateway::call::{Call, Stop};
use crate::gateway::memory;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

type Object<'py> = Bound<'py, PyAny>;

/// Sends what the application has returned.
pub(super) fn send<'py>(
    call: &Call<'py>,
    answer: &Answer,
    files: &Files,
    result: &Object<'py>,
) -> Result<(), Stop> {
    let stage = answer.stage();
    if let Some(only) = only_item(result)
        && stage != Stage::Given
    {
        return with_bytes(call, &only, |data| {
            check_started(stage)?;
            call.whole(answer, data)
        });
    }
    if let Some(part) = file_wrapper::part(call.cx, files, result) {
        check_started(answer.stage())?;
        return call.file(answer, part);
    }
    for item in result.try_iter()? {
        with_bytes(call, &item?, |data| {
            if data.is_empty() {
                return Ok(());
            }
            check_started(answer.stage())?;
            call.block(answer, data)
        })?;
    }
    Ok(())
}

/// What is said where the application has answered nothing.
pub(super) const NOT_STARTED: &str = "the application has not called start_response()";

fn check_started(stage: Stage) -> PyResult<()> {
    match stage {
        Stage::NotStarted => Err(PyRuntimeError::new_err(NOT_STARTED)),
        Stage::Started | Stage::Given => Ok(()),
    }
}

/// Calls `body` with a block's bytes. A `str` is taken as latin-1, with a warning for each application.
fn with_bytes(
    call: &Call<'_>,
    item: &Object<'_>,
    body: impl FnOnce(&[u8]) -> Result<(), Stop>,
) -> Result<(), Stop> {
    if let Ok(bytes) = item.cast::<PyBytes>() {
        return body(bytes.as_bytes());
    }
    if item.is_instance_of::<PyString>() {
        let text = "gives str where PEP 3333 wants bytes; it is taken as latin-1";
        memory::warn_once(call.cx, call.gateway, &call.hold()?, text, "")?;
        return body(&Encoding::Latin1.encode_bytes(item)?);
    }
    let kind = item.get_type().name()?;
    Err(PyTypeError::new_err(format!(
        "the application gives a value of type {kind} where bytes must be"
    ))
    .into())
}

/// Gives the item of a list or tuple that has one; None of anything else.
fn only_item<'py>(result: &Object<'py>) -> Option<Object<'py>> {
    if let Ok(list) = result.cast_exact::<PyList>() {
        return (list.len() == 1).then(|| list.iter().next()).flatten();
    }
    let tuple = result.cast_exact::<PyTuple>().ok()?;
    (tuple.len() == 1).then(|| tuple.iter().next()).flatten()
}
