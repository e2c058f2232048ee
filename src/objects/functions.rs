//! The functions and constants of `_apache`.

use crate::config::Gil;
use crate::config::directives::DIRECTIVES;
use crate::embed::Cx;
use crate::embed::class::{self, Args, Function};
use crate::embed::{lifecycle, tally, text};
use crate::httpd::actions::configuration_tree;
use crate::httpd::command::Context;
use crate::httpd::{file, log, server as host, streams};
use crate::objects::server::Server;
use crate::objects::{locks, query};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;

type Object<'py> = Bound<'py, PyAny>;

/// The functions of `_apache`.
pub(crate) static FUNCTIONS: &[Function] = &[
    Function::new(
        c"log_error",
        c"log_error(message, level=APLOG_ERR, server=None): writes to a server's error log.",
        log_error,
    ),
    Function::new(
        c"mpm_query",
        c"mpm_query(code): one of the MPM's numbers (AP_MPMQ_*); 0 where it does not know it.",
        |cx, args| {
            args.count("mpm_query", 1..=1)?;
            let code = i32::try_from(class::integer(&args.required(0)?)?).unwrap_or(-1);
            host::mpm_query(code).into_bound_py_any(cx.py)
        },
    ),
    Function::new(
        c"exists_config_define",
        c"exists_config_define(name): was -D name given to httpd?",
        |cx, args| {
            args.count("exists_config_define", 1..=1)?;
            let name = text::Encoding::Utf8.encode(&args.required(0)?)?;
            host::is_defined(&name).into_bound_py_any(cx.py)
        },
    ),
    Function::new(c"server_root", c"server_root(): ServerRoot.", |cx, args| {
        args.count("server_root", 0..=0)?;
        text::Encoding::Utf8.optional(cx.py, host::server_root())
    }),
    Function::new(
        c"main_server",
        c"main_server(): the main server (mp_server).",
        |cx, args| {
            args.count("main_server", 0..=0)?;
            super::server::listed(cx, host::Server::main())
        },
    ),
    Function::new(
        c"stat",
        c"stat(path, wanted): what a file is (mp_finfo). OSError.",
        stat,
    ),
    Function::new(
        c"config_tree",
        c"config_tree(): the configuration, nested lists of (directive, arguments).",
        config_tree,
    ),
    Function::new(
        c"register_cleanup",
        c"register_cleanup(interpreter, server, callable, data=None): calls callable(data) when the child ends.",
        register_cleanup,
    ),
    Function::new(
        c"parse_qs",
        c"parse_qs(query, keep_blank_values=0, strict_parsing=0): a dict of lists of values.",
        query::parse_qs,
    ),
    Function::new(
        c"parse_qsl",
        c"parse_qsl(query, keep_blank_values=0, strict_parsing=0): a list of (name, value).",
        query::parse_qsl,
    ),
    Function::new(
        c"_global_lock",
        c"_global_lock(server, key, index=-1): takes the lock that the key stands for; waits for it.",
        locks::lock,
    ),
    Function::new(
        c"_global_held",
        c"_global_held(server, key, index, function): calls the function while this thread has the lock.",
        locks::held,
    ),
    Function::new(
        c"_global_trylock",
        c"_global_trylock(server, key, index=-1): takes the lock if it is free.",
        locks::try_lock,
    ),
    Function::new(
        c"_global_unlock",
        c"_global_unlock(server, key, index=-1): gives the lock back.",
        locks::unlock,
    ),
    Function::new(
        c"_global_place",
        c"_global_place(key): the index of the lock that the key stands for.",
        locks::place_of,
    ),
    Function::new(
        c"_session_lock",
        c"_session_lock(req, key, seconds): takes a key's lock for the request that the client sent; how often it has it, 0: too late.",
        locks::session_lock,
    ),
    Function::new(
        c"_session_unlock",
        c"_session_unlock(req, key): gives it back once; how often the request still has it.",
        locks::session_unlock,
    ),
    Function::new(
        c"_stream_write",
        c"_stream_write(stream, data): standard output (0) or error (1); whole lines go to the error log.",
        |cx, args| {
            args.count("_stream_write", 2..=2)?;
            let data = text::message(&args.required(1)?)?;
            let stream = usize::try_from(args.integer_or(0, 1)?).unwrap_or(1);
            cx.detached((stream, data.as_slice()), |(stream, data)| streams::write(stream, data));
            data.len().into_bound_py_any(cx.py)
        },
    ),
    Function::new(
        c"_stream_flush",
        c"_stream_flush(stream): what has no line end yet goes to the error log, too.",
        |cx, args| {
            args.count("_stream_flush", 1..=1)?;
            let stream = usize::try_from(args.integer_or(0, 1)?).unwrap_or(1);
            cx.detached(stream, streams::flush);
            Ok(cx.py.None().into_bound(cx.py))
        },
    ),
    Function::new(
        c"_own_directory",
        c"_own_directory(): gives this thread a working directory of its own (unshare); False where that cannot be.",
        |cx, args| {
            args.count("_own_directory", 0..=0)?;
            host::own_directory().into_bound_py_any(cx.py)
        },
    ),
    Function::new(
        c"_initial_environment",
        c"_initial_environment(): a dict of bytes, what the child's environment was before Python ran in it.",
        |cx, args| {
            args.count("_initial_environment", 0..=0)?;
            let variables = PyDict::new(cx.py);
            for (name, value) in lifecycle::initial_environment() {
                let value = PyBytes::new(cx.py, value.as_bytes());
                variables.set_item(PyBytes::new(cx.py, name.as_bytes()), value)?;
            }
            Ok(variables.into_any())
        },
    ),
    Function::new(
        c"_directives",
        c"_directives(): (name, arguments, context, default, help) of every directive.",
        directives,
    ),
    Function::new(
        c"_interpreters",
        c"_interpreters(): (pid, name, gil, made, milliseconds, requests, errors) of each interpreter of all children.",
        |cx, args| {
            args.count("_interpreters", 0..=0)?;
            let list = PyList::empty(cx.py);
            for one in tally::entries() {
                let gil = if one.own_gil { Gil::Own } else { Gil::Shared };
                let counts = (one.made, one.milliseconds, one.requests, one.errors);
                list.append((one.pid, one.name, gil.word(), counts.0, counts.1, counts.2, counts.3))?;
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

/// The arguments of the `log_error` methods: message, level. A level of 0 is APLOG_ERR, a message of None nothing.
pub(super) fn log_arguments<'py>(
    args: &Args<'_, 'py>,
    write: impl FnOnce(i32, &Object<'py>) -> PyResult<()>,
) -> PyResult<()> {
    args.count("log_error", 1..=2)?;
    let level = i32::try_from(args.integer_or(1, 0)?).unwrap_or(0);
    let message = args.required(0)?;
    if message.is_none() {
        Ok(())
    } else {
        write(
            if level == 0 {
                log::Level::Error as i32
            } else {
                level
            },
            &message,
        )
    }
}

fn log_error<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    args.count("log_error", 1..=3)?;
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

/// Writes to a server's log, which may be a pipe that is full: detached.
pub(super) fn log_for(cx: Cx<'_>, server: Option<host::Server<'_>>, level: i32, message: &[u8]) {
    let entry = (level, message);
    cx.detached((server, entry), |(server, (level, message))| {
        log::server_raw(server, level, message);
    });
}

/// For the calling interpreter, whose object the callable is; upstream's first argument names it.
fn register_cleanup<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    args.count("register_cleanup", 3..=4)?;
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
    args.count("stat", 2..=2)?;
    let path = text::Encoding::Utf8.encode(&args.required(0)?)?;
    let wanted = usize::try_from(class::integer(&args.required(1)?)?).unwrap_or(0);
    let found = cx.detached((path.as_c_str(), wanted), |(path, wanted)| {
        file::stat(path, i32::try_from(wanted).unwrap_or(0))
    });
    match found {
        Ok(info) => super::finfo::object(cx, info),
        Err(number) => Err(PyOSError::new_err((number, "apr_stat() failed"))),
    }
}

fn config_tree<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    args.count("config_tree", 0..=0)?;
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

/// A directive is one item of the list, or two when others stand inside it.
fn flat<'py>(cx: Cx<'py>, nodes: Vec<PyResult<Vec<Object<'py>>>>) -> PyResult<Object<'py>> {
    let all = PyList::empty(cx.py);
    for node in nodes {
        for item in node? {
            all.append(item)?;
        }
    }
    Ok(all.into_any())
}

fn directives<'py>(cx: Cx<'py>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    args.count("_directives", 0..=0)?;
    let rows = DIRECTIVES.iter().map(|directive| {
        let context = match directive.context {
            Context::Server => "server, virtual host",
            Context::Section => "server, virtual host, section",
            Context::Everywhere => "server, virtual host, section, .htaccess",
        };
        let text = |text: &'static CStr| text.to_str().unwrap_or_default();
        (
            text(directive.name),
            directive.arguments,
            context,
            directive.default,
            text(directive.help),
        )
    });
    PyList::new(cx.py, rows)?.into_bound_py_any(cx.py)
}
