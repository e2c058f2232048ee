//! Where a request came from, and which URL was asked for, where a proxy in front or the configuration knows it better than the
//! connection to this server.

use super::environ::{Filling, Key};
use crate::config::proxies::{Told, number, split_host};
use crate::httpd::request::Request as Host;
use pyo3::prelude::*;

/// What variables of httpd's say of that (SetEnv, SetEnvIf, mod_ssl).
#[derive(Clone, Copy, Default)]
pub(super) struct Said {
    /// What HTTPS says.
    https: Option<bool>,
    /// What SERVER_PORT says.
    port: Option<u16>,
}

impl Said {
    /// Takes over what a variable says. Is it one of these, and its value to be understood?
    pub(super) fn hear(&mut self, name: &[u8], value: &[u8]) -> bool {
        match name {
            b"HTTPS" => {
                self.https = truth(value).or(self.https);
                truth(value).is_some()
            }
            b"SERVER_PORT" => {
                self.port = number(value);
                true
            }
            _ => false,
        }
    }
}

/// Reads `on`, `1`, `yes` and their opposites; None for anything else.
fn truth(value: &[u8]) -> Option<bool> {
    let is = |words: &[&str]| {
        words
            .iter()
            .any(|word| value.eq_ignore_ascii_case(word.as_bytes()))
    };
    match () {
        () if is(&["on", "1", "yes", "true", "https"]) => Some(true),
        () if is(&["off", "0", "no", "false", "http", ""]) => Some(false),
        () => None,
    }
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

impl Filling<'_, '_> {
    /// Corrects scheme, port, host, SCRIPT_NAME and the client's address in an environ. What a trusted proxy says (`told`) counts
    /// more than what the configuration says (`said`).
    pub(super) fn origin(
        &self,
        host: Host<'_>,
        script: &[u8],
        said: Said,
        told: Option<&Told<'_>>,
    ) -> PyResult<()> {
        let told_https = told.and_then(|told| told.https);
        let claimed = told_https.or(said.https);
        let connection = host.scheme().is_some_and(|scheme| scheme == c"https");
        let https = claimed.unwrap_or(connection);
        if https != connection {
            self.bytes(Key::SCHEME, if https { b"https" } else { b"http" })?;
        }
        if claimed == Some(true) {
            self.bytes(Key::HTTPS, b"on")?;
        }
        let told_host = told.and_then(|told| told.host);
        let named = told_host.map(split_host);
        let own = host.server_port();
        let derived = || {
            // Where the scheme was corrected and the URL names no port, it is that of the scheme.
            let open = if host.port_is_configured() {
                own == default_port(connection)
            } else {
                host.parsed_uri().1.is_none()
            };
            (https != connection && open).then(|| default_port(https))
        };
        let port = told
            .and_then(|told| told.port)
            .or(named.map(|(_, port)| port.unwrap_or_else(|| default_port(https))))
            .or(said.port.filter(|&port| port != own))
            .or_else(derived);
        if let Some(port) = port {
            self.bytes(Key::PORT, port.to_string().as_bytes())?;
        }
        match told {
            Some(told) => self.told(host, script, told, https),
            None => Ok(()),
        }
    }

    fn told(&self, host: Host<'_>, script: &[u8], told: &Told<'_>, https: bool) -> PyResult<()> {
        if let Some(host) = told.host {
            self.bytes(Key::NAME, split_host(host).0)?;
        }
        if told.host.is_some() || told.port.is_some() {
            let sent = || {
                host.headers_in()?
                    .first(c"Host")
                    .map(std::ffi::CStr::to_bytes)
            };
            let mut text = told.host.or_else(sent).unwrap_or_default().to_vec();
            if let Some(port) = told.port.filter(|_| !text.is_empty()) {
                text.truncate(split_host(&text).0.len());
                if port != default_port(https) {
                    text.extend(format!(":{port}").bytes());
                }
            }
            self.bytes(Key::HTTP_HOST, &text)?;
        }
        if let Some(prefix) = told.prefix {
            self.bytes(Key::SCRIPT, &[prefix, script].concat())?;
        }
        if let Some((address, port)) = told.remote {
            self.bytes(Key::REMOTE_ADDR, address.to_string().as_bytes())?;
            match port {
                Some(port) => self.bytes(Key::REMOTE_PORT, port.to_string().as_bytes())?,
                None => self.remove(Key::REMOTE_PORT)?,
            }
        }
        Ok(())
    }
}
