//! `scope["extensions"]["tls"]`: what the TLS extension of ASGI (0.2) tells of a connection.
//!
//! mod_ssl is asked itself, so that no SSLOptions are needed. What a client says of itself is never more than that: where its
//! certificate has not been verified, `client_cert_error` is a text.

use super::messages::interned;
use crate::embed::cell::Ref;
use crate::embed::text::Encoding;
use crate::embed::{Cx, PerInterpreter};
use crate::httpd::request::Request as Host;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::ffi::{CStr, CString};

struct Keys {
    server_cert: Ref,
    chain: Ref,
    name: Ref,
    error: Ref,
    version: Ref,
    suite: Ref,
}

static KEYS: PerInterpreter<Keys> = PerInterpreter::new();

/// How many certificates a client's chain has at most; mod_ssl itself goes no deeper than SSLVerifyDepth.
const LONGEST: usize = 32;

/// Makes the extension; None where the connection is not over TLS, whatever a proxy in front has.
///
/// # Errors
/// MemoryError.
pub(super) fn extension<'py>(cx: Cx<'py>, host: Host<'_>) -> PyResult<Option<Bound<'py, PyDict>>> {
    if !host.is_https() {
        return Ok(None);
    }
    let Ok(keys) = KEYS.get(cx, || {
        Ok::<_, std::convert::Infallible>(Keys {
            server_cert: interned(cx, "server_cert"),
            chain: interned(cx, "client_cert_chain"),
            name: interned(cx, "client_cert_name"),
            error: interned(cx, "client_cert_error"),
            version: interned(cx, "tls_version"),
            suite: interned(cx, "cipher_suite"),
        })
    });
    let tell = |name| said(host, name);
    let text = |text: Option<&CStr>| Encoding::Utf8.optional(cx.py, text);
    let code = |code: Option<u16>| code.into_bound_py_any(cx.py);
    let leaf = tell(c"SSL_CLIENT_CERT");
    let chain = PyList::empty(cx.py);
    let (mut name, mut error) = (None, None);
    if let Some(leaf) = leaf {
        chain.append(text(Some(leaf))?)?;
        for place in 0..LONGEST {
            let next = CString::new(format!("SSL_CLIENT_CERT_CHAIN_{place}"));
            let Some(next) = next.ok().and_then(|next| said(host, &next)) else {
                break;
            };
            if next != leaf {
                chain.append(text(Some(next))?)?;
            }
        }
        name = Some(tell(c"SSL_CLIENT_S_DN").unwrap_or_default()).filter(|name| is_rfc4514(name));
        error = mistrust(tell(c"SSL_CLIENT_VERIFY").unwrap_or_default());
    }
    let server_cert = host.ssl_variable_of_connection(c"SSL_SERVER_CERT");
    let server_cert = server_cert.filter(|text| !text.is_empty());
    let version = tell(c"SSL_PROTOCOL").and_then(version);
    let suite = tell(c"SSL_CIPHER").and_then(suite);
    let found = PyDict::new(cx.py);
    let set = |key: &Ref, value: Bound<'py, PyAny>| found.set_item(key.bind(cx.py), value);
    set(&keys.server_cert, text(server_cert)?)?;
    set(&keys.chain, chain.into_any())?;
    set(&keys.name, text(name)?)?;
    set(&keys.error, error.into_bound_py_any(cx.py)?)?;
    set(&keys.version, code(version)?)?;
    set(&keys.suite, code(suite)?)?;
    Ok(Some(found))
}

/// A variable of mod_ssl's; None where that has nothing to say.
fn said<'r>(host: Host<'r>, name: &CStr) -> Option<&'r CStr> {
    host.ssl_variable(name).filter(|text| !text.is_empty())
}

/// mod_ssl writes names as RFC 4514 does, unless SSLOptions LegacyDNStringFormat has `/CN=…`.
fn is_rfc4514(name: &CStr) -> bool {
    !name.to_bytes().starts_with(b"/")
}

/// Why the certificate that a client has shown is not to be trusted; None where mod_ssl has verified it.
fn mistrust(verified: &CStr) -> Option<String> {
    match verified.to_bytes() {
        b"SUCCESS" => None,
        b"GENEROUS" => Some("not verified (SSLVerifyClient optional_no_ca)".into()),
        other => {
            let text = other.strip_prefix(b"FAILED:").unwrap_or(other);
            let text = String::from_utf8_lossy(text);
            Some(if text.is_empty() {
                "not verified".into()
            } else {
                text.into()
            })
        }
    }
}

/// The number of a version (`TLSv1.3`), as the protocol has it.
fn version(name: &CStr) -> Option<u16> {
    match name.to_bytes() {
        b"TLSv1.3" => Some(0x0304),
        b"TLSv1.2" => Some(0x0303),
        b"TLSv1.1" => Some(0x0302),
        b"TLSv1" => Some(0x0301),
        b"SSLv3" => Some(0x0300),
        _ => None,
    }
}

/// The number of a cipher suite, which mod_ssl knows by OpenSSL's name alone; None for one that is not in the table.
fn suite(name: &CStr) -> Option<u16> {
    let mut all = SUITES.iter();
    let found = all.find(|(_, known)| known.as_bytes() == name.to_bytes());
    found.map(|(number, _)| *number)
}

/// The suites that mod_ssl can be told to use (SSLCipherSuite): IANA's number, OpenSSL's name. Without pre-shared keys and anonymous ones,
/// which it refuses.
#[rustfmt::skip]
static SUITES: &[(u16, &str)] = &[
    (0x0001, "NULL-MD5"), (0x0002, "NULL-SHA"), (0x000a, "DES-CBC3-SHA"), (0x0016, "DHE-RSA-DES-CBC3-SHA"), (0x002f, "AES128-SHA"),
    (0x0032, "DHE-DSS-AES128-SHA"), (0x0033, "DHE-RSA-AES128-SHA"), (0x0035, "AES256-SHA"), (0x0038, "DHE-DSS-AES256-SHA"),
    (0x0039, "DHE-RSA-AES256-SHA"), (0x003b, "NULL-SHA256"), (0x003c, "AES128-SHA256"), (0x003d, "AES256-SHA256"),
    (0x0040, "DHE-DSS-AES128-SHA256"), (0x0041, "CAMELLIA128-SHA"), (0x0044, "DHE-DSS-CAMELLIA128-SHA"),
    (0x0045, "DHE-RSA-CAMELLIA128-SHA"), (0x0067, "DHE-RSA-AES128-SHA256"), (0x006a, "DHE-DSS-AES256-SHA256"),
    (0x006b, "DHE-RSA-AES256-SHA256"), (0x0084, "CAMELLIA256-SHA"), (0x0087, "DHE-DSS-CAMELLIA256-SHA"),
    (0x0088, "DHE-RSA-CAMELLIA256-SHA"), (0x009c, "AES128-GCM-SHA256"), (0x009d, "AES256-GCM-SHA384"),
    (0x009e, "DHE-RSA-AES128-GCM-SHA256"), (0x009f, "DHE-RSA-AES256-GCM-SHA384"), (0x00a2, "DHE-DSS-AES128-GCM-SHA256"),
    (0x00a3, "DHE-DSS-AES256-GCM-SHA384"), (0x00ba, "CAMELLIA128-SHA256"), (0x00bd, "DHE-DSS-CAMELLIA128-SHA256"),
    (0x00be, "DHE-RSA-CAMELLIA128-SHA256"), (0x00c0, "CAMELLIA256-SHA256"), (0x00c3, "DHE-DSS-CAMELLIA256-SHA256"),
    (0x00c4, "DHE-RSA-CAMELLIA256-SHA256"), (0x1301, "TLS_AES_128_GCM_SHA256"), (0x1302, "TLS_AES_256_GCM_SHA384"),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256"), (0x1304, "TLS_AES_128_CCM_SHA256"), (0x1305, "TLS_AES_128_CCM_8_SHA256"),
    (0xc006, "ECDHE-ECDSA-NULL-SHA"), (0xc008, "ECDHE-ECDSA-DES-CBC3-SHA"), (0xc009, "ECDHE-ECDSA-AES128-SHA"),
    (0xc00a, "ECDHE-ECDSA-AES256-SHA"), (0xc010, "ECDHE-RSA-NULL-SHA"), (0xc012, "ECDHE-RSA-DES-CBC3-SHA"),
    (0xc013, "ECDHE-RSA-AES128-SHA"), (0xc014, "ECDHE-RSA-AES256-SHA"), (0xc01d, "SRP-AES-128-CBC-SHA"),
    (0xc01e, "SRP-RSA-AES-128-CBC-SHA"), (0xc01f, "SRP-DSS-AES-128-CBC-SHA"), (0xc020, "SRP-AES-256-CBC-SHA"),
    (0xc021, "SRP-RSA-AES-256-CBC-SHA"), (0xc022, "SRP-DSS-AES-256-CBC-SHA"), (0xc023, "ECDHE-ECDSA-AES128-SHA256"),
    (0xc024, "ECDHE-ECDSA-AES256-SHA384"), (0xc027, "ECDHE-RSA-AES128-SHA256"), (0xc028, "ECDHE-RSA-AES256-SHA384"),
    (0xc02b, "ECDHE-ECDSA-AES128-GCM-SHA256"), (0xc02c, "ECDHE-ECDSA-AES256-GCM-SHA384"), (0xc02f, "ECDHE-RSA-AES128-GCM-SHA256"),
    (0xc030, "ECDHE-RSA-AES256-GCM-SHA384"), (0xc050, "ARIA128-GCM-SHA256"), (0xc051, "ARIA256-GCM-SHA384"),
    (0xc052, "DHE-RSA-ARIA128-GCM-SHA256"), (0xc053, "DHE-RSA-ARIA256-GCM-SHA384"), (0xc056, "DHE-DSS-ARIA128-GCM-SHA256"),
    (0xc057, "DHE-DSS-ARIA256-GCM-SHA384"), (0xc05c, "ECDHE-ECDSA-ARIA128-GCM-SHA256"), (0xc05d, "ECDHE-ECDSA-ARIA256-GCM-SHA384"),
    (0xc060, "ECDHE-ARIA128-GCM-SHA256"), (0xc061, "ECDHE-ARIA256-GCM-SHA384"), (0xc072, "ECDHE-ECDSA-CAMELLIA128-SHA256"),
    (0xc073, "ECDHE-ECDSA-CAMELLIA256-SHA384"), (0xc076, "ECDHE-RSA-CAMELLIA128-SHA256"), (0xc077, "ECDHE-RSA-CAMELLIA256-SHA384"),
    (0xc09c, "AES128-CCM"), (0xc09d, "AES256-CCM"), (0xc09e, "DHE-RSA-AES128-CCM"), (0xc09f, "DHE-RSA-AES256-CCM"),
    (0xc0a0, "AES128-CCM8"), (0xc0a1, "AES256-CCM8"), (0xc0a2, "DHE-RSA-AES128-CCM8"), (0xc0a3, "DHE-RSA-AES256-CCM8"),
    (0xc0ac, "ECDHE-ECDSA-AES128-CCM"), (0xc0ad, "ECDHE-ECDSA-AES256-CCM"), (0xc0ae, "ECDHE-ECDSA-AES128-CCM8"),
    (0xc0af, "ECDHE-ECDSA-AES256-CCM8"), (0xcca8, "ECDHE-RSA-CHACHA20-POLY1305"), (0xcca9, "ECDHE-ECDSA-CHACHA20-POLY1305"),
    (0xccaa, "DHE-RSA-CHACHA20-POLY1305"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(suite(c"TLS_AES_256_GCM_SHA384"), Some(0x1302));
        assert_eq!(suite(c"ECDHE-RSA-AES128-GCM-SHA256"), Some(0xc02f));
        assert_eq!((suite(c"SPAM"), version(c"TLSv9")), (None, None));
        assert_eq!(version(c"TLSv1.2"), Some(0x0303));
    }

    #[test]
    fn what_is_not_verified_is_mistrusted() {
        assert_eq!(mistrust(c"SUCCESS"), None);
        for (verified, text) in [
            (c"GENEROUS", "not verified (SSLVerifyClient optional_no_ca)"),
            (c"FAILED:expired", "expired"),
            (c"FAILED:", "not verified"),
            (c"NONE", "NONE"),
            (c"", "not verified"),
        ] {
            assert_eq!(mistrust(verified).as_deref(), Some(text));
        }
    }
}
