//! This module's own PythonOptions whose values are checked when the configuration is read (`httpd -t`).

use super::gateways::Gateway;
use super::proxies::Proxies;

/// When what `req.write()` is given is sent: `now`, or `soon`.
pub(crate) const FLUSH: &str = "mod_python.flush";

/// Checks a PythonOption; one without a value, which removes an inherited one, is always right.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(gateways: &[&Gateway], key: &str, value: &str) -> Result<(), String> {
    let is = |known: &str| key.eq_ignore_ascii_case(known);
    if is(FLUSH) && !["", "now", "soon"].contains(&value) {
        return Err(format!(
            "PythonOption {FLUSH} must be now or soon, not {value:?}"
        ));
    }
    for gateway in gateways {
        match () {
            () if value.is_empty() => {}
            () if is(gateway.trusted_proxies) => Proxies::parse(gateway, value, "").map(drop)?,
            () if is(gateway.trusted_headers) => Proxies::parse(gateway, "", value).map(drop)?,
            () if is(gateway.chunked_buffer) => bytes(gateway.chunked_buffer, value).map(drop)?,
            () => (gateway.check)(key, value)?,
        }
    }
    Ok(())
}

/// Reads a number of bytes.
///
/// # Errors
/// A sentence that says it is none.
pub(crate) fn bytes(key: &str, value: &str) -> Result<usize, String> {
    value
        .parse()
        .map_err(|_| format!("PythonOption {key}: {value:?} is no number of bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::gateways::SOME;

    #[test]
    fn mistakes_are_found() {
        for (key, value) in [
            ("mod_python.wsgi.trusted_proxies", "10.0.0.0/8 ::1"),
            ("mod_python.wsgi.trusted_headers", "x-forwarded-for"),
            ("mod_python.wsgi.chunked_buffer", "0"),
            ("mod_python.wsgi.trusted_proxies", ""),
            ("mod_python.flush", "now"),
            ("mod_python.flush", ""),
            ("anything", "else"),
        ] {
            assert_eq!(check(&[&SOME], key, value), Ok(()));
        }
        for (key, value) in [
            ("Mod_Python.wsgi.trusted_proxies", "10.0.0.0/33"),
            ("mod_python.wsgi.trusted_headers", "x-real-ip"),
            ("mod_python.wsgi.chunked_buffer", "-1"),
            ("mod_python.wsgi.chunked_buffer", "1M"),
            ("mod_python.flush", "later"),
        ] {
            assert!(check(&[&SOME], key, value).is_err(), "{key} {value}");
        }
    }
}
