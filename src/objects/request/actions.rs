//! Methods by which a handler has httpd act: handlers added, redirects, conditions, files sent.

use super::body::is_complete;
use super::payload::{Object, Request};
use crate::config::{Phase, parse_handlers};
use crate::embed::class::{self, Args, This};
use crate::embed::deadlines;
use crate::embed::text::{self, Encoding, Text};
use crate::exchange::{Exchange, write_failed};
use crate::httpd::io::file_part::{SentFile, Unsendable};
use crate::httpd::io::output::End;
use crate::httpd::log::Level;
use crate::httpd::request::Request as RequestRec;
use crate::httpd::request::file::canonical_directory;
use crate::httpd::status::Status;
use crate::objects::filter::GENERIC;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyIndexError, PyOSError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;

pub(super) fn add_handler<'py>(
    this: This<'_, 'py, Request>,
    args: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    let (name, handler) = (
        text_argument(&args, 0, "htype")?,
        text_argument(&args, 1, "handler")?,
    );
    let phase = Phase::from_directive(&name).filter(|&phase| phase != Phase::Cleanup);
    let phase = phase.ok_or_else(|| PyIndexError::new_err(format!("Invalid phase: {name}")))?;
    parse_handlers(&handler).map_err(PyValueError::new_err)?;
    let directory = directory_argument(&this, &args)?;
    let held = this.hold()?;
    Exchange::add_handler(&held, phase, &handler, directory);
    Ok(this.none())
}

/// Reads an optional directory, and makes it canonical.
fn directory_argument<'py>(
    this: &This<'_, 'py, Request>,
    args: &Args<'_, 'py>,
) -> PyResult<Option<String>> {
    let Some(directory) = args.get(2).filter(|directory| !directory.is_none()) else {
        return Ok(None);
    };
    let directory = Encoding::Utf8.encode(&directory)?;
    let held = this.hold()?;
    let given = (held.request(), directory.as_c_str());
    let canonical = this.cx.detached(given, |(request, directory)| {
        canonical_directory(request.pool(), directory)
    });
    let canonical = canonical.ok_or_else(|| PyValueError::new_err("not an absolute path"))?;
    Ok(Some(canonical.to_string_lossy().into_owned()))
}

fn text_argument(args: &Args<'_, '_>, place: usize, name: &str) -> PyResult<String> {
    let value = args.required(place)?;
    match value.cast::<PyString>() {
        Ok(text) => Ok(text::lossy(text)),
        Err(_) => Err(PyTypeError::new_err(format!("{name} must be a str"))),
    }
}

pub(super) fn internal_redirect<'py>(
    this: This<'_, 'py, Request>,
    args: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    let uri = Encoding::Utf8.encode(&args.required(0)?)?;
    let held = this.hold()?;
    if held.is_over() {
        return Err(PyRuntimeError::new_err("the request has been answered"));
    }
    Exchange::check_way_out(&held)?;
    drop(Exchange::input(&held)?);
    if is_complete(&held) {
        // The client would take a second answer, behind the first one's end, for that of its next request.
        let text = format!("the redirect to {uri:?} is left out: the request has been answered");
        this.cx.log(held.request(), Level::Info, &text);
        return Ok(this.none());
    }
    if held.value().output.borrow().is_pending() {
        Exchange::send(this.cx, &held, End::Open).map_err(write_failed)?;
    }
    let request = held.request();
    if request.has_begun_to_leave() && request.main().is_none() {
        request.refuse_error_pages(request.status());
    }
    // Handlers of what it is redirected to have deadlines of their own.
    let _paused = deadlines::pause();
    this.cx
        .detached((request, uri.as_c_str()), |(request, uri)| {
            request.internal_redirect(uri)
        });
    Ok(this.none())
}

pub(super) fn sendfile<'py>(
    this: This<'_, 'py, Request>,
    args: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    let path = Encoding::Utf8.encode(&args.required(0)?)?;
    let (offset, length) = (args.integer_or(1, 0)?, args.integer_or(2, -1)?);
    let held = this.hold()?;
    Exchange::check_way_out(&held)?;
    let opened = this
        .cx
        .detached((held.request(), path.as_c_str()), |(request, path)| {
            SentFile::open(request, path)
        });
    let file = opened.map_err(|unsendable| {
        PyOSError::new_err(match unsendable {
            Unsendable::Missing => "Could not stat file for reading",
            Unsendable::Unreadable => "Could not open file for reading",
            Unsendable::Irregular => "Only a regular file can be sent",
        })
    })?;
    let size = file.size();
    if !(0..=size).contains(&offset) {
        return Err(PyValueError::new_err("the offset lies outside the file"));
    }
    let length = if length < 0 {
        size - offset
    } else {
        length.min(size - offset)
    };
    if is_complete(&held) || length == 0 {
        return 0.into_bound_py_any(this.cx.py);
    }
    let busy = |_| PyRuntimeError::new_err("the answer is being written already");
    held.value()
        .output
        .try_borrow_mut()
        .map_err(busy)?
        .write_file(held.request(), file, offset, length);
    let full = held.value().output.borrow().is_full();
    if full {
        Exchange::send(this.cx, &held, End::Open).map_err(write_failed)?;
    }
    length.into_bound_py_any(this.cx.py)
}

pub(super) fn discard_request_body<'py>(
    this: This<'_, 'py, Request>,
    _: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    let held = this.hold()?;
    let Status(status) = if held.is_over() {
        Status::OK
    } else {
        drop(Exchange::input(&held)?);
        let _paused = deadlines::pause();
        this.cx
            .detached(held.request(), |request| request.discard_body())
    };
    drop(held);
    status.into_bound_py_any(this.cx.py)
}

pub(super) fn allow_methods<'py>(
    this: This<'_, 'py, Request>,
    args: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    let methods = args.required(0)?;
    let mut reset = args.integer_or(1, 0)? == 1;
    if !class::is_sequence(&methods) {
        return Err(PyTypeError::new_err("First argument must be a sequence"));
    }
    let mut names = Vec::new();
    for method in methods.try_iter()? {
        let method = Encoding::Latin1.encode(&method?)?;
        if !crate::httpd::request::header::is_name(method.as_bytes()) {
            return Err(PyValueError::new_err(
                "a method is a token of letters, digits and hyphens",
            ));
        }
        // For each name httpd looks through the whole list: many of them take much time.
        if names.len() == MOST_METHODS {
            return Err(PyValueError::new_err(format!(
                "more than {MOST_METHODS} methods"
            )));
        }
        names.push(method);
    }
    this.look(move |held| {
        for method in &names {
            let reset = std::mem::take(&mut reset);
            held.request().allow_method(method, reset);
        }
    })?;
    Ok(this.none())
}

/// How many methods `allow_methods` takes at once.
const MOST_METHODS: usize = 1000;

pub(super) fn get_remote_host<'py>(
    this: This<'_, 'py, Request>,
    args: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    const REMOTE_NAME: i64 = 1;
    let kind = usize::try_from(args.integer_or(0, REMOTE_NAME)?)
        .ok()
        .filter(|&kind| kind <= 3);
    let kind = kind.ok_or_else(|| PyValueError::new_err("the kind is one of apache.REMOTE_*"))?;
    let held = this.hold()?;
    let (host, is_ip) = this.cx.detached((held.request(), kind), |(request, kind)| {
        request.remote_host(i32::try_from(kind).unwrap_or_default())
    });
    let host = host.map(Text::from);
    drop(held);
    let host = Encoding::Utf8.copied(this.cx.py, host.as_ref())?;
    if args.get(1).is_some_and(|wanted| !wanted.is_none()) {
        return (host, i32::from(is_ip)).into_bound_py_any(this.cx.py);
    }
    Ok(host)
}

pub(super) fn add_output_filter<'py>(
    this: This<'_, 'py, Request>,
    args: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    add_filter(&this, &args, false)
}

pub(super) fn add_input_filter<'py>(
    this: This<'_, 'py, Request>,
    args: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    add_filter(&this, &args, true)
}

/// Adds a filter by a name that the request has registered, or one of httpd's; httpd warns about one that it does not know.
fn add_filter<'py>(
    this: &This<'_, 'py, Request>,
    args: &Args<'_, 'py>,
    input: bool,
) -> PyResult<Object<'py>> {
    let name = Encoding::Latin1.encode(&args.required(0)?)?;
    let held = this.hold()?;
    let request = held.request();
    if request.filters(input) >= MOST_FILTERS {
        return Err(PyRuntimeError::new_err(format!(
            "the request has {MOST_FILTERS} filters already"
        )));
    }
    if held.value().filters.has(&name.to_string_lossy(), input) {
        let name = name.to_string_lossy().to_lowercase();
        request.add_named_filter(GENERIC, request.pool().c_string(name.as_bytes()), input);
    } else if request.would_outlive_itself(&name, input) {
        return Err(PyRuntimeError::new_err(format!(
            "{name:?} is a filter of whole answers: add it to req.main"
        )));
    } else if input {
        request.add_input_filter(&name);
    } else {
        request.add_output_filter(&name);
    }
    if !input && held.value().cursor.phase() == Some(Phase::Content) && request.has_stand_in() {
        request.stand_in_root();
    }
    Ok(this.none())
}

/// How many filters an answer, or a body, may pass, httpd's own among them: each calls the next one, on the stack of one thread. A
/// Python filter that flushes takes 2.5 KB of it.
const MOST_FILTERS: usize = 100;

pub(super) fn register_output_filter<'py>(
    this: This<'_, 'py, Request>,
    args: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    register_filter(&this, &args, false)
}

pub(super) fn register_input_filter<'py>(
    this: This<'_, 'py, Request>,
    args: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    register_filter(&this, &args, true)
}

fn register_filter<'py>(
    this: &This<'_, 'py, Request>,
    args: &Args<'_, 'py>,
    input: bool,
) -> PyResult<Object<'py>> {
    let (name, handler) = (
        text_argument(args, 0, "name")?,
        text_argument(args, 1, "handler")?,
    );
    parse_handlers(&handler).map_err(PyValueError::new_err)?;
    let directory = directory_argument(this, args)?;
    let held = this.hold()?;
    held.value().filters.add(&name, input, &handler, directory);
    Ok(this.none())
}

pub(super) fn update_mtime<'py>(
    this: This<'_, 'py, Request>,
    args: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    let seconds: f64 = args.required(0)?.extract()?;
    if !seconds.is_finite() || seconds.abs() > 1e12 {
        return Err(PyValueError::new_err(
            "not a time in seconds since the epoch",
        ));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked above; whole seconds, as httpd compares them"
    )]
    let whole = seconds as i64;
    this.hold()?.request().update_mtime(whole * 1_000_000);
    Ok(this.none())
}

/// Sets the variables that CGI programs get, as ap_add_cgi_vars does, but for the sub-request by which that finds PATH_TRANSLATED:
/// here it is the path below DocumentRoot.
pub(super) fn add_cgi_vars<'py>(
    this: This<'_, 'py, Request>,
    _: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    let held = this.hold()?;
    let request = held.request();
    if let Some(env) = request.subprocess_env() {
        let (uri, path_info) = (
            request.uri().unwrap_or_default(),
            request.path_info().unwrap_or_default(),
        );
        let length = uri
            .to_bytes()
            .len()
            .saturating_sub(path_info.to_bytes().len());
        let script = request
            .pool()
            .c_string(uri.to_bytes().get(..length).unwrap_or_default());
        env.set(c"GATEWAY_INTERFACE", c"CGI/1.1");
        env.set(c"SERVER_PROTOCOL", request.protocol().unwrap_or_default());
        env.set(c"REQUEST_METHOD", request.method().unwrap_or_default());
        env.set(c"QUERY_STRING", request.args().unwrap_or_default());
        // REQUEST_URI is what the client has sent, with its query; this request may be an internal redirect.
        let first = std::iter::successors(Some(request), |request| request.prev()).last();
        let sent = first.and_then(RequestRec::unparsed_uri).unwrap_or(uri);
        env.set(c"REQUEST_URI", sent);
        env.set(c"SCRIPT_NAME", script);
        if !path_info.is_empty() {
            env.set(c"PATH_INFO", path_info);
            let root = request.document_root().unwrap_or_default();
            let path = [root.to_bytes(), path_info.to_bytes()].concat();
            env.set(c"PATH_TRANSLATED", request.pool().c_string(&path));
        }
    }
    // Detached, since httpd may look up the client's name.
    this.cx
        .detached(request, |request| request.add_common_vars());
    Ok(this.none())
}

/// The body of a method without arguments that calls a function of httpd's; detached, since that may look at files or ask for
/// names.
pub(super) fn plain<'py>(
    this: This<'_, 'py, Request>,
    action: for<'r> fn(RequestRec<'r>),
) -> PyResult<Object<'py>> {
    let held = this.hold()?;
    this.cx.detached(held.request(), action);
    Ok(this.none())
}

pub(super) fn meets_conditions<'py>(
    this: This<'_, 'py, Request>,
    _: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    let met = this.look(|held| held.request().meets_conditions().0)?;
    met.into_bound_py_any(this.cx.py)
}

pub(super) fn is_https<'py>(
    this: This<'_, 'py, Request>,
    _: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    let is_https = this.look(|held| held.request().is_https())?;
    i32::from(is_https).into_bound_py_any(this.cx.py)
}

pub(super) fn ssl_var_lookup<'py>(
    this: This<'_, 'py, Request>,
    args: Args<'_, 'py>,
) -> PyResult<Object<'py>> {
    let name = Encoding::Latin1.encode(&args.required(0)?)?;
    let value = this.look(move |held| held.request().ssl_variable(&name).map(Text::from))?;
    Encoding::Utf8.copied(this.cx.py, value.as_ref())
}

/// Reads a number that fits into a field of httpd's; `message` is the TypeError's.
pub(super) fn number_of(value: &Object<'_>, message: &'static str) -> PyResult<i32> {
    let number = class::integer(value).map_err(|error| {
        crate::embed::exception::discard(value.py(), error);
        PyTypeError::new_err(message)
    })?;
    i32::try_from(number).map_err(|_| PyValueError::new_err("the number is too large"))
}
