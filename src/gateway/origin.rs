//! Where a request came from, and which URL was asked for, where a proxy in front or the configuration knows it better than the
//! connection to this server.

use crate::config::proxies::{Proxies, Told, number, split_host};
use crate::embed::Cx;
use crate::httpd::request::Request as RequestRec;
use std::ffi::CStr;
use std::net::IpAddr;

/// Looks up what a request's URL is made of, where that may take long: later it is at hand.
pub(super) fn look_up(cx: Cx<'_>, request: RequestRec<'_>) {
    if request.looks_up_its_name() {
        cx.detached(request, |request| {
            request.server_name();
        });
    }
}

/// Reads what the proxy in front of us says, if it can be believed.
pub(super) fn hear<'r>(request: RequestRec<'r>, proxies: &Proxies) -> Told<'r> {
    let bytes = |text: Option<&'r CStr>| text.map(CStr::to_bytes).unwrap_or_default();
    let table = request.headers_in();
    let headers = table.iter().flat_map(|table| table.entries());
    let headers = headers.map(|(name, value)| (name.to_bytes(), bytes(value)));
    proxies.hear(bytes(request.connection().client_ip()), headers)
}

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

/// What has to be corrected in what the connection says; None where nothing has.
pub(super) struct Origin<'h> {
    /// Is it https?
    pub(super) is_https: Option<bool>,
    /// Has somebody said that it is https, whatever the connection is?
    pub(super) is_said_to_be_https: bool,
    pub(super) port: Option<u16>,
    /// The server's name, without a port.
    pub(super) name: Option<&'h [u8]>,
    /// What RequestRec says.
    pub(super) host: Option<Vec<u8>>,
    /// What comes before the application's own place in the URL.
    pub(super) prefix: Option<&'h [u8]>,
    /// The client's address, and its port if that is known.
    pub(super) remote: Option<(IpAddr, Option<u16>)>,
}

impl<'h> Origin<'h> {
    /// Finds out what has to be corrected. What a trusted proxy says (`told`) counts more than what the configuration says (`said`).
    pub(super) fn find(request: RequestRec<'_>, said: Said, told: Option<&Told<'h>>) -> Origin<'h> {
        let claimed = told.and_then(|told| told.https).or(said.https);
        let connection = request.scheme().is_some_and(|scheme| scheme == c"https");
        let https = claimed.unwrap_or(connection);
        let told_host = told.and_then(|told| told.host);
        let told_port = told.and_then(|told| told.port);
        let named = told_host.map(split_host);
        let own = request.server_port();
        let derived = || {
            // Where the scheme was corrected and the URL names no port, it is that of the scheme.
            let open = if request.port_is_configured() {
                own == default_port(connection)
            } else {
                request.parsed_uri().1.is_none()
            };
            (https != connection && open).then(|| default_port(https))
        };
        Origin {
            is_https: (https != connection).then_some(https),
            is_said_to_be_https: claimed == Some(true),
            port: told_port
                .or(named.map(|(_, port)| port.unwrap_or_else(|| default_port(https))))
                .or(said.port.filter(|&port| port != own))
                .or_else(derived),
            name: named.map(|(name, _)| name),
            host: (told_host.is_some() || told_port.is_some())
                .then(|| host_header(request, told_host, told_port, https)),
            prefix: told.and_then(|told| told.prefix),
            remote: told.and_then(|told| told.remote),
        }
    }
}

/// Makes a RequestRec of what a proxy has told: the host, or the one that was sent, with the port unless that is the scheme's own.
fn host_header(
    request: RequestRec<'_>,
    host: Option<&[u8]>,
    port: Option<u16>,
    https: bool,
) -> Vec<u8> {
    let sent = || {
        request
            .headers_in()?
            .first(c"RequestRec")
            .map(std::ffi::CStr::to_bytes)
    };
    let mut text = host.or_else(sent).unwrap_or_default().to_vec();
    if let Some(port) = port.filter(|_| !text.is_empty()) {
        text.truncate(split_host(&text).0.len());
        if port != default_port(https) {
            text.extend(format!(":{port}").bytes());
        }
    }
    text
}
