//! The attributes of the request object.

use super::actions::number_of;
use super::payload::{Object, Request};
use crate::config::Phase;
use crate::embed::capsule;
use crate::embed::class::{self, Attribute, This};
use crate::embed::text::{Encoding, Text};
use crate::httpd::apr::table::Table as AprTable;
use crate::httpd::request::{Request as RequestRec, header};
use crate::objects::connection::Connection;
use crate::objects::hlist::HandlerList;
use crate::objects::memo::{Memo, View};
use crate::objects::table::{Rules, Table};
use crate::objects::{finfo, server};
use crate::routing::shown_name;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::ffi::CStr;

type Read = for<'a, 'py> fn(This<'a, 'py, Request>) -> PyResult<Object<'py>>;

const fn fixed(
    name: &'static std::ffi::CStr,
    doc: &'static std::ffi::CStr,
    read: Read,
) -> Attribute<Request> {
    Attribute::read_only(name, doc, read)
}

pub(super) const ATTRIBUTES: &[Attribute<Request>] = &[
    fixed(
        c"connection",
        c"The connection it came by (mp_conn).",
        |this| {
            this.memos.connection.get(this.cx, || {
                class::instance(this.cx, Connection::of_request(this.lease.clone()))
            })
        },
    ),
    fixed(
        c"server",
        c"The server that answers it (mp_server).",
        |this| {
            this.memos.server.get(this.cx, || server::payload::of_request(this.cx, &this.lease))
        },
    ),
    fixed(
        c"next",
        c"The request that an internal redirect led to, or None.",
        |this| this.related(|request| request.next()),
    ),
    fixed(
        c"prev",
        c"The request that was redirected here, or None.",
        |this| this.related(|request| request.prev()),
    ),
    fixed(
        c"main",
        c"The request that this one is a sub-request of, or None.",
        |this| this.related(|request| request.main()),
    ),
    fixed(
        c"the_request",
        c"The request line, as it was sent.",
        |this| this.text(|request| request.the_request()),
    ),
    fixed(c"header_only", c"1 for HEAD.", |this| {
        this.number(|request| i64::from(request.header_only()))
    }),
    fixed(c"protocol", c"Such as HTTP/1.1.", |this| {
        this.text(|request| request.protocol())
    }),
    fixed(c"proto_num", c"Such as 1001 for HTTP/1.1.", |this| {
        this.number(|request| request.proto_num())
    }),
    fixed(
        c"hostname",
        c"The host that was asked for, without its port, or None.",
        |this| this.text(|request| request.hostname()),
    ),
    fixed(
        c"request_time",
        c"When it began, in seconds since the epoch.",
        |this| this.float(|request| request.request_time()),
    ),
    fixed(c"method", c"Such as GET.", |this| {
        this.text(|request| request.method())
    }),
    fixed(c"method_number", c"The method as a number (M_*).", |this| {
        this.number(|request| request.method_number())
    }),
    fixed(c"allowed", c"A bit mask of methods.", |this| {
        this.number(|request| request.allowed())
    }),
    fixed(
        c"sent_bodyct",
        c"Not 0 once the body has begun to leave.",
        |this| this.settled_number(|request| request.sent_bodyct()),
    ),
    fixed(
        c"bytes_sent",
        c"How many bytes of the body have left.",
        |this| this.settled_number(|request| request.bytes_sent()),
    ),
    fixed(
        c"mtime",
        c"When the resource changed, in seconds since the epoch.",
        |this| this.float(|request| request.mtime()),
    ),
    fixed(
        c"range",
        c"The Range that was asked for, or None.",
        |this| this.text(|request| request.range()),
    ),
    fixed(c"clength", c"The length of the answer, as set.", |this| {
        this.number(|request| request.clength())
    }),
    Attribute::new(
        c"chunked",
        c"1 when the answer is sent in chunks.",
        |this| this.number(|request| request.chunked()),
        |this, value| {
            let value = number_of(value, "chunked must be a integer")?;
            this.hold()?.request().set_chunked(value);
            Ok(())
        },
    ),
    fixed(
        c"remaining",
        c"How many bytes of the request's body are left to read.",
        |this| this.number(|request| request.remaining()),
    ),
    fixed(
        c"read_length",
        c"How many bytes of the request's body have been read.",
        |this| this.number(|request| request.read_length()),
    ),
    fixed(
        c"read_body",
        c"How httpd reads the body (REQUEST_*).",
        |this| this.number(|request| request.read_body()),
    ),
    fixed(
        c"read_chunked",
        c"1 when the body comes in chunks.",
        |this| this.number(|request| request.read_chunked()),
    ),
    fixed(
        c"expecting_100",
        c"1 when the client waits for 100 Continue.",
        |this| this.number(|request| request.expecting_100()),
    ),
    fixed(
        c"content_encoding",
        c"The answer's Content-Encoding, or None.",
        |this| this.latin1(|request| request.content_encoding()),
    ),
    fixed(
        c"vlist_validator",
        c"The variant list validator, or None.",
        |this| this.latin1(|request| request.vlist_validator()),
    ),
    fixed(
        c"unparsed_uri",
        c"The URI with its query, as it was sent.",
        |this| this.text(|request| request.unparsed_uri()),
    ),
    fixed(c"eos_sent", c"1 when the answer is complete.", |this| {
        this.settled_number(|request| request.eos_sent())
    }),
    Attribute::new(
        c"used_path_info",
        c"Whether path_info is accepted (AP_REQ_*_PATH_INFO).",
        |this| this.number(|request| request.used_path_info()),
        |this, value| {
            let value = number_of(value, "used_path_info must be an integer")?;
            this.hold()?.request().set_used_path_info(value);
            Ok(())
        },
    ),
    Attribute::new(
        c"no_cache",
        c"1 when the answer must not be cached.",
        |this| this.number(|request| request.no_cache()),
        |this, value| {
            let value = number_of(value, "no_cache must be an integer")?;
            this.hold()?.request().set_no_cache(value);
            Ok(())
        },
    ),
    Attribute::new(
        c"no_local_copy",
        c"1 when 304 must not be answered.",
        |this| this.number(|request| request.no_local_copy()),
        |this, value| {
            let value = number_of(value, "no_local_copy must be an integer")?;
            this.hold()?.request().set_no_local_copy(value);
            Ok(())
        },
    ),
    Attribute::new(
        c"proxyreq",
        c"What kind of proxy request it is (PROXYREQ_*).",
        |this| this.number(|request| request.proxyreq()),
        |this, value| {
            let value = number_of(value, "proxyreq must be an integer")?;
            this.hold()?.request().set_proxyreq(value);
            Ok(())
        },
    ),
    fixed(
        c"useragent_ip",
        c"The client's address; mod_remoteip may have found it.",
        |this| this.text(|request| request.useragent_ip()),
    ),
    fixed(
        c"useragent_addr",
        c"(address, port) of the client; mod_remoteip may have found it.",
        |this| {
            let (ip, port) = this.look(|held| {
                let (ip, port) = held.request().useragent_addr();
                (ip.map(Text::from), port)
            })?;
            let ip = Encoding::Utf8.copied(this.cx.py, ip.as_ref())?;
            (ip, port).into_bound_py_any(this.cx.py)
        },
    ),
    fixed(
        c"headers_in",
        c"The request's headers (mp_table).",
        |this| {
            table(&this, &this.memos.headers_in, Rules::Headers, |request| {
                request.headers_in()
            })
        },
    ),
    fixed(
        c"headers_out",
        c"The answer's headers (mp_table).",
        |this| {
            table(&this, &this.memos.headers_out, Rules::Response, |request| {
                request.headers_out()
            })
        },
    ),
    fixed(
        c"err_headers_out",
        c"Headers that errors and redirects carry too (mp_table).",
        |this| {
            table(&this, &this.memos.err_headers_out, Rules::Response, |request| {
                request.err_headers_out()
            })
        },
    ),
    fixed(
        c"subprocess_env",
        c"The environment for CGI and SSI (mp_table).",
        |this| {
            table(&this, &this.memos.subprocess_env, Rules::Environment, |request| {
                request.subprocess_env()
            })
        },
    ),
    fixed(c"notes", c"Notes between modules (mp_table).", |this| {
        table(&this, &this.memos.notes, Rules::Notes, |request| request.notes())
    }),
    fixed(
        c"parsed_uri",
        c"(scheme, hostinfo, user, password, hostname, port, path, query, fragment).",
        parsed_uri,
    ),
    fixed(
        c"interpreter",
        c"The name of the interpreter that runs this.",
        |this| {
            let interpreter = this.cx.interpreter;
            let name = this.look(move |held| String::from(shown_name(held.request(), interpreter)));
            name?.into_bound_py_any(this.cx.py)
        },
    ),
    fixed(
        c"phase",
        c"The directive of the running phase, or None.",
        |this| {
            let phase = this.hold()?.value().cursor.phase();
            phase
                .map(|phase| phase.directive())
                .into_bound_py_any(this.cx.py)
        },
    ),
    fixed(
        c"allowed_methods",
        c"The extension methods that are allowed.",
        |this| texts(&this, |request| request.allowed_methods()),
    ),
    fixed(
        c"allowed_xmethods",
        c"The extension methods of the resource.",
        |this| texts(&this, |request| request.allowed_xmethods()),
    ),
    fixed(c"content_languages", c"The answer's languages.", |this| {
        texts(&this, |request| request.content_languages())
    }),
    Attribute::new(
        c"finfo",
        c"What the file is (mp_finfo).",
        |this| {
            let info = this.hold()?.request().finfo();
            finfo::object(this.cx, info)
        },
        |this, value| {
            let info = class::payload::<finfo::FileInfo>(this.cx, value);
            let info = info.ok_or_else(|| PyTypeError::new_err("finfo must be a finfoobject"))?;
            this.hold()?.request().set_finfo(&info.0);
            Ok(())
        },
    ),
    fixed(
        c"hlist",
        c"The handlers of the running phase (mp_hlist), or None.",
        |this| {
            if this.hold()?.value().cursor.phase().is_none() {
                return Ok(this.none());
            }
            this.memos.handler_list.get(this.cx, || {
                class::instance(this.cx, HandlerList::of_request(this.lease.clone()))
            })
        },
    ),
    fixed(
        c"extension",
        c"The extension by which the handler was chosen, or None.",
        |this| {
            let extension = this.look(|held| held.value().cursor.extension());
            extension?.into_bound_py_any(this.cx.py)
        },
    ),
    fixed(
        c"_request_rec",
        c"A capsule with the address of the request_rec, for extensions in C; valid during the phase.",
        |this| {
            let address = this.address()?;
            capsule(this.cx, address)
        },
    ),
    fixed(
        c"_content_type_set",
        c"1 once content_type has been set.",
        |this| {
            let set = this.look(|held| held.value().content_type_set.get())?;
            i32::from(set).into_bound_py_any(this.cx.py)
        },
    ),
    fixed(
        c"_bytes_queued",
        c"How many bytes write() has been given.",
        |this| {
            let queued = this.look(|held| held.value().output.borrow().queued())?;
            queued.into_bound_py_any(this.cx.py)
        },
    ),
    Attribute::new(
        c"status",
        c"The status of the answer.",
        |this| this.number(|request| request.status()),
        |this, value| {
            let status = number(value)?;
            Ok(this.hold()?.request().set_status(status))
        },
    ),
    Attribute::new(
        c"assbackwards",
        c"1 for HTTP/0.9: no headers.",
        |this| this.number(|request| request.assbackwards()),
        |this, value| {
            let value = number(value)?;
            Ok(this.hold()?.request().set_assbackwards(value))
        },
    ),
    Attribute::new(
        c"status_line",
        c"The status line, such as '404 Gone fishing', or None.",
        |this| this.latin1(|request| request.status_line()),
        |this, value| {
            with_header_text(value, "status_line", |line| {
                Ok(this.hold()?.request().set_status_line(Some(line)))
            })
        },
    ),
    Attribute::new(
        c"content_type",
        c"The answer's Content-Type, or None.",
        |this| this.latin1(|request| request.content_type()),
        |this, value| {
            with_header_text(value, "content_type", |kind| {
                let held = this.hold()?;
                held.request().set_content_type(kind);
                Ok(held.value().content_type_set.set(true))
            })
        },
    ),
    Attribute::new(
        c"handler",
        c"The name of the handler that makes the content, or None.",
        |this| this.latin1(|request| request.handler()),
        |this, value| {
            let name = optional(value, |value| Encoding::Latin1.encode(value))?;
            Ok(this
                .hold()?
                .request()
                .set_handler(name.as_ref().map(|name| name.as_bytes())))
        },
    ),
    Attribute::new(
        c"user",
        c"The authenticated user, or None.",
        |this| this.latin1(|request| request.user()),
        |this, value| {
            let user = Encoding::Latin1.encode(value)?;
            Ok(this.hold()?.request().set_user(Some(user.as_bytes())))
        },
    ),
    Attribute::new(
        c"ap_auth_type",
        c"How the user was authenticated, or None.",
        |this| this.latin1(|request| request.ap_auth_type()),
        |this, value| {
            let kind = Encoding::Latin1.encode(value)?;
            Ok(this
                .hold()?
                .request()
                .set_ap_auth_type(Some(kind.as_bytes())))
        },
    ),
    Attribute::new(
        c"uri",
        c"The path of the URI.",
        |this| this.text(|request| request.uri()),
        |this, value| {
            let uri = Encoding::Utf8.encode(value)?;
            Ok(this.hold()?.request().set_uri(Some(uri.as_bytes())))
        },
    ),
    Attribute::new(
        c"filename",
        c"The file that the URI maps to, or None.",
        |this| this.text(|request| request.filename()),
        |this, value| {
            let name = optional(value, |value| Encoding::Utf8.encode(value))?;
            let held = this.hold()?;
            let request = held.request();
            let phase = held.value().cursor.phase();
            match name {
                Some(name) => request.set_filename(name.as_bytes()),
                // Before the URI has been mapped, no name means that somebody else has to map it. Afterwards httpd's other modules
                // rely on a name, so a stand-in takes its place.
                None if matches!(phase, Some(Phase::PostReadRequest | Phase::Translate)) => {
                    request.unmap();
                }
                None if request.is_unmapped() => {}
                None => request.stand_in(),
            }
            Ok(())
        },
    ),
    Attribute::new(
        c"canonical_filename",
        c"The file's true name, or None.",
        |this| this.text(|request| request.canonical_filename()),
        |this, value| {
            let name = optional(value, |value| Encoding::Utf8.encode(value))?;
            Ok(this
                .hold()?
                .request()
                .set_canonical_filename(name.as_ref().map(|name| name.as_bytes())))
        },
    ),
    Attribute::new(
        c"path_info",
        c"What follows the file in the URI, or None.",
        |this| this.text(|request| request.path_info()),
        |this, value| {
            let info = optional(value, |value| Encoding::Utf8.encode(value))?;
            Ok(this
                .hold()?
                .request()
                .set_path_info(info.as_ref().map(|info| info.as_bytes())))
        },
    ),
    Attribute::new(
        c"args",
        c"The query, or None.",
        |this| this.text(|request| request.args()),
        |this, value| {
            let args = optional(value, |value| Encoding::Utf8.encode(value))?;
            Ok(this
                .hold()?
                .request()
                .set_args(args.as_ref().map(|args| args.as_bytes())))
        },
    ),
];

fn table<'py>(
    this: &This<'_, 'py, Request>,
    memo: &Memo<View>,
    rules: Rules,
    find: for<'r> fn(RequestRec<'r>) -> Option<AprTable<'r>>,
) -> PyResult<Object<'py>> {
    memo.get(this.cx, || {
        class::instance(this.cx, Table::view(this.lease.clone(), rules, find))
    })
}

fn texts<'py>(
    this: &This<'_, 'py, Request>,
    field: for<'r> fn(RequestRec<'r>) -> Vec<&'r CStr>,
) -> PyResult<Object<'py>> {
    let texts: Vec<Text> = this.look(move |held| {
        let texts = field(held.request()).into_iter();
        texts.map(Text::from).collect()
    })?;
    let texts = texts
        .iter()
        .map(|text| Encoding::Latin1.copied(this.cx.py, Some(text)));
    let texts: PyResult<Vec<_>> = texts.collect();
    PyTuple::new(this.cx.py, texts?)?.into_bound_py_any(this.cx.py)
}

fn parsed_uri<'py>(this: This<'_, 'py, Request>) -> PyResult<Object<'py>> {
    let (texts, port) = this.look(|held| {
        let (texts, port) = held.request().parsed_uri();
        (texts.map(|text| text.map(Text::from)), port)
    })?;
    let [
        scheme,
        hostinfo,
        user,
        password,
        hostname,
        path,
        query,
        fragment,
    ] = &texts;
    let text = |text: &Option<Text>| Encoding::Utf8.copied(this.cx.py, text.as_ref());
    (
        text(scheme)?,
        text(hostinfo)?,
        text(user)?,
        text(password)?,
        text(hostname)?,
        port,
        text(path)?,
        text(query)?,
        text(fragment)?,
    )
        .into_bound_py_any(this.cx.py)
}

fn number(value: &Object<'_>) -> PyResult<i32> {
    i32::try_from(class::integer(value)?)
        .map_err(|_| PyValueError::new_err("the number is too large"))
}

fn optional<T>(
    value: &Object<'_>,
    convert: impl FnOnce(&Object<'_>) -> PyResult<T>,
) -> PyResult<Option<T>> {
    if value.is_none() {
        Ok(None)
    } else {
        convert(value).map(Some)
    }
}

/// Calls `body` with the bytes of text that may become part of the answer's head.
fn with_header_text(
    value: &Object<'_>,
    name: &str,
    body: impl FnOnce(&[u8]) -> PyResult<()>,
) -> PyResult<()> {
    if value.is_none() {
        return Err(PyTypeError::new_err(format!("{name} cannot be None")));
    }
    Encoding::Latin1.with(value, |text| {
        if header::is_value(text) {
            body(text)
        } else {
            Err(PyValueError::new_err(format!(
                "{name} holds a control character"
            )))
        }
    })
}
