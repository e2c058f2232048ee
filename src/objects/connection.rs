//! `mp_conn`: the connection that a request came by.

use super::hlist::HandlerList;
use super::logging::log_arguments;
use super::memo::{View, memos};
use super::refusal::hold;
use super::server::payload::listed;
use super::table::{Rules, Table};
use crate::embed::cell::Slot;
use crate::embed::class::{self, Args, Attribute, Class, Key, Method, This, method};
use crate::embed::text::{self, Encoding, Text};
use crate::embed::{Detachable, capsule, deadlines};
use crate::exchange::{Exchange, RequestLease};
use crate::httpd::io::connection::{Amount, Broken, Wire};
use crate::httpd::log;
use crate::httpd::request::connection::Connection as ConnRec;
use crate::httpd::request::lease::{Lease, OfConnection};
use crate::httpd::request::server::Server as ServerRec;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::ffi::CStr;
use std::sync::{Arc, Mutex};

/// A connection. It can be used as long as the request, or the connection handler's call, lives by which it was reached.
pub(crate) struct Connection {
    via: Via,
    wire: Mutex<Wire>,
    memos: Memos,
    /// The connection handler, as it is written.
    handler: Option<String>,
}

memos! {
    /// The objects that a connection's object gives, always the same ones.
    struct Memos {
        base_server: View,
        notes: View,
        hlist: View,
    }
}

/// How a connection was reached.
enum Via {
    /// A request that came by it.
    Request(RequestLease),
    /// A connection handler.
    Handler(ConnectionLease),
}

/// A connection as its handler holds it.
pub(crate) type ConnectionLease = Arc<Lease<OfConnection>>;

type Object<'py> = Bound<'py, PyAny>;

impl Connection {
    /// Makes the object of the connection that a request came by.
    pub(crate) fn of_request(lease: RequestLease) -> Connection {
        Connection {
            via: Via::Request(lease),
            wire: Mutex::default(),
            memos: Memos::default(),
            handler: None,
        }
    }

    /// Makes the object that a connection handler is called with.
    pub(crate) fn of_handler(lease: ConnectionLease, handler: &str) -> Connection {
        Connection {
            via: Via::Handler(lease),
            wire: Mutex::default(),
            memos: Memos::default(),
            handler: Some(handler.into()),
        }
    }
}

impl Class for Connection {
    const NAME: &'static CStr = c"mp_conn";
    const DOC: &'static CStr = c"A connection of httpd (conn_rec).";
    const ATTRIBUTES: &'static [Attribute<Self>] = &[
        Attribute::read_only(
            c"base_server",
            c"The server that accepted the connection.",
            |this| {
                this.memos.base_server.get(this.cx, || {
                    let server = this.with(|host| host.base_server().and_then(ServerRec::in_child))?;
                    listed(this.cx, server)
                })
            },
        ),
        Attribute::read_only(c"local_addr", c"(address, port) of this end.", |this| {
            this.address(|host| host.local_addr())
        }),
        Attribute::read_only(c"client_addr", c"(address, port) of the client.", |this| {
            this.address(|host| host.client_addr())
        }),
        Attribute::read_only(c"remote_addr", c"The same as client_addr.", |this| {
            this.address(|host| host.client_addr())
        }),
        Attribute::read_only(c"client_ip", c"The client's address.", |this| {
            this.text(|host| host.client_ip())
        }),
        Attribute::read_only(c"remote_ip", c"The same as client_ip.", |this| {
            this.text(|host| host.client_ip())
        }),
        Attribute::read_only(
            c"remote_host",
            c"The client's name, if it has been looked up.",
            |this| this.text(|host| host.remote_host()),
        ),
        Attribute::read_only(
            c"remote_logname",
            c"The client's name by RFC 1413, if it has been looked up.",
            |this| this.text(|host| host.remote_logname()),
        ),
        Attribute::read_only(c"local_ip", c"The address of this end.", |this| {
            this.text(|host| host.local_ip())
        }),
        Attribute::read_only(
            c"local_host",
            c"The name of this end, if it has been looked up.",
            |this| this.text(|host| host.local_host()),
        ),
        Attribute::read_only(c"aborted", c"1 when the client has gone.", |this| {
            this.number(|host| i64::from(host.aborted()))
        }),
        Attribute::read_only(
            c"double_reverse",
            c"Result of a double reverse look-up.",
            |this| this.number(|host| i64::from(host.double_reverse())),
        ),
        Attribute::read_only(
            c"keepalives",
            c"How many requests came by it before.",
            |this| this.number(|host| i64::from(host.keepalives())),
        ),
        Attribute::read_only(
            c"id",
            c"A number that no other connection has now.",
            |this| this.number(|host| host.id()),
        ),
        Attribute::new(
            c"keepalive",
            c"Whether the connection is kept (AP_CONN_*).",
            |this| this.number(|host| i64::from(host.keepalive())),
            |this, value| {
                let value = i32::try_from(class::integer(value)?)?;
                this.with(move |host| host.set_keepalive(value))
            },
        ),
        Attribute::read_only(
            c"notes",
            c"A table for modules to leave notes in.",
            |this| {
                this.memos.notes.get(this.cx, || match &this.via {
                    Via::Request(lease) => {
                        let notes = Table::view(lease.clone(), Rules::Notes, |request| {
                            request.connection().notes()
                        });
                        class::instance(this.cx, notes)
                    }
                    // The handler gets a table of its own: nobody else would look into it.
                    Via::Handler(_) => class::instance(this.cx, Table::own(Rules::Notes)?),
                })
            },
        ),
        Attribute::read_only(
            c"hlist",
            c"The handler list of a connection handler, else None.",
            |this| match &this.handler {
                Some(text) => this.memos.hlist.get(this.cx, || {
                    class::instance(this.cx, HandlerList::of_connection(text))
                }),
                None => Ok(this.cx.py.None().into_bound(this.cx.py)),
            },
        ),
        Attribute::read_only(
            c"_conn_rec",
            c"A capsule with the address of the conn_rec, for extensions in C; valid during the phase.",
            |this| {
                if let Via::Request(lease) = &this.via {
                    Exchange::wait_no_more(this.cx.py, &hold(this.cx.py, lease)?);
                }
                let address = this.with(|host| host.address())?;
                capsule(this.cx, address)
            },
        ),
    ];
    const METHODS: &'static [Method<Self>] = &[
        method!(
            Connection,
            c"log_error(message, level=0, /)",
            c"writes to the error log.",
            log_error,
        ),
        method!(
            Connection,
            c"read(size=0, /)",
            c"bytes as they come, at most size (0: 8192), -1 all; None at the end.",
            read,
        ),
        method!(
            Connection,
            c"readline(size=0, /)",
            c"one line; None at the end.",
            readline,
        ),
        method!(
            Connection,
            c"write(data, /)",
            c"sends str (as UTF-8) or bytes at once.",
            write,
        ),
    ];

    fn key() -> &'static Key<Self> {
        static KEY: Key<Connection> = Key::new();
        &KEY
    }

    fn references(&self, visit: &mut dyn FnMut(&Slot)) {
        self.memos.each(visit);
    }
}

impl<'py> This<'_, 'py, Connection> {
    /// Calls `body` with the connection. Python objects are made afterwards, of the copies that it gives (`Text`): making one may
    /// run any code.
    fn with<R: 'static>(&self, body: impl FnOnce(ConnRec<'_>) -> R + 'static) -> PyResult<R> {
        self.hold(|host| Ok(body(host)))
    }

    /// Calls `body` while this thread holds the connection; it may block.
    fn hold<R>(&self, body: impl FnOnce(ConnRec<'_>) -> PyResult<R>) -> PyResult<R> {
        let expired = |_| PyRuntimeError::new_err("connection object has expired");
        match &self.via {
            Via::Request(lease) => {
                let held = hold(self.cx.py, lease)?;
                // It writes to the client, reads, or changes the head.
                Exchange::settle(self.cx.py, &held);
                body(held.request().connection())
            }
            Via::Handler(lease) => body(lease.hold().map_err(expired)?.connection()),
        }
    }

    /// Refuses to read and write once the request has been answered: what comes by the connection next may be another request.
    fn check_use(&self) -> PyResult<()> {
        match &self.via {
            Via::Request(lease) if hold(self.cx.py, lease)?.is_over() => {
                Err(PyRuntimeError::new_err("the request has been answered"))
            }
            _ => Ok(()),
        }
    }

    /// Reads or writes without the interpreter's lock.
    fn wire<A: Detachable, R>(
        &self,
        with: A,
        body: fn((&mut Wire, (ConnRec<'_>, A))) -> Result<R, Broken>,
    ) -> PyResult<Result<R, Broken>> {
        self.check_use()?;
        self.hold(|host| {
            let busy =
                |_| PyRuntimeError::new_err("the connection is being read or written already");
            let mut wire = self.wire.try_lock().map_err(busy)?;
            let _paused = deadlines::pause();
            Ok(self.cx.detached((&mut *wire, (host, with)), body))
        })
    }

    fn text(&self, field: for<'r> fn(&ConnRec<'r>) -> Option<&'r CStr>) -> PyResult<Object<'py>> {
        let text = self.with(move |host| field(&host).map(Text::from))?;
        Encoding::Utf8.copied(self.cx.py, text.as_ref())
    }

    fn number(&self, field: for<'r> fn(&ConnRec<'r>) -> i64) -> PyResult<Object<'py>> {
        let number = self.with(move |host| field(&host))?;
        number.into_bound_py_any(self.cx.py)
    }

    fn address(
        &self,
        field: for<'r> fn(&ConnRec<'r>) -> (Option<&'r CStr>, u16),
    ) -> PyResult<Object<'py>> {
        let (ip, port) = self.with(move |host| {
            let (ip, port) = field(&host);
            (ip.map(Text::from), port)
        })?;
        let ip = Encoding::Utf8.copied(self.cx.py, ip.as_ref())?;
        (ip, port).into_bound_py_any(self.cx.py)
    }
}

fn log_error<'py>(this: This<'_, 'py, Connection>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    log_arguments(&args, |level, message| {
        let message = text::message(message)?;
        this.hold(|host| {
            this.cx.detached(
                (host, (level, message.as_slice(), this.cx.extra())),
                |(host, (level, message, extra))| {
                    log::message(host, level, message, extra);
                },
            );
            Ok(())
        })
    })?;
    Ok(this.cx.py.None().into_bound(this.cx.py))
}

fn read<'py>(this: This<'_, 'py, Connection>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    match args.integer_or(0, 0)? {
        size if size < 0 => given(
            &this,
            this.wire((), |(wire, (host, ()))| wire.read(host, Amount::All))?,
        ),
        size => {
            let size = if size == 0 {
                8192
            } else {
                usize::try_from(size).unwrap_or(8192)
            };
            given(
                &this,
                this.wire(size, |(wire, (host, size))| {
                    wire.read(host, Amount::UpTo(size))
                })?,
            )
        }
    }
}

fn readline<'py>(this: This<'_, 'py, Connection>, _: Args<'_, 'py>) -> PyResult<Object<'py>> {
    given(
        &this,
        this.wire((), |(wire, (host, ()))| wire.read(host, Amount::Line))?,
    )
}

fn given<'py>(
    this: &This<'_, 'py, Connection>,
    data: Result<Option<Vec<u8>>, Broken>,
) -> PyResult<Object<'py>> {
    match data {
        Ok(Some(data)) => Ok(PyBytes::new(this.cx.py, &data).into_any()),
        Ok(None) => Ok(this.cx.py.None().into_bound(this.cx.py)),
        Err(Broken) => Err(PyOSError::new_err("Connection read error")),
    }
}

fn write<'py>(this: This<'_, 'py, Connection>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    let data = text::copy(&args.required(0)?)?;
    let written = this.wire(data.as_slice(), |(wire, (host, data))| {
        wire.write(host, data)
    })?;
    written.map_err(|Broken| PyOSError::new_err("Connection write error"))?;
    Ok(this.cx.py.None().into_bound(this.cx.py))
}
