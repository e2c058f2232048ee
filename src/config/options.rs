//! This module's own PythonOptions: THE table of their names, and the check of those values that are checked when the configuration is
//! read (`httpd -t`).
//!
//! A gateway's own names stand with it (`Gateway::own`). `tests/test_papers.py` compares the table with what the Python package reads.

use super::gateways::Gateway;
use super::proxies::Proxies;
use super::settings::Common;
use std::sync::atomic::{AtomicBool, Ordering};

/// When what `req.write()` is given is sent: `now`, or `soon`.
pub(crate) const FLUSH: &str = "mod_python.flush";
/// Are entries of the error log objects of JSON: `on` or `off`?
const LOG_JSON: &str = "mod_python.log.json";
/// Where the files of global locks lie.
pub(crate) const MUTEX_DIRECTORY: &str = "mod_python.mutex_directory";
/// How many global locks there are.
pub(crate) const MUTEX_LOCKS: &str = "mod_python.mutex_locks";

/// The daemon that a section's handlers run in.
pub(crate) const DAEMON: &str = "mod_python.daemon";

/// What names of this module's own begin with; an application's own have another beginning.
const OURS: &str = "mod_python.";

/// What native code reads, beside the gateways.
const OF_HTTPD: &[&str] = &[DAEMON, FLUSH, LOG_JSON, MUTEX_DIRECTORY, MUTEX_LOCKS];

/// What the Python package reads.
const OF_PACKAGE: &[&str] = &[
    "mod_python.cookie.encoding",
    "mod_python.dbm_session.database_directory",
    "mod_python.dbm_session.database_filename",
    "mod_python.file_session.cleanup_grace_period",
    "mod_python.file_session.cleanup_time_limit",
    "mod_python.file_session.database_directory",
    "mod_python.file_session.enable_fast_cleanup",
    "mod_python.file_session.verify_session_timeout",
    "mod_python.form.charset",
    "mod_python.form.max_fields",
    "mod_python.form.max_header_bytes",
    "mod_python.form.max_memory_bytes",
    "mod_python.form.max_total_bytes",
    "mod_python.postgres_session.connections",
    "mod_python.postgres_session.table",
    "mod_python.postgres_session.url",
    "mod_python.psp.cache_database_filename",
    "mod_python.publisher.imported",
    "mod_python.redis_session.lock_lease",
    "mod_python.redis_session.url",
    "mod_python.session.application_domain",
    "mod_python.session.application_path",
    "mod_python.session.cookie_httponly",
    "mod_python.session.cookie_name",
    "mod_python.session.cookie_samesite",
    "mod_python.session.cookie_secure",
    "mod_python.session.database_directory",
    "mod_python.session.lock_timeout",
    "mod_python.session.serializer",
    "mod_python.session.session_type",
    "mod_python.sqlite_session.database_directory",
    "mod_python.sqlite_session.database_filename",
    "mod_python.status.queries",
];

/// May there be entries of the log that are objects? Once a configuration has said so, since it costs little.
static OBJECTS: AtomicBool = AtomicBool::new(false);

/// May there be entries of the log that are objects: are exceptions to be described as such, too?
pub(crate) fn may_log_objects() -> bool {
    OBJECTS.load(Ordering::Relaxed)
}

/// Are the log's entries objects here?
pub(crate) fn logs_objects(common: &Common<'_>) -> bool {
    may_log_objects()
        && common
            .option(LOG_JSON)
            .is_some_and(|value| value.eq_ignore_ascii_case("on"))
}

/// What other servers, or their manuals, call something that has a name of its own here.
const ELSEWHERE: &[(&str, &str)] = &[("mod_python.asgi.root_path", "mod_python.asgi.base_uri")];

/// Says, of a PythonOption that bears a name of this module's and that nobody reads, that this is so, and which one may be meant. None
/// of any other.
pub(crate) fn doubt(gateways: &[&Gateway], key: &str) -> Option<String> {
    let key = key.to_ascii_lowercase();
    let tail = key.strip_prefix(OURS)?;
    let named = gateways.iter().flat_map(|gateway| gateway.options());
    let known: Vec<&str> = named
        .chain(OF_HTTPD.iter().chain(OF_PACKAGE).copied())
        .collect();
    if known.contains(&&*key) {
        return None;
    }
    let elsewhere = ELSEWHERE.iter().find(|(other, _)| *other == key);
    // A slip or two, or a word too many or too few; what is farther away is another name.
    let most = 2 + tail.len() / 3;
    let near = || {
        let all = known.iter().map(|name| (distance(&key, name), *name));
        let nearest = all.min_by_key(|(distance, _)| *distance);
        nearest.filter(|(distance, _)| *distance <= most)
    };
    let meant = elsewhere
        .map(|(_, name)| *name)
        .or_else(|| near().map(|(_, name)| name));
    Some(match meant {
        Some(name) => format!("is not known: did you mean {name}?"),
        None => format!("is not known; names that begin with {OURS} are this module's own"),
    })
}

/// Counts the letters that have to be added, removed or changed to make one text of another.
pub(super) fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, letter) in one.bytes().enumerate() {
        let (mut corner, mut left) = (place, place + 1);
        let mut next = vec![left];
        for (above, known) in row.iter().skip(1).zip(other.bytes()) {
            left = (corner + usize::from(letter != known))
                .min(left + 1)
                .min(above + 1);
            corner = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

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
    if is(LOG_JSON) && !value.is_empty() {
        match value {
            _ if value.eq_ignore_ascii_case("on") => OBJECTS.store(true, Ordering::Relaxed),
            _ if value.eq_ignore_ascii_case("off") => {}
            _ => {
                return Err(format!(
                    "PythonOption {LOG_JSON} must be on or off, not {value:?}"
                ));
            }
        }
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
    fn the_nearest_name_is_found() {
        for (key, name) in [
            ("mod_python.wsgi.trusted_proxy", "wsgi.trusted_proxies"),
            ("Mod_Python.WSGI.Chunked_Bufer", "wsgi.chunked_buffer"),
            ("mod_python.wsg.base_uri", "wsgi.base_uri"),
            ("mod_python.session.cookie", "session.cookie_name"),
            ("mod_python.flsh", "flush"),
            ("mod_python.asgi.root_path", "asgi.base_uri"),
        ] {
            let said = doubt(&[&SOME], key).unwrap_or_default();
            assert!(said.ends_with(&format!("mod_python.{name}?")), "{said}");
        }
        for key in ["mod_python.", "mod_python.something.else", "mod_python.é"] {
            let said = doubt(&[&SOME], key).unwrap_or_default();
            assert!(said.contains("this module's own"), "{key}: {said}");
        }
        for key in [
            "mod_python.wsgi.application",
            "MOD_PYTHON.flush",
            "mod_python.form.charset",
            "mod_pythons.flush",
            "session_dbm",
            "",
        ] {
            assert_eq!(doubt(&[&SOME], key), None);
        }
    }

    #[test]
    fn distances() {
        for (one, other, steps) in [
            ("", "", 0),
            ("ab", "", 2),
            ("kitten", "sitting", 3),
            ("a", "ab", 1),
        ] {
            assert_eq!((distance(one, other), distance(other, one)), (steps, steps));
        }
    }

    #[test]
    fn mistakes_are_found() {
        for (key, value) in [
            ("mod_python.wsgi.trusted_proxies", "10.0.0.0/8 ::1"),
            ("mod_python.wsgi.trusted_headers", "x-forwarded-for"),
            ("mod_python.wsgi.chunked_buffer", "0"),
            ("mod_python.wsgi.trusted_proxies", ""),
            ("mod_python.flush", "now"),
            ("mod_python.flush", ""),
            ("mod_python.log.json", "Off"),
            ("mod_python.log.json", ""),
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
            ("mod_python.log.json", "yes"),
        ] {
            assert!(check(&[&SOME], key, value).is_err(), "{key} {value}");
        }
    }
}
