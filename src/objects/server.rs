//! `mp_server`: the main server or a virtual host.

use super::request::Request;
use super::table::{Rules, Table};
use crate::ModPython;
use crate::embed::class::{self, Args, Attribute, Class, Method, This};
use crate::embed::text::{self, Encoding};
use crate::embed::{Cx, capsule};
use crate::httpd::log;
use crate::httpd::server::{Server as Host, generation, restart_time};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::ffi::CStr;

/// A server; lives as long as the child.
pub(crate) struct Server(pub(crate) Host<'static>);

type Object<'py> = Bound<'py, PyAny>;

impl Class for Server {
    const NAME: &'static CStr = c"mp_server";
    const DOC: &'static CStr = c"A server or virtual host of httpd (server_rec).";
    const PLACE: usize = 1;
    const DICT: bool = true;
    const ATTRIBUTES: &'static [Attribute<Self>] = &[
        Attribute::read_only(
            c"next",
            c"The next server in httpd's list, or None.",
            |this| {
                this.0
                    .next()
                    .map(|server| object(this.cx, server))
                    .transpose()?
                    .into_bound_py_any(this.cx.py)
            },
        ),
        Attribute::read_only(
            c"defn_name",
            c"The configuration file that defines it.",
            |this| this.text(|server| server.defn_name()),
        ),
        Attribute::read_only(
            c"defn_line_number",
            c"The line where its definition begins.",
            |this| this.give(this.0.defn_line_number()),
        ),
        Attribute::read_only(c"server_admin", c"ServerAdmin.", |this| {
            this.text(|server| server.server_admin())
        }),
        Attribute::read_only(
            c"server_hostname",
            c"ServerName, without its port.",
            |this| this.text(|server| server.server_hostname()),
        ),
        Attribute::read_only(c"port", c"ServerName's port, or 0.", |this| {
            this.give(this.0.port())
        }),
        Attribute::read_only(c"error_fname", c"ErrorLog.", |this| {
            this.text(|server| server.error_fname())
        }),
        Attribute::read_only(c"loglevel", c"LogLevel as a number (APLOG_*).", |this| {
            this.give(this.0.loglevel())
        }),
        Attribute::read_only(c"is_virtual", c"1 for a virtual host.", |this| {
            this.give(i32::from(this.0.is_virtual()))
        }),
        Attribute::read_only(c"timeout", c"Timeout, in seconds.", |this| {
            this.give(this.0.timeout())
        }),
        Attribute::read_only(
            c"keep_alive_timeout",
            c"KeepAliveTimeout, in seconds.",
            |this| this.give(this.0.keep_alive_timeout()),
        ),
        Attribute::read_only(c"keep_alive_max", c"MaxKeepAliveRequests.", |this| {
            this.give(this.0.keep_alive_max())
        }),
        Attribute::read_only(c"keep_alive", c"KeepAlive, 0 or 1.", |this| {
            this.give(this.0.keep_alive())
        }),
        Attribute::read_only(
            c"_server_rec",
            c"A capsule with the address of the server_rec, for extensions in C.",
            |this| capsule(this.cx, this.0.address()),
        ),
        Attribute::read_only(c"pathlen", c"The length of ServerPath.", |this| {
            this.give(this.0.pathlen())
        }),
        Attribute::read_only(c"names", c"ServerAlias without wild cards.", |this| {
            this.texts(this.0.names())
        }),
        Attribute::read_only(c"wild_names", c"ServerAlias with wild cards.", |this| {
            this.texts(this.0.wild_names())
        }),
        Attribute::read_only(
            c"my_generation",
            c"How often httpd has been restarted.",
            |this| this.give(generation()),
        ),
        Attribute::read_only(
            c"restart_time",
            c"When httpd was (re)started, in seconds since the epoch.",
            |this| this.give(restart_time()),
        ),
        Attribute::read_only(c"path", c"ServerPath, or None.", |this| {
            this.text(|server| server.path())
        }),
        Attribute::read_only(c"limit_req_line", c"LimitRequestLine, in bytes.", |this| {
            this.give(this.0.limit_req_line())
        }),
        Attribute::read_only(
            c"limit_req_fieldsize",
            c"LimitRequestFieldSize, in bytes.",
            |this| this.give(this.0.limit_req_fieldsize()),
        ),
        Attribute::read_only(c"limit_req_fields", c"LimitRequestFields.", |this| {
            this.give(this.0.limit_req_fields())
        }),
    ];
    const METHODS: &'static [Method<Self>] = &[
        Method::new(
            c"get_config",
            c"get_config(): a table of the directives that are set at server level.",
            get_config,
        ),
        Method::new(
            c"get_options",
            c"get_options(): a table of the PythonOption values at server level.",
            get_options,
        ),
        Method::new(c"register_cleanup", c"register_cleanup(req, callable, data=None): calls callable(data) when the child ends.", register_cleanup),
        Method::new(
            c"log_error",
            c"log_error(message, level=0): writes to the server's error log.",
            log_error,
        ),
    ];
}

/// The Python object of a server.
///
/// # Errors
/// MemoryError.
pub(crate) fn object<'py>(cx: Cx<'py>, server: Host<'_>) -> PyResult<Object<'py>> {
    class::instance(cx, Server(server.in_child()))
}

impl<'py> This<'_, 'py, Server> {
    fn text(&self, field: for<'s> fn(&Host<'s>) -> Option<&'s CStr>) -> PyResult<Object<'py>> {
        Encoding::Utf8.optional(self.cx.py, field(&self.0))
    }

    fn texts(&self, texts: Vec<&CStr>) -> PyResult<Object<'py>> {
        let texts = texts
            .into_iter()
            .map(|text| Encoding::Utf8.decode(self.cx.py, text.to_bytes()));
        let texts: PyResult<Vec<_>> = texts.collect();
        PyTuple::new(self.cx.py, texts?)?.into_bound_py_any(self.cx.py)
    }

    fn give<T: IntoPyObjectExt<'py>>(&self, value: T) -> PyResult<Object<'py>> {
        value.into_bound_py_any(self.cx.py)
    }
}

fn register_cleanup<'py>(
    this: This<'_, 'py, Server>,
    args: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    args.count("register_cleanup", 2..=3)?;
    if class::payload::<Request>(this.cx, &args.required(0)?).is_none() {
        return Err(PyValueError::new_err(
            "first argument must be a request object",
        ));
    }
    let callable = args.required(1)?;
    if !callable.is_callable() {
        return Err(PyValueError::new_err(
            "second argument must be a callable object",
        ));
    }
    this.cx
        .apache()?
        .getattr("register_cleanup")?
        .call1((callable, args.get(2)))
}

fn get_config<'py>(this: This<'_, 'py, Server>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    args.count("get_config", 0..=0)?;
    let table = Table::own(Rules::Configuration)?;
    this.0
        .config::<ModPython>()
        .common
        .listed()
        .into_iter()
        .try_for_each(|(name, value)| table.put(this.cx.py, name, value))?;
    class::instance(this.cx, table)
}

fn get_options<'py>(this: This<'_, 'py, Server>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    args.count("get_options", 0..=0)?;
    let table = Table::own(Rules::Configuration)?;
    this.0
        .config::<ModPython>()
        .common
        .options
        .iter()
        .try_for_each(|(key, value)| table.put(this.cx.py, key, value))?;
    class::instance(this.cx, table)
}

fn log_error<'py>(this: This<'_, 'py, Server>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    super::functions::log_arguments(&args, |level, message| {
        let message = text::copy(message)?;
        this.cx.detached(
            (this.0, (level, message.as_slice())),
            |(server, (level, message))| {
                log::server_raw(Some(server), level, message);
            },
        );
        Ok(())
    })?;
    Ok(this.cx.py.None().into_bound(this.cx.py))
}
