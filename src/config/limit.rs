//! PythonTimeout: for how long a request may be in Python, and for what that counts.

use super::seconds;
use std::num::NonZeroU64;
use std::time::Duration;

/// A limit as it is written, and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit<'c> {
    pub(crate) text: &'c str,
    /// In nanoseconds. None: there is no limit (`0`, `off`).
    pub(crate) time: Option<NonZeroU64>,
}

/// What answers a request, or has a part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answerer {
    /// Handlers of all phases, filters, clean-ups, tags in pages, handlers of connections.
    Handler,
    Wsgi,
    Asgi,
}

/// The shortest limit: the deadline is looked for a few times in it.
fn nanoseconds(time: Duration) -> Option<NonZeroU64> {
    NonZeroU64::new(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

const LEAST: f64 = 0.1;
/// A day: who waits for longer does not wait for a client.
const MOST: f64 = 86_400.0;

/// Reads a number of seconds.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Limit<'_>, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(Limit { text, time: None });
    }
    match seconds::number(text) {
        Some(0.0) => Ok(Limit { text, time: None }),
        Some(seconds) if (LEAST..=MOST).contains(&seconds) => Ok(Limit {
            text,
            time: nanoseconds(Duration::from_secs_f64(seconds)),
        }),
        _ => Err(format!(
            "needs a number of seconds from {LEAST} to {MOST}, or 0 for none, not {text:?}"
        )),
    }
}

impl Answerer {
    /// Reads the directive's second argument.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Answerer, String> {
        match text.to_ascii_lowercase().as_str() {
            "handler" => Ok(Answerer::Handler),
            "wsgi" => Ok(Answerer::Wsgi),
            "asgi" => Ok(Answerer::Asgi),
            _ => Err(format!("is for handler, wsgi or asgi, not for {text:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read() {
        for (text, time) in [
            ("0", None),
            ("0.0", None),
            ("off", None),
            ("Off", None),
            ("0.25", Some(250)),
            ("30", Some(30_000)),
            ("86400", Some(86_400_000)),
        ] {
            let time = time.map(Duration::from_millis).and_then(nanoseconds);
            assert_eq!(parse(text), Ok(Limit { text, time }));
        }
        for text in [
            "", "-1", "1s", "1e3", "inf", "NaN", "0.01", "86401", "on", ".",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(Answerer::parse("WSGI"), Ok(Answerer::Wsgi));
        assert!(Answerer::parse("cgi").is_err());
    }
}
