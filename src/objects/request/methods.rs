//! The methods of the request object, but for those in `body`.

use super::{Kept, Object, Request, actions, body};
use crate::config::{Directory, HANDLERS, ModPython};
use crate::embed::class::{self, Args, Method, This};
use crate::embed::text::{self, Encoding, Text};
use crate::httpd::log;
use crate::httpd::request::Request as Host;
use crate::objects::functions::log_arguments;
use crate::objects::table::Table;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::ffi::CStr;

type M = Method<Request>;

pub(super) const METHODS: &[Method<Request>] = &[
    M::new(c"write", c"write(data, flush=1): sends str (as UTF-8) or bytes. OSError when the client has gone.", body::write),
    M::new(c"flush", c"flush(): sends what has been written. OSError when the client has gone.", body::flush),
    M::new(c"read", c"read(size=-1): bytes of the request's body, b'' at its end. OSError when the client has gone.", body::read),
    M::new(c"readline", c"readline(size=-1): one line of the request's body.", body::readline),
    M::new(c"readlines", c"readlines(sizehint=-1): the lines of the request's body as a list.", body::readlines),
    M::new(c"log_error", c"log_error(message, level=APLOG_ERR): writes to the error log.", log_error),
    M::new(c"get_config", c"get_config(): a table of the directives that are in effect.", |this, args| {
        args.count("get_config", 0..=0)?;
        this.kept(Kept::Config, || configuration(&this, |config| {
            let listed = config.common.listed().into_iter();
            listed.map(|(name, value)| (name.into(), value.into())).collect()
        }))
    }),
    M::new(c"get_options", c"get_options(): a table of the PythonOption values that are in effect.", |this, args| {
        args.count("get_options", 0..=0)?;
        this.kept(Kept::Options, || configuration(&this, |config| {
            let set = config.common.options.iter().filter(|(_, value)| !value.is_empty());
            set.map(|&(key, value)| (key.into(), value.into())).collect()
        }))
    }),
    M::new(c"set_content_length", c"set_content_length(length): sets Content-Length.", |this, args| {
        args.count("set_content_length", 1..=1)?;
        let length = class::integer(&args.required(0)?)?;
        if length < 0 {
            return Err(PyValueError::new_err("a length cannot be negative"));
        }
        this.hold()?.request().set_content_length(length);
        Ok(this.none())
    }),
    M::new(c"register_cleanup", c"register_cleanup(callable, data=None): calls callable(data) when the request ends.", |this, args| {
        args.count("register_cleanup", 1..=2)?;
        let callable = args.required(0)?;
        if !callable.is_callable() {
            return Err(PyValueError::new_err("first argument must be a callable object"));
        }
        let argument = args.get(1).unwrap_or_else(|| this.none());
        this.hold()?.value().cleanups.add(this.cx, callable, argument);
        Ok(this.none())
    }),
    M::new(c"document_root", c"document_root(): DocumentRoot.", |this, args| plain(this, args, "document_root", |request| request.document_root())),
    M::new(c"auth_type", c"auth_type(): AuthType, or None.", |this, args| plain(this, args, "auth_type", |request| request.auth_type())),
    M::new(c"auth_name", c"auth_name(): AuthName, or None.", |this, args| plain(this, args, "auth_name", |request| request.auth_name())),
    M::new(c"get_basic_auth_pw", c"get_basic_auth_pw(): the password of HTTP Basic authentication, or None; sets user.", |this, args| {
        args.count("get_basic_auth_pw", 0..=0)?;
        this.latin1(|request| request.basic_auth_password())
    }),
    M::new(c"construct_url", c"construct_url(uri): scheme://host[:port]uri.", |this, args| {
        args.count("construct_url", 1..=1)?;
        let uri = Encoding::Utf8.encode(&args.required(0)?)?;
        let held = this.hold()?;
        // Detached: with UseCanonicalName DNS httpd looks up the server's name.
        let url = this.cx.detached((held.request(), uri.as_c_str()), |(request, uri)| request.construct_url(uri.to_bytes()));
        let url = url.map(Text::from);
        drop(held);
        Encoding::Utf8.copied(this.cx.py, url.as_ref())
    }),
    M::new(c"add_common_vars", c"add_common_vars(): fills subprocess_env.", |this, args| actions::plain(this, args, "add_common_vars", |request| request.add_common_vars())),
    M::new(c"add_handler", c"add_handler(htype, handler, dir=None): adds a handler to a phase of this request.", actions::add_handler),
    M::new(c"internal_redirect", c"internal_redirect(uri): answers with another URI of this server.", actions::internal_redirect),
    M::new(c"sendfile", c"sendfile(path, offset=0, len=-1): sends a file or a part of it; the number of bytes.", actions::sendfile),
    M::new(c"discard_request_body", c"discard_request_body(): reads the body and forgets it; OK or a status.", actions::discard_request_body),
    M::new(c"allow_methods", c"allow_methods(methods, reset=0): what the Allow header lists.", actions::allow_methods),
    M::new(c"get_remote_host", c"get_remote_host(type=REMOTE_NAME, str_is_ip=None): the client's name or address.", actions::get_remote_host),
    M::new(c"add_output_filter", c"add_output_filter(name): adds a filter to the answer.", actions::add_output_filter),
    M::new(c"add_input_filter", c"add_input_filter(name): adds a filter to the request's body.", actions::add_input_filter),
    M::new(
        c"register_output_filter",
        c"register_output_filter(name, handler, dir=None): a Python filter that add_output_filter can add.",
        actions::register_output_filter,
    ),
    M::new(
        c"register_input_filter",
        c"register_input_filter(name, handler, dir=None): a Python filter that add_input_filter can add.",
        actions::register_input_filter,
    ),
    M::new(c"update_mtime", c"update_mtime(seconds): raises mtime if it is earlier.", actions::update_mtime),
    M::new(c"add_cgi_vars", c"add_cgi_vars(): fills subprocess_env as for a CGI program.", actions::add_cgi_vars),
    M::new(c"meets_conditions", c"meets_conditions(): OK, or 304 or 412.", actions::meets_conditions),
    M::new(c"get_addhandler_exts", c"get_addhandler_exts(): the extensions that AddHandler maps to mod_python here, with spaces between.", |this, args| {
        args.count("get_addhandler_exts", 0..=0)?;
        let extensions = this.look(|held| held.request().extensions_for(&HANDLERS))?;
        extensions.join(" ").into_bound_py_any(this.cx.py)
    }),
    M::new(c"set_etag", c"set_etag(): sets ETag by the file.", |this, args| actions::plain(this, args, "set_etag", |request| request.set_etag())),
    M::new(c"set_last_modified", c"set_last_modified(): sets Last-Modified by mtime.", |this, args| actions::plain(this, args, "set_last_modified", |request| request.set_last_modified())),
    M::new(c"is_https", c"is_https(): 1 over TLS.", actions::is_https),
    M::new(c"ssl_var_lookup", c"ssl_var_lookup(name): a variable of mod_ssl's, or None.", actions::ssl_var_lookup),
    M::new(c"send_http_header", c"send_http_header(): does nothing; kept for old handlers.", |this, args| {
        args.count("send_http_header", 0..=0)?;
        Ok(this.none())
    }),
];

fn plain<'py>(
    this: This<'_, 'py, Request>,
    args: Args<'_, 'py>,
    name: &str,
    field: for<'r> fn(Host<'r>) -> Option<&'r CStr>,
) -> PyResult<Object<'py>> {
    args.count(name, 0..=0)?;
    this.text(field)
}

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
        let entry = (level, message.as_slice());
        this.cx
            .detached((held.request(), entry), |(request, (level, message))| {
                log::raw(request, level, message);
            });
        Ok(())
    })?;
    Ok(this.none())
}
