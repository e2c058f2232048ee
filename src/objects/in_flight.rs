//! What the threads of all children are at, for `mod_python.status`.

use crate::embed::class::{self, Args, Function, function};
use crate::embed::{Cx, deadlines, in_flight, scoreboard};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyList;

type Object<'py> = Bound<'py, PyAny>;

/// The functions of `_apache` for it.
pub(crate) static FUNCTIONS: &[Function] = &[
    function!(
        c"_in_flight(queries=False, /)",
        c"(pid, thread, interpreter, work, request, since) of each thread of all children that is in Python; the request with its query where that is asked for.",
        entries,
    ),
    function!(
        c"_stack(pid, thread, /)",
        c"where a thread that _in_flight() has named is, as the lines of a traceback; None where it is not in Python, or does not tell.",
        stack,
    ),
    #[cfg(feature = "test-faults")]
    function!(
        c"_race_deadlines(times, body, after, /)",
        c"for tests: calls both so many times, with RequestTimeout raised in the first at any moment; how often it was.",
        |cx, args| {
            let times = u64::try_from(class::integer(&args.required(0)?)?).unwrap_or(0);
            let (body, after) = (args.required(1)?, args.required(2)?);
            let raised = deadlines::race(cx, times, || body.call0().map(drop), || after.call0().map(drop));
            raised?.into_bound_py_any(cx.py)
        },
    ),
];

fn entries<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let queries = match args.get(0) {
        Some(asked) => asked.is_truthy()?,
        None => false,
    };
    let list = PyList::empty(cx.py);
    for one in in_flight::entries() {
        let name = scoreboard::name_of(one.interpreter).unwrap_or_default();
        let line = match queries {
            true => one.line + &one.query,
            false => one.line,
        };
        list.append((one.pid, one.thread, name, one.work, line, one.since))?;
    }
    Ok(list.into_any())
}

fn stack<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let pid = i32::try_from(class::integer(&args.required(0)?)?).unwrap_or(-1);
    let thread = u64::try_from(class::integer(&args.required(1)?)?).unwrap_or(0);
    deadlines::stack(cx, pid, thread)?.into_bound_py_any(cx.py)
}
