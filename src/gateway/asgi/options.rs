//! The gateway's own options. They are checked when the configuration is read, and read when they are needed.

use crate::config::Common;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::time::Duration;

const LIFESPAN: &str = "mod_python.asgi.lifespan";
const LOOP: &str = "mod_python.asgi.loop";
const MAX_SIZE: &str = "mod_python.asgi.ws_max_size";
const MAX_QUEUE: &str = "mod_python.asgi.ws_max_queue";
const PING_INTERVAL: &str = "mod_python.asgi.ws_ping_interval";
const PING_TIMEOUT: &str = "mod_python.asgi.ws_ping_timeout";
const DEFLATE: &str = "mod_python.asgi.ws_per_message_deflate";
const DETACH_AFTER: &str = "mod_python.asgi.detach_after";
const SHUTDOWN: &str = "mod_python.asgi.shutdown_timeout";

/// All of them.
pub(super) const OWN: &[&str] = &[
    LIFESPAN,
    LOOP,
    MAX_SIZE,
    MAX_QUEUE,
    PING_INTERVAL,
    PING_TIMEOUT,
    DEFLATE,
    DETACH_AFTER,
    SHUTDOWN,
];

/// Checks one of them; any other is right.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(key: &str, value: &str) -> Result<(), String> {
    let is = |known: &str| key.eq_ignore_ascii_case(known);
    match () {
        () if is(LIFESPAN) => one_of(LIFESPAN, value, &["auto", "on", "off"]),
        () if is(LOOP) => one_of(LOOP, value, &["auto", "asyncio", "uvloop"]),
        () if is(DEFLATE) => one_of(DEFLATE, value, &["on", "off"]),
        () if is(MAX_SIZE) => number(MAX_SIZE, value).map(drop),
        () if is(MAX_QUEUE) => number(MAX_QUEUE, value).map(drop),
        () if is(PING_INTERVAL) => seconds(PING_INTERVAL, value).map(drop),
        () if is(PING_TIMEOUT) => seconds(PING_TIMEOUT, value).map(drop),
        () if is(DETACH_AFTER) => seconds(DETACH_AFTER, value).map(drop),
        () if is(SHUTDOWN) => seconds(SHUTDOWN, value).map(drop),
        () => Ok(()),
    }
}

fn one_of(key: &str, value: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&value) {
        return Ok(());
    }
    let words = words.join(", ");
    Err(format!("PythonOption {key}: {value:?} is none of {words}"))
}

fn number(key: &str, value: &str) -> Result<usize, String> {
    let number = value.parse().ok().filter(|&number| number > 0);
    number.ok_or_else(|| format!("PythonOption {key}: {value:?} is no number from 1 on"))
}

/// None for 0, which is never.
fn seconds(key: &str, value: &str) -> Result<Option<Duration>, String> {
    let seconds = value.parse::<f64>().ok();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let duration =
        duration.ok_or_else(|| format!("PythonOption {key}: {value:?} is no number of seconds"))?;
    Ok(Some(duration).filter(|duration| !duration.is_zero()))
}

/// `mod_python.asgi.lifespan`: auto, on or off.
pub(super) fn lifespan<'c>(common: &Common<'c>) -> &'c str {
    option(common, LIFESPAN).unwrap_or("auto")
}

/// `mod_python.asgi.loop`: auto, asyncio or uvloop.
pub(super) fn kind<'c>(common: &Common<'c>) -> &'c str {
    option(common, LOOP).unwrap_or("auto")
}

fn option<'c>(common: &Common<'c>, key: &str) -> Option<&'c str> {
    common.option(key).filter(|text| !text.is_empty())
}

/// `mod_python.asgi.detach_after`: after how long a silence an answer leaves its worker; None is never.
///
/// # Errors
/// Why it is no number (a .htaccess file may have one).
pub(super) fn detach_after(common: &Common<'_>) -> Result<Option<Duration>, String> {
    option(common, DETACH_AFTER).map_or(Ok(Some(Duration::from_secs(1))), |text| {
        seconds(DETACH_AFTER, text)
    })
}

/// The limits of WebSockets.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// How many bytes a message may have.
    pub(super) size: usize,
    /// How many messages of a client's wait for the application at most, and with how many bytes.
    pub(super) queue: (usize, usize),
    /// After how long a silent client is sent a ping; None is never.
    pub(super) ping: Option<Duration>,
    /// How long it may take to answer.
    pub(super) pong: Option<Duration>,
    pub(super) may_deflate: bool,
    /// How long an open WebSocket may go on when the child is to end.
    pub(super) shutdown: Duration,
}

/// How many bytes of messages wait for the application, before nothing more is read.
const HELD: usize = 1 << 18;

impl Limits {
    /// # Errors
    /// ValueError for an option that is wrong (a .htaccess file may have one).
    pub(super) fn of(common: &Common<'_>) -> PyResult<Limits> {
        let wrong = |text: String| PyValueError::new_err(text);
        let number_or = |key, default| {
            option(common, key).map_or(Ok(default), |text| number(key, text).map_err(wrong))
        };
        let seconds_or = |key, default| match option(common, key) {
            None => Ok(Some(Duration::from_secs(default))),
            Some(text) => seconds(key, text).map_err(wrong),
        };
        Ok(Limits {
            size: number_or(MAX_SIZE, 16 << 20)?,
            queue: (number_or(MAX_QUEUE, 32)?, HELD),
            ping: seconds_or(PING_INTERVAL, 20)?,
            pong: seconds_or(PING_TIMEOUT, 20)?,
            may_deflate: option(common, DEFLATE) != Some("off"),
            shutdown: seconds_or(SHUTDOWN, 10)?.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_found() {
        for (key, value) in [
            (LIFESPAN, "on"),
            (LOOP, "uvloop"),
            (MAX_SIZE, "1"),
            (PING_INTERVAL, "0"),
            (PING_TIMEOUT, "0.5"),
            (DETACH_AFTER, "0"),
            ("anything", "else"),
        ] {
            assert_eq!(check(key, value), Ok(()));
        }
        for (key, value) in [
            ("Mod_Python.asgi.lifespan", "On"),
            (LOOP, "trio"),
            (MAX_SIZE, "0"),
            (MAX_QUEUE, "-1"),
            (PING_INTERVAL, "-1"),
            (SHUTDOWN, "nan"),
            (DEFLATE, "yes"),
        ] {
            assert!(check(key, value).is_err(), "{key} {value}");
        }
    }
}
