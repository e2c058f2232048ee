//! The methods of the request object, but for those in `body`.

use super::payload::{Object, Request};
use super::{actions, body};
use crate::config::{Directory, HANDLERS, ModPython};
use crate::embed::class::{self, Args, Method, This, method};
use crate::embed::text::{self, Encoding, Text};
use crate::httpd::log;
use crate::objects::logging::log_arguments;
use crate::objects::table::Table;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

pub(super) const METHODS: &[Method<Request>] = &[
    method!(
        Request,
        c"write(data, flush=1, /)",
        c"sends str (as UTF-8) or bytes. OSError when the client has gone.",
        body::write
    ),
    method!(
        Request,
        c"flush()",
        c"sends what has been written. OSError when the client has gone.",
        body::flush
    ),
    method!(
        Request,
        c"read(size=-1, /)",
        c"bytes of the request's body, b'' at its end. OSError when the client has gone.",
        body::read
    ),
    method!(
        Request,
        c"readline(size=-1, /)",
        c"one line of the request's body.",
        body::readline
    ),
    method!(
        Request,
        c"readlines(sizehint=-1, /)",
        c"the lines of the request's body as a list.",
        body::readlines
    ),
    method!(
        Request,
        c"log_error(message, level=0, /)",
        c"writes to the error log; a level of 0 is APLOG_ERR.",
        log_error
    ),
    method!(
        Request,
        c"get_config()",
        c"a table of the directives that are in effect.",
        |this, _| {
            this.memos.config.get(this.cx, || {
                configuration(&this, |config| {
                    let listed = config.common.listed().into_iter();
                    listed
                        .map(|(name, value)| (name.into(), value.into()))
                        .collect()
                })
            })
        }
    ),
    method!(
        Request,
        c"get_options()",
        c"a table of the PythonOption values that are in effect.",
        |this, _| {
            this.memos.options.get(this.cx, || {
                configuration(&this, |config| {
                    let set = config
                        .common
                        .options
                        .iter()
                        .filter(|(_, value)| !value.is_empty());
                    set.map(|&(key, value)| (key.into(), value.into()))
                        .collect()
                })
            })
        }
    ),
    method!(
        Request,
        c"set_content_length(length, /)",
        c"sets Content-Length.",
        |this, args| {
            let length = class::integer(&args.required(0)?)?;
            if length < 0 {
                return Err(PyValueError::new_err("a length cannot be negative"));
            }
            this.hold()?.request().set_content_length(length);
            Ok(this.none())
        }
    ),
    method!(
        Request,
        c"register_cleanup(callable, data=None, /)",
        c"calls callable(data) when the request ends.",
        |this, args| {
            let callable = args.required(0)?;
            if !callable.is_callable() {
                return Err(PyValueError::new_err(
                    "first argument must be a callable object",
                ));
            }
            let argument = args.get(1).unwrap_or_else(|| this.none());
            this.hold()?
                .value()
                .cleanups
                .add(this.cx, callable, argument);
            Ok(this.none())
        }
    ),
    method!(Request, c"document_root()", c"DocumentRoot.", |this, _| {
        this.text(|request| request.document_root())
    }),
    method!(Request, c"auth_type()", c"AuthType, or None.", |this, _| {
        this.text(|request| request.auth_type())
    }),
    method!(Request, c"auth_name()", c"AuthName, or None.", |this, _| {
        this.text(|request| request.auth_name())
    }),
    method!(
        Request,
        c"get_basic_auth_pw()",
        c"the password of HTTP Basic authentication, or None; sets user.",
        |this, _| this.latin1(|request| request.basic_auth_password())
    ),
    method!(
        Request,
        c"construct_url(uri, /)",
        c"scheme://host[:port]uri.",
        |this, args| {
            let uri = Encoding::Utf8.encode(&args.required(0)?)?;
            let held = this.hold()?;
            // UseCanonicalName DNS asks for the server's name.
            let url = this
                .cx
                .detached((held.request(), uri.as_c_str()), |(request, uri)| {
                    request.construct_url(uri.to_bytes())
                });
            let url = url.map(Text::from);
            drop(held);
            Encoding::Utf8.copied(this.cx.py, url.as_ref())
        }
    ),
    method!(
        Request,
        c"add_common_vars()",
        c"fills subprocess_env.",
        |this, _| actions::plain(this, |request| request.add_common_vars())
    ),
    method!(
        Request,
        c"add_handler(htype, handler, dir=None, /)",
        c"adds a handler to a phase of this request.",
        actions::add_handler
    ),
    method!(
        Request,
        c"internal_redirect(uri, /)",
        c"answers with another URI of this server.",
        actions::internal_redirect
    ),
    method!(
        Request,
        c"sendfile(path, offset=0, len=-1, /)",
        c"sends a file or a part of it; the number of bytes.",
        actions::sendfile
    ),
    method!(
        Request,
        c"discard_request_body()",
        c"reads the body and forgets it; OK or a status.",
        actions::discard_request_body
    ),
    method!(
        Request,
        c"allow_methods(methods, reset=0, /)",
        c"what the Allow header lists.",
        actions::allow_methods
    ),
    method!(
        Request,
        c"get_remote_host(type=1, str_is_ip=None, /)",
        c"the client's name or address.",
        actions::get_remote_host
    ),
    method!(
        Request,
        c"add_output_filter(name, /)",
        c"adds a filter to the answer.",
        actions::add_output_filter
    ),
    method!(
        Request,
        c"add_input_filter(name, /)",
        c"adds a filter to the request's body.",
        actions::add_input_filter
    ),
    method!(
        Request,
        c"register_output_filter(name, handler, dir=None, /)",
        c"a Python filter that add_output_filter can add.",
        actions::register_output_filter,
    ),
    method!(
        Request,
        c"register_input_filter(name, handler, dir=None, /)",
        c"a Python filter that add_input_filter can add.",
        actions::register_input_filter,
    ),
    method!(
        Request,
        c"update_mtime(seconds, /)",
        c"raises mtime if it is earlier.",
        actions::update_mtime
    ),
    method!(
        Request,
        c"add_cgi_vars()",
        c"fills subprocess_env as for a CGI program.",
        actions::add_cgi_vars
    ),
    method!(
        Request,
        c"meets_conditions()",
        c"OK, or 304 or 412.",
        actions::meets_conditions
    ),
    method!(
        Request,
        c"get_addhandler_exts()",
        c"the extensions that AddHandler maps to mod_python here, with spaces between.",
        |this, _| {
            let extensions = this.look(|held| held.request().extensions_for(&HANDLERS))?;
            extensions.join(" ").into_bound_py_any(this.cx.py)
        }
    ),
    method!(
        Request,
        c"set_etag()",
        c"sets ETag by the file.",
        |this, _| actions::plain(this, |request| request.set_etag())
    ),
    method!(
        Request,
        c"set_last_modified()",
        c"sets Last-Modified by mtime.",
        |this, _| actions::plain(this, |request| request.set_last_modified())
    ),
    method!(Request, c"is_https()", c"1 over TLS.", actions::is_https),
    method!(
        Request,
        c"ssl_var_lookup(name, /)",
        c"a variable of mod_ssl's, or None.",
        actions::ssl_var_lookup
    ),
    method!(
        Request,
        c"send_http_header()",
        c"does nothing; kept for old handlers.",
        |this, _| Ok(this.none())
    ),
];

fn configuration<'py>(
    this: &This<'_, 'py, Request>,
    list: fn(&Directory<'_>) -> Vec<(String, String)>,
) -> PyResult<Object<'py>> {
    let pairs = this.look(move |held| list(held.request().config::<ModPython>()))?;
    class::instance(this.cx, Table::of_configuration(this.cx.py, pairs)?)
}

fn log_error<'py>(this: This<'_, 'py, Request>, args: Args<'_, 'py>) -> PyResult<Object<'py>> {
    log_arguments(&args, |level, message| {
        let message = text::message(message)?;
        let held = this.hold()?;
        let entry = (level, message.as_slice(), this.cx.extra());
        this.cx.detached(
            (held.request(), entry),
            |(request, (level, message, extra))| {
                log::message(request, level, message, extra);
            },
        );
        Ok(())
    })?;
    Ok(this.none())
}
