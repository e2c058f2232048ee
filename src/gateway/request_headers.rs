//! Which of a request's headers an application gets, and what is to be known of them.

use crate::config::proxies::{Told, is_forwarding};
use crate::httpd::request::Request as RequestRec;

/// What a header is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ContentType,
    ContentLength,
    TransferEncoding,
    Authorization,
    /// Joined by a semicolon where there are several, not by a comma.
    Cookie,
    /// A proxy's, or that of a client that wants to be taken for one.
    Forwarding,
    /// A client sends the same value again and again, and it is no secret: worth remembering for the next request.
    Steady,
    Other,
}

impl Kind {
    pub(super) fn of(name: &[u8]) -> Kind {
        const STEADY: [&[u8]; 6] = [
            b"host",
            b"accept",
            b"accept-encoding",
            b"accept-language",
            b"connection",
            b"user-agent",
        ];
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match () {
            () if is(b"content-type") => Kind::ContentType,
            () if is(b"content-length") => Kind::ContentLength,
            () if is(b"transfer-encoding") => Kind::TransferEncoding,
            () if is(b"authorization") => Kind::Authorization,
            () if is(b"cookie") => Kind::Cookie,
            () if is_forwarding(name) => Kind::Forwarding,
            () if STEADY.iter().any(|known| is(known)) => Kind::Steady,
            () => Kind::Other,
        }
    }

    /// Does it announce a body?
    pub(super) fn announces_body(self) -> bool {
        matches!(self, Kind::ContentLength | Kind::TransferEncoding)
    }

    /// Does an application get the header of this name? Where only some proxies are trusted (`told`), what others say is left out.
    pub(super) fn is_shown(
        self,
        request: RequestRec<'_>,
        name: &[u8],
        told: Option<&Told<'_>>,
    ) -> bool {
        match self {
            // httpd has decoded the body.
            Kind::TransferEncoding => false,
            Kind::Authorization => request.passes_authorization(),
            Kind::Forwarding => told.is_none_or(|told| told.shows(name)),
            _ => true,
        }
    }
}

/// Is it a header that no application gets? Proxy, which programs would take for the proxy that they are to use (httpoxy), and the password
/// for a proxy.
pub(super) fn is_secret(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"proxy") || name.eq_ignore_ascii_case(b"proxy-authorization")
}
