//! `environ`: a template an interpreter, filled for each request. Keys are interned once; a header's key is made once.

use super::application::Place;
use super::{Object, interned};
use crate::embed::Cx;
use crate::embed::cell::Ref;
use crate::embed::text::Encoding;
use crate::httpd::gateway::server_banner;
use crate::httpd::lease::Held;
use crate::httpd::request::Request as Host;
use crate::httpd::server::mpm_query;
use crate::objects::exchange::Exchange;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use rustc_hash::FxHashMap;
use std::sync::{Mutex, PoisonError};

/// What is the same for every request, and the keys of what is not.
pub(super) struct Template {
    constants: Ref,
    keys: [Ref; KEYS.len()],
    http: Ref,
    https: Ref,
    empty: Ref,
    /// `HTTP_…` by the header's name as clients send it.
    headers: Mutex<FxHashMap<Box<[u8]>, Ref>>,
}

macro_rules! keys {
    ($($name:ident $text:literal),* $(,)?) => {
        #[derive(Clone, Copy)]
        #[expect(clippy::upper_case_acronyms, reason = "the names that PEP 3333 and RFC 3875 give them")]
        #[expect(non_camel_case_types, reason = "as above")]
        enum Key { $($name),* }
        const KEYS: &[&str] = &[$($text),*];
    };
}

keys! {
    METHOD "REQUEST_METHOD", SCRIPT "SCRIPT_NAME", PATH "PATH_INFO", QUERY "QUERY_STRING", URI "REQUEST_URI",
    NAME "SERVER_NAME", PORT "SERVER_PORT", PROTOCOL "SERVER_PROTOCOL", ADDR "SERVER_ADDR", SCHEME "wsgi.url_scheme",
    REQUEST_SCHEME "REQUEST_SCHEME", REMOTE_ADDR "REMOTE_ADDR", REMOTE_PORT "REMOTE_PORT", REMOTE_USER "REMOTE_USER",
    AUTH_TYPE "AUTH_TYPE", ROOT "DOCUMENT_ROOT", PREFIX "CONTEXT_PREFIX", CONTEXT_ROOT "CONTEXT_DOCUMENT_ROOT",
    INPUT "wsgi.input", REQUEST "mod_python.request", CONTENT_TYPE "CONTENT_TYPE", CONTENT_LENGTH "CONTENT_LENGTH",
}

/// At most so many header names are remembered: clients choose them.
const REMEMBERED: usize = 256;

/// What no application gets to see: the process's own, which ap_add_common_vars may have put there.
const HIDDEN: [&[u8]; 5] = [
    b"PATH",
    b"LD_LIBRARY_PATH",
    b"DYLD_LIBRARY_PATH",
    b"LIBPATH",
    b"SHLIB_PATH",
];

impl Template {
    pub(super) fn new(cx: Cx<'_>) -> PyResult<Template> {
        const IS_THREADED: i32 = 2;
        const IS_FORKED: i32 = 3;
        let constants = PyDict::new(cx.py);
        constants.set_item("wsgi.version", (1, 0))?;
        constants.set_item("wsgi.multithread", mpm_query(IS_THREADED) != 0)?;
        constants.set_item("wsgi.multiprocess", mpm_query(IS_FORKED) != 0)?;
        constants.set_item("wsgi.run_once", false)?;
        constants.set_item("wsgi.input_terminated", true)?;
        constants.set_item("wsgi.errors", cx.py.import("sys")?.getattr("stderr")?)?;
        constants.set_item("wsgi.file_wrapper", super::file_wrapper::class(cx)?)?;
        constants.set_item("mod_python.version", env!("CARGO_PKG_VERSION"))?;
        if let Some(banner) = server_banner() {
            let banner = Encoding::Latin1.decode(cx.py, banner.to_bytes())?;
            constants.set_item("SERVER_SOFTWARE", banner)?;
        }
        Ok(Template {
            constants: Ref::new(constants.into_any()),
            keys: std::array::from_fn(|place| {
                interned(cx, KEYS.get(place).copied().unwrap_or_default())
            }),
            http: interned(cx, "http"),
            https: interned(cx, "https"),
            empty: interned(cx, ""),
            headers: Mutex::default(),
        })
    }

    /// A new `environ`.
    ///
    /// # Errors
    /// MemoryError.
    pub(super) fn fill<'py>(
        &self,
        cx: Cx<'py>,
        held: &Held<'_, Exchange>,
        place: &Place,
        request: &Object<'py>,
    ) -> PyResult<Object<'py>> {
        let host = held.request();
        let constants = self.constants.bind(cx.py).cast_into::<PyDict>()?;
        let filling = Filling {
            cx,
            template: self,
            environ: constants.copy()?,
        };
        filling.variables(host)?;
        filling.request(host, place)?;
        filling.headers(host)?;
        filling.object(Key::INPUT, request)?;
        filling.object(Key::REQUEST, request)?;
        Ok(filling.environ.into_any())
    }
}

struct Filling<'a, 'py> {
    cx: Cx<'py>,
    template: &'a Template,
    environ: Bound<'py, PyDict>,
}

impl<'py> Filling<'_, 'py> {
    fn object(&self, key: Key, value: &Object<'py>) -> PyResult<()> {
        match self.template.keys.get(key as usize) {
            Some(key) => self.environ.set_item(key.bind(self.cx.py), value),
            None => Ok(()),
        }
    }

    fn bytes(&self, key: Key, value: &[u8]) -> PyResult<()> {
        if value.is_empty() {
            return self.object(key, &self.template.empty.bind(self.cx.py));
        }
        self.object(key, &Encoding::Latin1.decode(self.cx.py, value)?)
    }

    fn optional(&self, key: Key, value: Option<&std::ffi::CStr>) -> PyResult<()> {
        value.map_or(Ok(()), |value| self.bytes(key, value.to_bytes()))
    }

    fn number(&self, key: Key, value: u16) -> PyResult<()> {
        self.object(key, PyString::new(self.cx.py, &value.to_string()).as_any())
    }

    /// What SetEnv, mod_ssl and other modules have prepared.
    fn variables(&self, host: Host<'_>) -> PyResult<()> {
        let Some(table) = host.subprocess_env() else {
            return Ok(());
        };
        for (name, value) in table.entries() {
            let (name, value) = (name.to_bytes(), value.unwrap_or_default().to_bytes());
            if !HIDDEN.contains(&name) {
                let name = Encoding::Latin1.decode(self.cx.py, name)?;
                self.environ
                    .set_item(name, Encoding::Latin1.decode(self.cx.py, value)?)?;
            }
        }
        Ok(())
    }

    fn request(&self, host: Host<'_>, place: &Place) -> PyResult<()> {
        let uri = host.uri().unwrap_or_default().to_bytes();
        let (script, path) = uri.split_at_checked(place.base).unwrap_or((uri, b""));
        let connection = host.connection();
        self.optional(Key::METHOD, host.method())?;
        self.bytes(Key::SCRIPT, script)?;
        self.bytes(Key::PATH, path)?;
        self.bytes(Key::QUERY, host.args().unwrap_or_default().to_bytes())?;
        self.optional(Key::URI, host.original().unparsed_uri())?;
        self.optional(Key::NAME, host.server_name())?;
        self.number(Key::PORT, host.server_port())?;
        self.optional(Key::PROTOCOL, host.protocol())?;
        self.optional(Key::ADDR, connection.local_ip())?;
        let (address, port) = host.useragent_addr();
        self.optional(Key::REMOTE_ADDR, address)?;
        self.number(Key::REMOTE_PORT, port)?;
        self.optional(Key::REMOTE_USER, host.user())?;
        self.optional(Key::AUTH_TYPE, host.ap_auth_type())?;
        self.optional(Key::ROOT, host.document_root())?;
        self.optional(
            Key::PREFIX,
            host.context_prefix().filter(|text| !text.is_empty()),
        )?;
        self.optional(Key::CONTEXT_ROOT, host.context_document_root())?;
        let secure = host
            .scheme()
            .is_some_and(|scheme| scheme.to_bytes() == b"https");
        let scheme = if secure {
            &self.template.https
        } else {
            &self.template.http
        };
        let scheme = scheme.bind(self.cx.py);
        self.object(Key::SCHEME, &scheme)?;
        self.object(Key::REQUEST_SCHEME, &scheme)
    }

    /// The request's headers, each looked at once.
    fn headers(&self, host: Host<'_>) -> PyResult<()> {
        let Some(table) = host.headers_in() else {
            return Ok(());
        };
        let mut known = self
            .template
            .headers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // The names that this request has had.
        let mut seen: Vec<*mut pyo3::ffi::PyObject> = Vec::with_capacity(16);
        for (name, value) in table.entries() {
            let (name, value) = (name.to_bytes(), value.unwrap_or_default().to_bytes());
            if name.eq_ignore_ascii_case(b"content-type") {
                self.bytes(Key::CONTENT_TYPE, value)?;
                continue;
            }
            if name.eq_ignore_ascii_case(b"content-length") {
                self.bytes(Key::CONTENT_LENGTH, value)?;
                continue;
            }
            if !known.contains_key(name) {
                let Some(key) = variable(name) else { continue };
                if known.len() >= REMEMBERED {
                    known.clear();
                    seen.clear();
                }
                known.insert(name.into(), interned(self.cx, &key));
            }
            if name.eq_ignore_ascii_case(b"authorization") && !host.passes_authorization() {
                continue;
            }
            let Some(key) = known.get(name) else { continue };
            let text = Encoding::Latin1.decode(self.cx.py, value)?;
            let bound = key.bind(self.cx.py);
            if seen.contains(&bound.as_ptr()) {
                let separator = if name.eq_ignore_ascii_case(b"cookie") {
                    "; "
                } else {
                    ", "
                };
                let before: String = self
                    .environ
                    .get_item(&bound)?
                    .map_or(Ok(String::new()), |before| before.extract())?;
                let joined = format!("{before}{separator}{}", text.extract::<String>()?);
                self.environ.set_item(bound, joined)?;
            } else {
                seen.push(bound.as_ptr());
                self.environ.set_item(bound, text)?;
            }
        }
        Ok(())
    }
}

/// `HTTP_…` for a header; None for names that could be mistaken for others (`X_A` and `X-A`), and for Proxy (httpoxy).
fn variable(name: &[u8]) -> Option<String> {
    let clean = name
        .iter()
        .all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !clean || name.is_empty() || name.eq_ignore_ascii_case(b"proxy") {
        return None;
    }
    let mut key = String::with_capacity(name.len() + 5);
    key.push_str("HTTP_");
    key.extend(name.iter().map(|&byte| match byte {
        b'-' => '_',
        byte => char::from(byte.to_ascii_uppercase()),
    }));
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_headers() {
        assert_eq!(variable(b"X-Real-ip").as_deref(), Some("HTTP_X_REAL_IP"));
        for bad in [
            &b"X_Real_IP"[..],
            b"Proxy",
            b"proxy",
            b"",
            b"a b",
            b"a.b",
            b"\xe9",
        ] {
            assert_eq!(variable(bad), None, "{bad:?}");
        }
    }
}
