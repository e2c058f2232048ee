//! What the gateways remember in each interpreter: the warnings that have been logged, and what options say of proxies.

use super::application;
use crate::config::ModPython;
use crate::config::gateways::Gateway;
use crate::config::proxies::Proxies;
use crate::embed::{Cx, PerInterpreter};
use crate::exchange::Exchange;
use crate::httpd::log::Level;
use crate::httpd::request::lease::Held;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Default)]
struct Memory {
    /// The warnings that have been logged.
    warned: Mutex<Vec<String>>,
    /// Trusted proxies, by the texts of the options that name them.
    proxies: Mutex<Vec<(String, Arc<Proxies>)>>,
}

static MEMORY: PerInterpreter<Memory> = PerInterpreter::new();

/// How many warnings, and how many options' texts, are remembered at most: there may be many .htaccess files.
const REMEMBERED: usize = 1000;

/// Logs, once for each application, that it does something (`habit`) which it may do in every request; `now` is what it was in this
/// one.
///
/// # Errors
/// Those of `application::name`.
pub(super) fn warn_once(
    cx: Cx<'_>,
    gateway: &Gateway,
    held: &Held<'_, Exchange>,
    habit: &str,
    now: &str,
) -> PyResult<()> {
    let mut text = format!("{} {habit}", application::name(cx, gateway, held)?);
    let warned = &MEMORY.of(cx).warned;
    let mut warned = warned.lock().unwrap_or_else(PoisonError::into_inner);
    if warned.contains(&text) {
        return Ok(());
    }
    if warned.len() < REMEMBERED {
        warned.push(text.clone());
    }
    drop(warned);
    text.push_str(now);
    cx.log(held.request(), Level::Warning, &text);
    Ok(())
}

/// Gives the trusted proxies, where the configuration names some. The options of each text are read once.
///
/// # Errors
/// ValueError for options that are wrong.
pub(super) fn proxies(
    cx: Cx<'_>,
    gateway: &Gateway,
    held: &Held<'_, Exchange>,
) -> PyResult<Option<Arc<Proxies>>> {
    let common = &held.request().config::<ModPython>().common;
    let networks = common.option(gateway.trusted_proxies);
    let Some(networks) = networks.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let headers = common.option(gateway.trusted_headers).unwrap_or_default();
    let key = format!("{networks}\n{headers}");
    let known = &MEMORY.of(cx).proxies;
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, proxies)) = known.iter().find(|(text, _)| *text == key) {
        return Ok(Some(proxies.clone()));
    }
    let parsed = Proxies::parse(gateway, networks, headers).map_err(PyValueError::new_err)?;
    let parsed = Arc::new(parsed);
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.push((key, parsed.clone()));
    Ok(Some(parsed))
}
