//! A request's `environ`: the copy of the template, filled with what only this request has.

use super::names::{Header, Names};
use super::template::{ALWAYS, KEYS, Key, Memory, Template, of};
use crate::config::proxies::{Proxies, Told};
use crate::embed::cell::Ref;
use crate::embed::text::{Encoding, Known};
use crate::embed::{Cx, dict};
use crate::exchange::Exchange;
use crate::gateway::application::Mounted;
use crate::gateway::origin::{Origin, Said, hear};
use crate::gateway::request_headers::Kind;
use crate::httpd::request::Request as RequestRec;
use crate::httpd::request::lease::Held;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::ffi::CStr;

type Object<'py> = Bound<'py, PyAny>;

/// Up to how many bytes a header's value is remembered for the next request.
const SHORT: usize = 200;

/// Variables that no application gets to see: those of the process, and the password for a proxy. ap_add_common_vars may have put
/// them among the request's.
const HIDDEN: [&[u8]; 6] = [
    b"HTTP_PROXY_AUTHORIZATION",
    b"PATH",
    b"LD_LIBRARY_PATH",
    b"DYLD_LIBRARY_PATH",
    b"LIBPATH",
    b"SHLIB_PATH",
];

/// A request's environ, as `fill` has made it.
pub(super) struct Filled<'py> {
    pub(super) environ: Bound<'py, PyDict>,
    /// Do the headers announce a body?
    pub(super) has_body: bool,
}

/// Makes a request's `environ`.
///
/// # Errors
/// MemoryError.
pub(super) fn fill<'py>(
    cx: Cx<'py>,
    template: &Template,
    held: &Held<'_, Exchange>,
    mounted: &Mounted<'_>,
    proxies: Option<&Proxies>,
    request: &Object<'py>,
) -> PyResult<Filled<'py>> {
    let host = held.request();
    let mut memory = template.memory();
    let filling = Filling {
        cx,
        template,
        environ: template.copy(cx, memory.as_deref_mut(), host, mounted)?,
    };
    filling.object(Key::INPUT, request)?;
    filling.object(Key::REQUEST, request)?;
    let told = proxies.map(|proxies| hear(host, proxies));
    let has_body = filling.headers(host, memory.as_deref_mut(), told.as_ref())?;
    let said = filling.variables(host)?;
    filling.sometimes(host, mounted)?;
    if told.is_some() || said.is_some() {
        let (script, _) = mounted.split(of(host.uri()));
        let origin = Origin::find(host, said.unwrap_or_default(), told.as_ref());
        filling.origin(script, &origin)?;
    }
    Ok(Filled {
        environ: filling.environ,
        has_body,
    })
}

/// Corrects an environ once more is known of the request's body: sets CONTENT_LENGTH, where the length is known, and removes the
/// keys of headers that a filter has removed, since they were no longer true.
///
/// # Errors
/// MemoryError.
pub(super) fn settle(
    cx: Cx<'_>,
    template: &Template,
    environ: &Bound<'_, PyDict>,
    host: RequestRec<'_>,
    length: Option<usize>,
) -> PyResult<()> {
    let is_gone = |name| {
        host.headers_in()
            .is_none_or(|table| table.first(name).is_none())
    };
    match length {
        Some(length) => {
            let text = PyString::new(cx.py, &length.to_string());
            template.set(environ, Key::CONTENT_LENGTH, text.as_any())?;
        }
        None if is_gone(c"Content-Length") => template.remove(cx, environ, Key::CONTENT_LENGTH)?,
        None => {}
    }
    if is_gone(c"Content-Encoding") {
        template.remove(cx, environ, Key::CONTENT_ENCODING)?;
    }
    Ok(())
}

/// An environ while it is filled.
struct Filling<'a, 'py> {
    cx: Cx<'py>,
    template: &'a Template,
    environ: Bound<'py, PyDict>,
}

impl<'py> Filling<'_, 'py> {
    fn object(&self, key: Key, value: &Object<'py>) -> PyResult<()> {
        self.template.set(&self.environ, key, value)
    }

    fn bytes(&self, key: Key, value: &[u8]) -> PyResult<()> {
        self.object(key, &self.template.text(self.cx, value)?)
    }

    fn remove(&self, key: Key) -> PyResult<()> {
        self.template.remove(self.cx, &self.environ, key)
    }

    fn remembered(&self, last: &mut Option<Known>, value: &[u8]) -> PyResult<Object<'py>> {
        if let Some(last) = last
            && last.is(value)
        {
            return Ok(last.bind(self.cx.py));
        }
        let text = self.template.text(self.cx, value)?;
        if value.len() <= SHORT {
            *last = text.cast::<PyString>().ok().map(Known::new);
        }
        Ok(text)
    }

    fn optional(&self, key: Key, value: Option<&CStr>) -> PyResult<()> {
        value.map_or(Ok(()), |value| self.bytes(key, value.to_bytes()))
    }

    /// Adds the variables that SetEnv, mod_ssl and other modules have set. As for CGI programs they take the place of headers, but
    /// not of what the request itself says. Gives back those that say where the request came from (`Said`).
    fn variables(&self, host: RequestRec<'_>) -> PyResult<Option<Said>> {
        let mut said = None;
        let Some(table) = host.subprocess_env() else {
            return Ok(said);
        };
        for (name, value) in table.entries() {
            let (name, value) = (name.to_bytes(), of(value));
            let is_origin = name == b"HTTPS" || name == b"SERVER_PORT";
            if is_origin && said.get_or_insert_with(Said::default).hear(name, value) {
                continue;
            }
            let is_own = || KEYS.iter().take(ALWAYS).any(|key| key.as_bytes() == name);
            if !HIDDEN.contains(&name) && !is_own() && !host.is_stand_in(value) {
                let name = Encoding::Latin1.decode(self.cx.py, name)?;
                let value = self.template.text(self.cx, value)?;
                self.environ.set_item(name, value)?;
            }
        }
        Ok(said)
    }

    /// Adds the keys that only some requests have.
    fn sometimes(&self, host: RequestRec<'_>, mounted: &Mounted<'_>) -> PyResult<()> {
        self.optional(Key::REMOTE_USER, host.user())?;
        self.optional(Key::AUTH_TYPE, host.ap_auth_type())?;
        match mounted.file() {
            Some(file) => self.bytes(Key::FILENAME, file.as_bytes())?,
            None => self.optional(Key::FILENAME, host.filename())?,
        }
        // Where it is empty the template is right.
        let signature = host.signature().filter(|text| !text.is_empty());
        self.optional(Key::SIGNATURE, signature)?;
        let prefix = host.context_prefix().filter(|text| !text.is_empty());
        self.optional(Key::PREFIX, prefix)?;
        if let Some(before) = host.prev() {
            self.optional(Key::REDIRECT_URL, before.redirect_url())?;
            self.optional(Key::REDIRECT_QUERY, before.args())?;
        }
        Ok(())
    }

    /// Corrects scheme, port, host, SCRIPT_NAME and the client's address.
    fn origin(&self, script: &[u8], origin: &Origin<'_>) -> PyResult<()> {
        if let Some(https) = origin.is_https {
            self.bytes(Key::SCHEME, if https { b"https" } else { b"http" })?;
        }
        if origin.is_said_to_be_https {
            self.bytes(Key::HTTPS, b"on")?;
        }
        if let Some(port) = origin.port {
            self.bytes(Key::PORT, port.to_string().as_bytes())?;
        }
        if let Some(name) = origin.name {
            self.bytes(Key::NAME, name)?;
        }
        if let Some(host) = &origin.host {
            self.bytes(Key::HTTP_HOST, host)?;
        }
        if let Some(prefix) = origin.prefix {
            self.bytes(Key::SCRIPT, &[prefix, script].concat())?;
        }
        if let Some((address, port)) = origin.remote {
            self.bytes(Key::REMOTE_ADDR, address.to_string().as_bytes())?;
            match port {
                Some(port) => self.bytes(Key::REMOTE_PORT, port.to_string().as_bytes())?,
                None => self.remove(Key::REMOTE_PORT)?,
            }
        }
        Ok(())
    }

    /// Adds the request's headers. Is there one that announces a body?
    fn headers(
        &self,
        host: RequestRec<'_>,
        memory: Option<&mut Memory>,
        told: Option<&Told<'_>>,
    ) -> PyResult<bool> {
        let mut has_body = false;
        let Some(table) = host.headers_in() else {
            return Ok(has_body);
        };
        let mut own = Names::default();
        let known = memory.map_or(&mut own, |memory| &mut memory.headers);
        known.begin();
        for (name, value) in table.entries() {
            let (name, value) = (name.to_bytes(), of(value));
            let done = known.with(self.cx, name, |header| {
                has_body |= header.kind.announces_body();
                if header.kind.is_shown(host, name, told) {
                    self.header(header, value)
                } else {
                    Ok(())
                }
            });
            done.transpose()?;
        }
        Ok(has_body)
    }

    fn header(&self, header: &mut Header, value: &[u8]) -> PyResult<()> {
        let text = match header.kind {
            Kind::ContentType => return self.bytes(Key::CONTENT_TYPE, value),
            Kind::ContentLength => return self.bytes(Key::CONTENT_LENGTH, value),
            Kind::Steady => self.remembered(&mut header.last, value)?,
            _ => self.template.text(self.cx, value)?,
        };
        match dict::set_default(&self.environ, &header.key, &text)? {
            None => Ok(()),
            Some(before) => self.join(&header.key, &before, &text, header.kind),
        }
    }

    /// Joins the value of a header that has come before to the earlier one.
    fn join(
        &self,
        key: &Ref,
        before: &Object<'py>,
        text: &Object<'py>,
        kind: Kind,
    ) -> PyResult<()> {
        let separator = if kind == Kind::Cookie { "; " } else { ", " };
        let (before, text): (String, String) = (before.extract()?, text.extract()?);
        let joined = PyString::new(self.cx.py, &format!("{before}{separator}{text}"));
        dict::set(&self.environ, key, &joined)
    }
}
