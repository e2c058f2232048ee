//! `scope`: what an application is told of a request before it receives anything.
//!
//! Names of headers are remembered up to a number, since a client chooses them; nothing else of one request is kept for another.

use super::gateway::GATEWAY;
use super::messages::interned;
use super::tls;
use crate::config::ModPython;
use crate::config::proxies::Told;
use crate::embed::cell::Ref;
use crate::embed::text::Encoding;
use crate::embed::{Cx, PerInterpreter};
use crate::exchange::Exchange;
use crate::gateway::application::Mounted;
use crate::gateway::memory;
use crate::gateway::origin::{Origin, Said, hear};
use crate::gateway::request_headers::{Kind, is_secret};
use crate::httpd::request::Request as Host;
use crate::httpd::request::lease::Held;
use pyo3::IntoPyObject;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use rustc_hash::FxHashMap;
use std::sync::{Mutex, PoisonError};

type Object<'py> = Bound<'py, PyAny>;

macro_rules! keys {
    ($($name:ident $text:literal),* $(,)?) => {
        struct Keys { $($name: Ref),* }

        impl Keys {
            fn new(cx: Cx<'_>) -> Keys {
                Keys { $($name: interned(cx, $text)),* }
            }
        }
    };
}

keys! {
    kind "type", http "http", websocket "websocket", asgi "asgi", version "version", version_3 "3.0",
    spec_version "spec_version", spec_2 "2.5", http_version "http_version", http_10 "1.0", http_11 "1.1", http_2 "2",
    method "method", get "GET", scheme "scheme", https "https", ws "ws", wss "wss", path "path", raw_path "raw_path",
    query_string "query_string", root_path "root_path", headers "headers", client "client", server "server",
    extensions "extensions", mod_python "mod_python", user "mod_python.user",
    subprotocols "subprotocols", denial "websocket.http.response", pathsend "http.response.pathsend", early_hint "http.response.early_hint", trailers "http.response.trailers", debug "http.response.debug", tls "tls",
}

/// What is kept in each interpreter.
struct Kept {
    keys: Keys,
    names: Mutex<FxHashMap<Box<[u8]>, Ref>>,
}

static KEPT: PerInterpreter<Kept> = PerInterpreter::new();

/// How many header names are remembered at most, and up to how many bytes.
const REMEMBERED: usize = 256;
const SHORT: usize = 64;

/// Why there is no scope.
pub(super) enum Failure {
    /// The path is no UTF-8.
    Path,
    Raised(PyErr),
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Failure {
        Failure::Raised(error)
    }
}

/// What an application is given of ours: the request's object, which there is already.
pub(super) fn ours<'py>(cx: Cx<'py>, request: &Object<'py>) -> PyResult<Object<'py>> {
    let ours = PyDict::new(cx.py);
    ours.set_item("request", request)?;
    Ok(ours.into_any())
}

/// Makes a request's scope, with what it is given of `ours`; with `subprotocols`, that of a WebSocket.
///
/// # Errors
/// Failure.
pub(super) fn scope<'py>(
    cx: Cx<'py>,
    held: &Held<'_, Exchange>,
    mounted: &Mounted<'_>,
    ours: &Object<'py>,
    subprotocols: Option<Vec<String>>,
) -> Result<Bound<'py, PyDict>, Failure> {
    let host = held.request();
    let kept = KEPT.get(cx, || {
        Ok::<_, PyErr>(Kept {
            keys: Keys::new(cx),
            names: Mutex::default(),
        })
    })?;
    let proxies = memory::proxies(cx, &GATEWAY, held)?;
    let told = proxies.as_deref().map(|proxies| hear(host, proxies));
    let keys = &kept.keys;
    let scope = PyDict::new(cx.py);
    let set = |key: &Ref, value: &Object<'py>| scope.set_item(key.bind(cx.py), value);
    let known = |key: &Ref, value: &Ref| scope.set_item(key.bind(cx.py), value.bind(cx.py));
    let is_socket = subprotocols.is_some();
    known(
        &keys.kind,
        if is_socket {
            &keys.websocket
        } else {
            &keys.http
        },
    )?;
    let asgi = PyDict::new(cx.py);
    asgi.set_item(keys.version.bind(cx.py), keys.version_3.bind(cx.py))?;
    asgi.set_item(keys.spec_version.bind(cx.py), keys.spec_2.bind(cx.py))?;
    set(&keys.asgi, &asgi)?;
    let version = match host.proto_num() {
        _ if host.is_http2() => &keys.http_2,
        1001.. => &keys.http_11,
        _ => &keys.http_10,
    };
    known(&keys.http_version, version)?;
    let origin = Origin::find(host, said(host), told.as_ref());
    let is_https = origin
        .is_https
        .unwrap_or_else(|| host.scheme().is_some_and(|scheme| scheme == c"https"));
    match subprotocols {
        Some(subprotocols) => {
            known(&keys.scheme, if is_https { &keys.wss } else { &keys.ws })?;
            set(
                &keys.subprotocols,
                PyList::new(cx.py, subprotocols)?.as_any(),
            )?;
        }
        None => {
            known(
                &keys.scheme,
                if is_https { &keys.https } else { &keys.http },
            )?;
            match host.method().map(std::ffi::CStr::to_bytes) {
                Some(b"GET") => known(&keys.method, &keys.get)?,
                method => {
                    let method = method.unwrap_or_default().to_ascii_uppercase();
                    set(&keys.method, &Encoding::Latin1.decode(cx.py, &method)?)?;
                }
            }
        }
    }
    paths(
        cx,
        keys,
        &scope,
        host,
        mounted,
        origin.prefix.unwrap_or_default(),
    )?;
    let query = host.args().map(std::ffi::CStr::to_bytes);
    set(
        &keys.query_string,
        PyBytes::new(cx.py, query.unwrap_or_default()).as_any(),
    )?;
    let headers = headers(cx, kept, host, told.as_ref(), origin.host.as_deref())?;
    set(&keys.headers, headers.as_any())?;
    addresses(cx, keys, &scope, host, &origin, told.as_ref())?;
    let extensions = PyDict::new(cx.py);
    extensions.set_item(keys.mod_python.bind(cx.py), ours)?;
    if let Some(tls) = tls::extension(cx, host)? {
        extensions.set_item(keys.tls.bind(cx.py), tls)?;
    }
    let offer = |key: &Ref| extensions.set_item(key.bind(cx.py), PyDict::new(cx.py));
    if is_socket {
        offer(&keys.denial)?;
    } else {
        offer(&keys.pathsend)?;
        if host.can_hint() {
            offer(&keys.early_hint)?;
        }
        if host.can_trail() {
            offer(&keys.trailers)?;
        }
        if may_debug(host) {
            offer(&keys.debug)?;
        }
    }
    set(&keys.extensions, &extensions)?;
    if let Some(user) = host.user() {
        set(&keys.user, &Encoding::Utf8.decode(cx.py, user.to_bytes())?)?;
    }
    Ok(scope)
}

/// May the application show what only a developer is to see (PythonDebug)?
pub(super) fn may_debug(host: Host<'_>) -> bool {
    host.config::<ModPython>().common.debug == Some(true)
}

/// What variables of httpd's say of where the request came from.
fn said(host: Host<'_>) -> Said {
    let mut said = Said::default();
    if let Some(table) = host.subprocess_env() {
        for (name, value) in table.entries() {
            said.hear(
                name.to_bytes(),
                value.map(std::ffi::CStr::to_bytes).unwrap_or_default(),
            );
        }
    }
    said
}

/// Sets `path`, which begins with `root_path`, and `raw_path`.
fn paths<'py>(
    cx: Cx<'py>,
    keys: &Keys,
    scope: &Bound<'py, PyDict>,
    host: Host<'_>,
    mounted: &Mounted<'_>,
    prefix: &[u8],
) -> Result<(), Failure> {
    let uri = host.uri().unwrap_or_default().to_bytes();
    let (root, _) = mounted.split(uri);
    let text = |bytes: &[u8]| {
        let joined;
        let bytes = if prefix.is_empty() {
            bytes
        } else {
            joined = [prefix, bytes].concat();
            &*joined
        };
        let text = std::str::from_utf8(bytes).map_err(|_| Failure::Path)?;
        Ok::<_, Failure>(PyString::new(cx.py, text))
    };
    scope.set_item(keys.path.bind(cx.py), text(uri)?)?;
    scope.set_item(keys.root_path.bind(cx.py), text(root)?)?;
    let raw = host.unparsed_uri().unwrap_or_default().to_bytes();
    scope.set_item(
        keys.raw_path.bind(cx.py),
        PyBytes::new(cx.py, raw_path(raw)),
    )?;
    Ok(())
}

/// The path of a request's target, as it was sent.
fn raw_path(target: &[u8]) -> &[u8] {
    let end = target.iter().position(|&byte| byte == b'?');
    let path = end.and_then(|end| target.get(..end)).unwrap_or(target);
    if path.starts_with(b"/") {
        return path;
    }
    // The absolute form, as proxies are asked: http://host/path.
    let authority = path.windows(3).position(|part| part == b"://");
    let rest = authority.and_then(|place| path.get(place + 3..));
    let slash = rest.and_then(|rest| rest.iter().position(|&byte| byte == b'/'));
    match (rest, slash) {
        (Some(rest), Some(slash)) => rest.get(slash..).unwrap_or_default(),
        (Some(_), None) => b"/",
        (None, _) => path,
    }
}

/// Sets `client` and `server`: the two ends of the connection, unless a trusted proxy says where the client is, and what it has asked for.
fn addresses<'py>(
    cx: Cx<'py>,
    keys: &Keys,
    scope: &Bound<'py, PyDict>,
    host: Host<'_>,
    origin: &Origin<'_>,
    told: Option<&Told<'_>>,
) -> PyResult<()> {
    let pair = |name: Object<'py>, port: u16| {
        PyTuple::new(cx.py, [name, port.into_pyobject(cx.py)?.into_any()])
    };
    let client = match origin.remote {
        Some((address, port)) => {
            let address = PyString::new(cx.py, &address.to_string());
            pair(address.into_any(), port.unwrap_or(0))?
        }
        None => {
            let (address, port) = host.useragent_addr();
            pair(
                Encoding::Latin1.decode(cx.py, address.unwrap_or_default().to_bytes())?,
                port,
            )?
        }
    };
    scope.set_item(keys.client.bind(cx.py), client)?;
    let (address, port) = host.connection().local_addr();
    let (name, port) = match origin.name {
        Some(name) => (name, origin.port.unwrap_or(port)),
        None => {
            let told = told.and_then(|told| told.port);
            (address.unwrap_or_default().to_bytes(), told.unwrap_or(port))
        }
    };
    let server = pair(Encoding::Latin1.decode(cx.py, name)?, port)?;
    scope.set_item(keys.server.bind(cx.py), server)
}

fn headers<'py>(
    cx: Cx<'py>,
    kept: &Kept,
    host: Host<'_>,
    told: Option<&Told<'_>>,
    named: Option<&[u8]>,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(cx.py);
    let Some(table) = host.headers_in() else {
        return Ok(list);
    };
    // The password that httpd itself has asked for is not the application's (as for CGI programs).
    let hides_password = host.ap_auth_type().is_some() && !host.passes_authorization();
    for (name, value) in table.entries() {
        let name = name.to_bytes();
        let mut value = value.map(std::ffi::CStr::to_bytes).unwrap_or_default();
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        let kind = Kind::of(name);
        let is_shown = match kind {
            Kind::Authorization => !hides_password,
            _ => kind.is_shown(host, name, told) && !is_secret(name),
        };
        if !is_shown {
            continue;
        }
        if let Some(named) = named
            && is(b"host")
        {
            value = named;
        }
        let value = PyBytes::new(cx.py, value).into_any();
        list.append(PyTuple::new(cx.py, [name_of(cx, kept, name), value])?)?;
    }
    Ok(list)
}

/// A header's name in lower case.
fn name_of<'py>(cx: Cx<'py>, kept: &Kept, name: &[u8]) -> Object<'py> {
    let lower = || PyBytes::new(cx.py, &name.to_ascii_lowercase()).into_any();
    if name.len() > SHORT {
        return lower();
    }
    let names = || kept.names.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names().get(name) {
        return known.bind(cx.py);
    }
    let lower = lower();
    let mut names = names();
    if names.len() < REMEMBERED {
        names.insert(name.into(), Ref::new(lower.clone()));
    }
    lower
}

#[cfg(test)]
mod tests {
    use super::{is_secret, raw_path};
    use crate::gateway::request_headers::Kind;
    use std::mem::discriminant;

    #[test]
    fn the_path_is_as_it_was_sent() {
        for (target, path) in [
            ("/a%20b?c=/d", "/a%20b"),
            ("/", "/"),
            ("http://host/a?b", "/a"),
            ("http://host", "/"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(raw_path(target.as_bytes()), path.as_bytes(), "{target}");
        }
    }

    /// A request's target, and in a second line a header's name.
    fn check(data: &[u8]) {
        let mut lines = data.splitn(2, |&byte| byte == b'\n');
        let target = lines.next().unwrap_or_default();
        let path = raw_path(target);
        assert!(!path.contains(&b'?'));
        let whole = target
            .split(|&byte| byte == b'?')
            .next()
            .unwrap_or_default();
        // A part of what was sent, up to its end, which begins with a slash unless there is none.
        assert!(whole.ends_with(path) || path == b"/");
        assert!(path.starts_with(b"/") || path == whole);
        assert!(!whole.starts_with(b"/") || path == whole);
        // How a client writes a name makes no difference: what is kept from applications is kept in any case.
        let name = lines.next().unwrap_or_default();
        for other in [name.to_ascii_lowercase(), name.to_ascii_uppercase()] {
            assert_eq!(is_secret(name), is_secret(&other));
            assert!(discriminant(&Kind::of(name)) == discriminant(&Kind::of(&other)));
        }
    }

    #[test]
    fn fuzzed() {
        crate::fuzz::run("scope", check);
    }
}
