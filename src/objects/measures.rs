//! Functions of `_apache` that tell what all children have done: for `mod_python.status` and `mod_python.metrics`.

use crate::embed::class::{Args, Function, function};
use crate::embed::rates::ARCHIVES;
use crate::embed::series::Reading;
use crate::embed::{Cx, children, series, totals};
use crate::httpd::clock::SECOND;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

type Object<'py> = Bound<'py, PyAny>;

/// What `_apache` offers of the measures.
pub(crate) static FUNCTIONS: &[Function] = &[
    function!(
        c"_bounds()",
        c"the upper bounds of the latency histogram, in seconds.",
        |cx, _| {
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let bounds = totals::BOUNDS.map(|bound| bound as f64 / SECOND as f64);
            PyTuple::new(cx.py, bounds)?.into_bound_py_any(cx.py)
        },
    ),
    function!(
        c"_counters()",
        c"the names of what is counted; behind them come the histogram's buckets, then processor time and memory times time.",
        |cx, _| PyTuple::new(cx.py, totals::NAMES)?.into_bound_py_any(cx.py),
    ),
    function!(
        c"_totals()",
        c"(interpreter, application, counts, garbage) of each that there has been; times are in microseconds.",
        all_totals,
    ),
    function!(
        c"_children()",
        c"processor time (microseconds) of all children that there have been, and (pid, born, memory in KiB, processor time) of those that live.",
        all_children,
    ),
    function!(
        c"_rates(archive, /)",
        c"(step in ms, ms since the last look, ms of the newest step by then, points of each series) of one of the archives.",
        rates,
    ),
];

fn all_totals<'py>(cx: Cx<'py>, _: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let list = PyList::empty(cx.py);
    for one in totals::entries() {
        let garbage = one.garbage.map(|[a, b, c]| (a, b, c));
        let [young, middle, old] = garbage;
        let counts = PyTuple::new(cx.py, one.counts)?;
        let row = (
            one.interpreter,
            one.application,
            counts,
            (young, middle, old),
        );
        list.append(row)?;
    }
    Ok(list.into_any())
}

fn all_children<'py>(cx: Cx<'py>, _: Args<'_, 'py>) -> PyResult<Object<'py>> {
    cx.detached((), |()| children::look());
    let (processor, _) = children::sums();
    let list = PyList::empty(cx.py);
    for one in children::entries() {
        list.append((one.pid, one.born, one.memory, one.processor))?;
    }
    (processor, list).into_bound_py_any(cx.py)
}

fn rates<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let archive = usize::try_from(args.integer_or(0, 0)?).ok();
    let archive = archive.filter(|&archive| archive < ARCHIVES.len());
    let archive = archive.ok_or_else(|| PyValueError::new_err("there is no such archive"))?;
    let reading = cx.detached(archive, |archive| {
        series::look();
        series::read(archive)
    });
    let Some(Reading {
        step,
        age,
        open,
        series,
    }) = reading
    else {
        let nothing = (0, 0, 0, PyList::empty(cx.py));
        return nothing.into_bound_py_any(cx.py);
    };
    let all = PyList::empty(cx.py);
    for points in series {
        all.append(PyList::new(cx.py, points)?)?;
    }
    (step, age, open, all).into_bound_py_any(cx.py)
}
