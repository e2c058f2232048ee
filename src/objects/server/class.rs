//! `mp_server`: the main server or a virtual host.

use super::payload::{Server, listed};
use crate::config::{Common, ModPython};
use crate::embed::cell::Ref;
use crate::embed::class::{self, Args, Attribute, Class, Key, Method, This, method};
use crate::embed::text::{self, Encoding, Text};
use crate::embed::{Cx, PerInterpreter, capsule};
use crate::httpd::request::server::{Server as ServerRec, generation, restart_time};
use crate::objects::logging::log_arguments;
use crate::objects::request::payload::Request;
use crate::objects::table::Table;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustc_hash::FxHashMap;
use std::ffi::CStr;
use std::sync::{Mutex, PoisonError};

type Object<'py> = Bound<'py, PyAny>;

impl Class for Server {
    const NAME: &'static CStr = c"mp_server";
    const DOC: &'static CStr = c"A server or virtual host of httpd (server_rec).";
    const DICT: bool = true;
    const ATTRIBUTES: &'static [Attribute<Self>] = &[
        Attribute::read_only(
            c"next",
            c"The next server in httpd's list, or None.",
            |this| {
                let next = this.with(|server| server.next().and_then(ServerRec::in_child))?;
                listed(this.cx, next)
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
            |this| this.give(|server| server.defn_line_number()),
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
            this.give(|server| server.port())
        }),
        Attribute::read_only(c"error_fname", c"ErrorLog.", |this| {
            this.text(|server| server.error_fname())
        }),
        Attribute::read_only(c"loglevel", c"LogLevel as a number (APLOG_*).", |this| {
            this.give(|server| server.loglevel())
        }),
        Attribute::read_only(c"is_virtual", c"1 for a virtual host.", |this| {
            this.give(|server| i32::from(server.is_virtual()))
        }),
        Attribute::read_only(c"timeout", c"Timeout, in seconds.", |this| {
            this.give(|server| server.timeout())
        }),
        Attribute::read_only(
            c"keep_alive_timeout",
            c"KeepAliveTimeout, in seconds.",
            |this| this.give(|server| server.keep_alive_timeout()),
        ),
        Attribute::read_only(c"keep_alive_max", c"MaxKeepAliveRequests.", |this| {
            this.give(|server| server.keep_alive_max())
        }),
        Attribute::read_only(c"keep_alive", c"KeepAlive, 0 or 1.", |this| {
            this.give(|server| server.keep_alive())
        }),
        Attribute::read_only(
            c"_server_rec",
            c"A capsule with the address of the server_rec, for extensions in C.",
            |this| {
                let address = this.with(|server| server.address())?;
                capsule(this.cx, address)
            },
        ),
        Attribute::read_only(c"pathlen", c"The length of ServerPath.", |this| {
            this.give(|server| server.pathlen())
        }),
        Attribute::read_only(c"names", c"ServerAlias without wild cards.", |this| {
            this.texts(|server| server.names())
        }),
        Attribute::read_only(c"wild_names", c"ServerAlias with wild cards.", |this| {
            this.texts(|server| server.wild_names())
        }),
        Attribute::read_only(
            c"my_generation",
            c"How often httpd has been restarted.",
            |this| this.give(|_| generation()),
        ),
        Attribute::read_only(
            c"restart_time",
            c"When httpd was (re)started, in seconds since the epoch.",
            |this| this.give(|_| restart_time()),
        ),
        Attribute::read_only(c"path", c"ServerPath, or None.", |this| {
            this.text(|server| server.path())
        }),
        Attribute::read_only(c"limit_req_line", c"LimitRequestLine, in bytes.", |this| {
            this.give(|server| server.limit_req_line())
        }),
        Attribute::read_only(
            c"limit_req_fieldsize",
            c"LimitRequestFieldSize, in bytes.",
            |this| this.give(|server| server.limit_req_fieldsize()),
        ),
        Attribute::read_only(c"limit_req_fields", c"LimitRequestFields.", |this| {
            this.give(|server| server.limit_req_fields())
        }),
    ];
    const METHODS: &'static [Method<Self>] = &[
        method!(
            Server,
            c"get_config()",
            c"the interpreter's table of the directives that are set at server level.",
            get_config,
        ),
        method!(
            Server,
            c"get_options()",
            c"the interpreter's table of the PythonOption values at server level.",
            get_options,
        ),
        method!(
            Server,
            c"register_cleanup(req, callable, data=None, /)",
            c"calls callable(data) when the child ends.",
            register_cleanup
        ),
        method!(
            Server,
            c"log_error(message, level=0, /)",
            c"writes to the server's error log.",
            log_error,
        ),
    ];

    fn key() -> &'static Key<Self> {
        static KEY: Key<Server> = Key::new();
        &KEY
    }
}

impl<'py> This<'_, 'py, Server> {
    fn text(&self, field: for<'s> fn(&ServerRec<'s>) -> Option<&'s CStr>) -> PyResult<Object<'py>> {
        let text = self.with(move |server| field(&server).map(Text::from))?;
        Encoding::Utf8.copied(self.cx.py, text.as_ref())
    }

    fn texts(&self, field: for<'s> fn(ServerRec<'s>) -> Vec<&'s CStr>) -> PyResult<Object<'py>> {
        let texts: Vec<Text> =
            self.with(move |server| field(server).into_iter().map(Text::from).collect())?;
        let texts = texts
            .iter()
            .map(|text| Encoding::Utf8.copied(self.cx.py, Some(text)));
        let texts: PyResult<Vec<_>> = texts.collect();
        PyTuple::new(self.cx.py, texts?)?.into_bound_py_any(self.cx.py)
    }

    fn give<T: IntoPyObjectExt<'py> + 'static>(
        &self,
        field: fn(ServerRec<'_>) -> T,
    ) -> PyResult<Object<'py>> {
        self.with(field)?.into_bound_py_any(self.cx.py)
    }

    /// Gives the table of what is configured for the server (`get_config()`, `get_options()`). The interpreter keeps one for each
    /// server: whoever asks later sees what has been written to it. It changes nothing of httpd's configuration.
    fn table(
        &self,
        kind: TableOf,
        list: fn(&Common<'_>) -> Vec<(String, String)>,
    ) -> PyResult<Object<'py>> {
        let make = || {
            let pairs = self.with(move |server| list(&server.config::<ModPython>().common))?;
            class::instance(self.cx, Table::of_configuration(self.cx.py, pairs)?)
        };
        match &**self {
            Server::Listed(server) => {
                let key = (server.address().addr().get(), kind);
                kept_table(self.cx, key, make)
            }
            Server::OfRequest(_) => make(),
        }
    }
}

/// Which table of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum TableOf {
    Directives,
    Options,
}

/// What handlers see of httpd's servers, by their addresses.
static TABLES: PerInterpreter<Mutex<FxHashMap<(usize, TableOf), Ref>>> = PerInterpreter::new();

/// The table that the interpreter keeps for a server; made at first use.
fn kept_table<'py>(
    cx: Cx<'py>,
    key: (usize, TableOf),
    make: impl FnOnce() -> PyResult<Object<'py>>,
) -> PyResult<Object<'py>> {
    let tables = || TABLES.of(cx).lock().unwrap_or_else(PoisonError::into_inner);
    let found = tables().get(&key).map(|table| table.bind(cx.py));
    if let Some(found) = found {
        return Ok(found);
    }
    // Not under the lock: it may run code of Python's. Another thread may be quicker.
    let made = make()?;
    let mut all = tables();
    let kept = all.entry(key).or_insert_with(|| Ref::new(made.clone()));
    let kept = kept.bind(cx.py);
    drop(all);
    Ok(kept)
}

fn register_cleanup<'py>(
    this: This<'_, 'py, Server>,
    args: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
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

fn get_config<'py>(this: This<'_, 'py, Server>, _: Args<'_, 'py>) -> PyResult<Object<'py>> {
    this.table(TableOf::Directives, |common| {
        let directives = common.listed().into_iter();
        directives
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    })
}

fn get_options<'py>(this: This<'_, 'py, Server>, _: Args<'_, 'py>) -> PyResult<Object<'py>> {
    this.table(TableOf::Options, |common| {
        let options = common.options.iter();
        options
            .map(|&(key, value)| (key.into(), value.into()))
            .collect()
    })
}

fn log_error<'py>(this: This<'_, 'py, Server>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    log_arguments(&args, |level, message| {
        this.log(this.cx, level, &text::message(message)?)
    })?;
    Ok(this.cx.py.None().into_bound(this.cx.py))
}
