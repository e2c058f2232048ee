//! PythonWSGI, PythonWSGIMatch, and their like of other gateways: checks a line, and makes it a `Mount` of its server.

use super::daemons::named;
use super::setting::{Set, beside, longer};
use crate::config::gateways::Gateway;
use crate::config::mount::{self, Mount, Place, Target};
use crate::config::{Common, Directory, Entry, HANDLERS, ModPython, PHASES, Phase};
use crate::httpd::apr::pattern::Pattern;
use crate::httpd::apr::pool::Pool;
use crate::httpd::module::command::Section;
use crate::httpd::request::section::Overlay;

/// Adds the application of a line, `PythonWSGI /prefix target` or `PythonWSGIMatch expression target`, for this gateway.
pub(super) fn add<'c>(
    setting: &mut Set<'_, 'c>,
    gateway: &'static Gateway,
    place: &'c str,
    target: &'c str,
    daemon: Option<&'c str>,
    is_pattern: bool,
) -> Result<(), String> {
    let daemon = daemon.map(named).transpose()?;
    let pool = setting.pool;
    let target = beside(target, setting.file);
    let (module, callable, is_factory) = mount::parse_target(&target, is_pattern)?;
    let prefix = place.trim_end_matches('/');
    let place = if is_pattern {
        pattern(pool, place, &module, &target)?
    } else {
        check_prefix(place, prefix)?;
        Place::Prefix(prefix)
    };
    let name = pool.text(&format!("{module}::{callable}"));
    let overlay = Overlay::new(pool).ok_or("no memory")?;
    let mount: &'c Mount<'c> = pool.store(Mount {
        place,
        target: Target { name, is_factory },
        gateway: gateway.handler,
        handler: pool.c_string(HANDLERS[0].to_bytes()),
        overlay,
        daemon,
        file: setting.file.unwrap_or_default(),
        line: setting.line,
    });
    let mut all = setting.server.mounts.to_vec();
    // In a daemon they are those of all of its front's hosts, and the front says which one is meant.
    let is_alone = setting.server.ready.is_none();
    if let Some(other) = all.iter().find(|other| other.same_place(mount) && is_alone) {
        return Err(format!(
            "there is an application at this place already, on line {} of {}",
            other.line, other.file
        ));
    }
    let section = Section::Location {
        pattern: if is_pattern || !prefix.is_empty() {
            prefix
        } else {
            "/"
        },
        regex: is_pattern,
    };
    overlay.fill::<ModPython>(pool, covering(pool, gateway, mount, section, prefix));
    all.push(mount);
    mount::sort(&mut all);
    setting.server.mounts = pool.concat(&all, &[]);
    Ok(())
}

/// Compiles an expression that has the groups that the target takes.
fn pattern<'c>(
    pool: Pool<'c>,
    place: &'c str,
    module: &str,
    target: &str,
) -> Result<Place<'c>, String> {
    if !place.starts_with("^/") {
        return Err(format!("{place:?} must begin with ^/, as the URI does"));
    }
    let compiled = Pattern::new(pool, place);
    let compiled = compiled.ok_or_else(|| format!("{place:?} is no regular expression"))?;
    let count = compiled.groups();
    match mount::groups_of(module).find(|&number| number > count) {
        Some(number) => Err(format!(
            "{target:?} has ${number}, but the expression {place:?} has {count} groups in parentheses"
        )),
        None => Ok(Place::Pattern(place, compiled)),
    }
}

/// Checks that a prefix is a path as httpd compares it: with its slashes and dots in order.
fn check_prefix(place: &str, prefix: &str) -> Result<(), String> {
    let is_crooked = prefix.contains(['*', '?', '[', '"', '\\'])
        || prefix
            .split('/')
            .skip(1)
            .any(|part| matches!(part, "" | "." | ".."));
    if place.starts_with('/') && !is_crooked {
        return Ok(());
    }
    Err(format!(
        "{place:?} must be a plain path, such as / or /shop"
    ))
}

/// What covers the configuration of the requests that a mount takes: the gateway's handler, and its options.
fn covering<'c>(
    pool: Pool<'c>,
    gateway: &'static Gateway,
    mount: &'c Mount<'c>,
    section: Section<'c>,
    prefix: &'c str,
) -> Directory<'c> {
    let entry = Entry {
        text: gateway.handler,
        key: gateway.key,
        section,
        silent: false,
    };
    let mut handlers = [None; PHASES];
    if let Some(slot) = handlers.get_mut(Phase::Content as usize) {
        *slot = Some(longer(pool, None, &[entry]));
    }
    let options = [
        (gateway.application, mount.target.name),
        (gateway.base_uri, prefix),
    ];
    // What an expression matches is known with the request only.
    let options = options
        .get(..if mount.is_pattern() { 1 } else { 2 })
        .unwrap_or_default();
    Directory {
        phases: Phase::Content.bit(),
        handlers,
        section: Some(section),
        mount: Some(mount),
        common: Common {
            options: pool.concat(options, &[]),
            ..Common::default()
        },
        ..Directory::default()
    }
}
