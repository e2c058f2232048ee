//! The opening handshake (RFC 6455, 4): what a client asks for, and what it is answered.

use super::deflate::Agreed;
use crate::gateway::asgi::parts::HeadParts;
use crate::httpd::io::tunnel::accept_key;
use crate::httpd::request::Request as Host;
use crate::httpd::status::Status;
use std::ffi::CStr;

/// What a client asks for.
pub(super) struct Asked {
    key: Vec<u8>,
    pub(super) subprotocols: Vec<String>,
    agreed: Option<Agreed>,
}

/// Does the request ask for a WebSocket? An Upgrade of HTTP/1.0, or one that Connection does not name, is none (RFC 9110, 7.8). With
/// `H2WebSockets on`, mod_http2 makes a request with this header of one by RFC 8441, and HTTP/2 has no Connection.
pub(crate) fn is_asked_for(host: Host<'_>) -> bool {
    let may_upgrade = || match host.proto_num() {
        2000.. => true,
        1001.. => has_word(host, c"Connection", "upgrade"),
        _ => false,
    };
    has_word(host, c"Upgrade", "websocket") && may_upgrade()
}

/// Reads what the client asks for.
///
/// # Errors
/// The status that answers it.
pub(super) fn asked(host: Host<'_>, may_deflate: bool) -> Result<Asked, Status> {
    if host.method() != Some(c"GET") {
        return Err(Status::BAD_REQUEST);
    }
    if all(host, c"Sec-WebSocket-Version") != "13" {
        // The answer says which version would do.
        if let Some(table) = host.err_headers_out() {
            table.set(c"Sec-WebSocket-Version", c"13");
            table.set(c"Upgrade", c"websocket");
            table.set(c"Connection", c"Upgrade");
        }
        return Err(Status(426));
    }
    let key = all(host, c"Sec-WebSocket-Key").into_bytes();
    if !is_key(&key) {
        return Err(Status::BAD_REQUEST);
    }
    let subprotocols = all(host, c"Sec-WebSocket-Protocol");
    let subprotocols = subprotocols.split(',').map(str::trim);
    let offers = all(host, c"Sec-WebSocket-Extensions");
    Ok(Asked {
        key,
        subprotocols: subprotocols
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect(),
        agreed: Agreed::of(offers.as_bytes()).filter(|_| may_deflate),
    })
}

impl Asked {
    pub(super) fn agreed(&self) -> Option<Agreed> {
        self.agreed
    }

    /// The head of the answer that accepts. What the application adds has been checked.
    pub(super) fn answer(&self, subprotocol: Option<&str>, head: &HeadParts) -> Vec<u8> {
        let mut text =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                .to_vec();
        let mut add = |name: &[u8], value: &[u8]| {
            for part in [name, b": ", value, b"\r\n"] {
                text.extend_from_slice(part);
            }
        };
        add(b"Sec-WebSocket-Accept", &accept_key(&self.key));
        if let Some(subprotocol) = subprotocol {
            add(b"Sec-WebSocket-Protocol", subprotocol.as_bytes());
        }
        if let Some(agreed) = self.agreed {
            add(b"Sec-WebSocket-Extensions", agreed.header().as_bytes());
        }
        for (name, value) in head.headers() {
            add(name, value);
        }
        text.extend_from_slice(b"\r\n");
        text
    }
}

/// The values of a header, joined; nothing where they are no text.
fn all(host: Host<'_>, name: &CStr) -> String {
    let Some(table) = host.headers_in() else {
        return String::new();
    };
    let wanted = name.to_bytes();
    let mut joined = String::new();
    for (name, value) in table.entries() {
        if name.to_bytes().eq_ignore_ascii_case(wanted) {
            if !joined.is_empty() {
                joined.push(',');
            }
            let value = value.and_then(|value| value.to_str().ok());
            joined.push_str(value.unwrap_or_default().trim());
        }
    }
    joined
}

fn has_word(host: Host<'_>, name: &CStr, word: &str) -> bool {
    let is = |part: &str| part.trim().eq_ignore_ascii_case(word);
    all(host, name).split(',').any(is)
}

/// Is it 16 bytes in base64?
fn is_key(key: &[u8]) -> bool {
    let Some((data, end)) = key.split_at_checked(22) else {
        return false;
    };
    end == b"=="
        && data
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

#[cfg(test)]
mod tests {
    use super::is_key;

    #[test]
    fn keys() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for bad in [
            &b""[..],
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZQ=!",
            b"dGhl HNhbXBsZSBub25jZQ==",
        ] {
            assert!(!is_key(bad));
        }
    }
}
