//! The functions and constants of `_apache`.

use super::logging::log_for;
use super::server::payload::{Server, listed};
use super::{finfo, locks, query, records};
use crate::config::{Gil, options};
use crate::embed::class::{self, Args, Function, function};
use crate::embed::{Cx, lifecycle, scoreboard, text};
use crate::httpd::io::stdio;
use crate::httpd::log;
use crate::httpd::module::tree::configuration_tree;
use crate::httpd::request::{file, server as host};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;

type Object<'py> = Bound<'py, PyAny>;

/// The functions of `_apache`.
pub(crate) static FUNCTIONS: &[Function] = &[
    function!(
        c"log_error(message, level=3, server=None, /)",
        c"writes to a server's error log.",
        log_error,
    ),
    function!(
        c"mpm_query(code, /)",
        c"one of the MPM's numbers (AP_MPMQ_*); 0 where it does not know it.",
        |cx, args| {
            let code = i32::try_from(class::integer(&args.required(0)?)?).unwrap_or(-1);
            host::mpm_query(code).into_bound_py_any(cx.py)
        },
    ),
    function!(
        c"exists_config_define(name, /)",
        c"was -D name given to httpd?",
        |cx, args| {
            let name = text::Encoding::Utf8.encode(&args.required(0)?)?;
            host::is_defined(&name).into_bound_py_any(cx.py)
        },
    ),
    function!(c"server_root()", c"ServerRoot.", |cx, _| {
        text::Encoding::Utf8.optional(cx.py, host::server_root())
    }),
    function!(
        c"main_server()",
        c"the main server (mp_server).",
        |cx, _| listed(cx, host::Server::main()),
    ),
    function!(
        c"stat(path, wanted, /)",
        c"what a file is (mp_finfo). OSError.",
        stat,
    ),
    function!(
        c"config_tree()",
        c"the configuration, nested lists of (directive, arguments).",
        config_tree,
    ),
    function!(
        c"register_cleanup(interpreter, server, callable, data=None, /)",
        c"calls callable(data) when the child ends.",
        register_cleanup,
    ),
    function!(
        c"parse_qs(query, keep_blank_values=0, strict_parsing=0, /)",
        c"a dict of lists of values.",
        query::parse_qs,
    ),
    function!(
        c"parse_qsl(query, keep_blank_values=0, strict_parsing=0, /)",
        c"a list of (name, value).",
        query::parse_qsl,
    ),
    function!(
        c"_global_lock(server, key, index=-1, /)",
        c"takes the lock that the key stands for; waits for it.",
        locks::lock,
    ),
    function!(
        c"_global_held(server, key, index, function, /)",
        c"calls the function while this thread has the lock.",
        locks::held,
    ),
    function!(
        c"_global_trylock(server, key, index=-1, /)",
        c"takes the lock if it is free.",
        locks::try_lock,
    ),
    function!(
        c"_global_unlock(server, key, index=-1, /)",
        c"gives the lock back.",
        locks::unlock,
    ),
    function!(
        c"_global_place(key, /)",
        c"the index of the lock that the key stands for.",
        locks::place_of,
    ),
    function!(
        c"_session_lock(req, key, seconds, /)",
        c"takes a key's lock for the request that the client sent; how often it has it, 0: too late.",
        locks::session_lock,
    ),
    function!(
        c"_session_unlock(req, key, /)",
        c"gives it back once; how often the request still has it.",
        locks::session_unlock,
    ),
    function!(
        c"_stream_write(stream, data, /)",
        c"standard output (0) or error (1); whole lines go to the error log.",
        |cx, args| {
            let data = text::message(&args.required(1)?)?;
            let stream = usize::try_from(args.integer_or(0, 1)?).unwrap_or(1);
            cx.detached((stream, data.as_slice()), |(stream, data)| stdio::write(stream, data));
            data.len().into_bound_py_any(cx.py)
        },
    ),
    function!(
        c"_stream_flush(stream, /)",
        c"what has no line end yet goes to the error log, too.",
        |cx, args| {
            let stream = usize::try_from(args.integer_or(0, 1)?).unwrap_or(1);
            cx.detached(stream, stdio::flush);
            Ok(cx.py.None().into_bound(cx.py))
        },
    ),
    function!(
        c"_log(level, text, logger=None, message=None, exception=None, fields=None, traceparent=None, server=None, /)",
        c"logs lines for the request that this thread serves, or else for a server; message, exception and fields are what the entry has as an object of JSON.",
        records::log,
    ),
    function!(
        c"_logs_objects()",
        c"may there be entries of the log that are objects of JSON?",
        |cx, _| options::may_log_objects().into_bound_py_any(cx.py),
    ),
    function!(
        c"_own_directory()",
        c"gives this thread a working directory of its own (unshare); False where that cannot be.",
        |cx, _| host::own_directory().into_bound_py_any(cx.py),
    ),
    function!(
        c"_initial_environment()",
        c"a dict of bytes, what the child's environment was before Python ran in it.",
        |cx, _| {
            let variables = PyDict::new(cx.py);
            for (name, value) in lifecycle::initial_environment() {
                let value = PyBytes::new(cx.py, value.as_bytes());
                variables.set_item(PyBytes::new(cx.py, name.as_bytes()), value)?;
            }
            Ok(variables.into_any())
        },
    ),
    function!(
        c"_interpreters()",
        c"(pid, name, gil, made, milliseconds, requests, errors, tasks, websockets, detached, lag) of each interpreter of all children.",
        |cx, _| {
            let list = PyList::empty(cx.py);
            for one in scoreboard::entries() {
                let gil = if one.own_gil { Gil::Own } else { Gil::Shared };
                let [tasks, websockets, detached] = one.gauges;
                let (made, took) = (one.made, one.milliseconds);
                let row = (one.pid, one.name, gil.word(), made, took, one.requests, one.errors);
                let row = row.into_pyobject(cx.py)?;
                list.append(row.add((tasks, websockets, detached, one.lag))?)?;
            }
            Ok(list.into_any())
        },
    ),
];

/// Adds the constants whose values come from httpd's headers.
pub(super) fn constants(module: &Bound<'_, PyModule>) -> PyResult<()> {
    for (name, value) in host::CONSTANTS {
        module.setattr(*name, *value)?;
    }
    Ok(())
}

fn log_error<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let level = i32::try_from(args.integer_or(1, 0)?).unwrap_or(0);
    let given = args.get(2).filter(|server| !server.is_none());
    let message = args.required(0)?;
    let level = if level == 0 {
        log::Level::Error as i32
    } else {
        level
    };
    if message.is_none() {
        return Ok(cx.py.None().into_bound(cx.py));
    }
    let message = text::message(&message)?;
    match given {
        Some(server) => {
            let server = class::payload::<Server>(cx, &server).ok_or_else(|| {
                PyTypeError::new_err("log_error() needs a server object as its third argument")
            })?;
            server.log(cx, level, &message)?;
        }
        None => log_for(cx, host::Server::main(), level, &message),
    }
    Ok(cx.py.None().into_bound(cx.py))
}

/// Registers what is called at the child's end, in the interpreter that calls this: the callable is its object. The first argument,
/// which names an interpreter in mod_python 3.5, is not needed.
fn register_cleanup<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let error = PyValueError::new_err;
    if class::payload::<Server>(cx, &args.required(1)?).is_none() {
        return Err(error("second argument must be a server object"));
    }
    let callable = args.required(2)?;
    if !callable.is_callable() {
        return Err(error("third argument must be a callable object"));
    }
    cx.apache()?
        .getattr("register_cleanup")?
        .call1((callable, args.get(3)))
}

fn stat<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let path = text::Encoding::Utf8.encode(&args.required(0)?)?;
    let wanted = usize::try_from(class::integer(&args.required(1)?)?).unwrap_or(0);
    let found = cx.detached((path.as_c_str(), wanted), |(path, wanted)| {
        file::stat(path, i32::try_from(wanted).unwrap_or(0))
    });
    match found {
        Ok(info) => finfo::object(cx, info),
        Err(number) => Err(PyOSError::new_err((number, "apr_stat() failed"))),
    }
}

fn config_tree<'py>(cx: Cx<'py>, _: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let nodes = configuration_tree(
        &mut |name, arguments, inside| -> PyResult<Vec<Object<'py>>> {
            let text = |text: &CStr| text::Encoding::Utf8.decode(cx.py, text.to_bytes());
            let mut found = vec![(text(name)?, text(arguments)?).into_bound_py_any(cx.py)?];
            if let Some(inside) = inside {
                found.push(flat(cx, inside)?);
            }
            Ok(found)
        },
    );
    flat(cx, nodes)
}

/// Makes one list of directives: each is one item, or two where others stand inside it.
fn flat<'py>(cx: Cx<'py>, nodes: Vec<PyResult<Vec<Object<'py>>>>) -> PyResult<Object<'py>> {
    let all = PyList::empty(cx.py);
    for node in nodes {
        for item in node? {
            all.append(item)?;
        }
    }
    Ok(all.into_any())
}
