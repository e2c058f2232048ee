//! PythonWSGI, PythonWSGIMatch, and their like of other gateways: checks a line, and makes it a `Mount` of its server.

use super::setting::{Set, beside, longer};
use crate::config::gateways::Gateway;
use crate::config::mount::{self, Mount, Place, Target};
use crate::config::{Common, Directory, Entry, HANDLERS, ModPython, PHASES, Phase};
use crate::httpd::apr::pattern::Pattern;
use crate::httpd::module::command::Section;
use crate::httpd::request::section::Overlay;

/// Adds the application of a line, `PythonWSGI /prefix target` or `PythonWSGIMatch expression target`, for this gateway.
pub(super) fn add<'c>(
    setting: &mut Set<'_, 'c>,
    gateway: &'static Gateway,
    place: &'c str,
    target: &'c str,
    is_pattern: bool,
) -> Result<(), String> {
    let pool = setting.pool;
    let target = beside(target, setting.file);
    let (module, callable, is_factory) = mount::parse_target(&target, is_pattern)?;
    let prefix = place.trim_end_matches('/');
    if is_pattern && !place.starts_with("^/") {
        return Err(format!("{place:?} must begin with ^/, as the URI does"));
    }
    // httpd has put a path's slashes and dots in order before it is compared.
    let is_crooked = |prefix: &str| {
        prefix.contains(['*', '?', '[', '"', '\\'])
            || prefix
                .split('/')
                .skip(1)
                .any(|part| matches!(part, "" | "." | ".."))
    };
    if !is_pattern && (!place.starts_with('/') || is_crooked(prefix)) {
        return Err(format!(
            "{place:?} must be a plain path, such as / or /shop"
        ));
    }
    let name = pool.text(&format!("{module}::{callable}"));
    let section = Section::Location {
        pattern: if is_pattern || !prefix.is_empty() {
            prefix
        } else {
            "/"
        },
        regex: is_pattern,
    };
    let place = if is_pattern {
        let compiled = Pattern::new(pool, place);
        let compiled = compiled.ok_or_else(|| format!("{place:?} is no regular expression"))?;
        if let Some(number) = mount::groups_of(&module).find(|&number| number > compiled.groups()) {
            let count = compiled.groups();
            return Err(format!(
                "{target:?} has ${number}, but the expression {place:?} has {count} groups in parentheses"
            ));
        }
        Place::Pattern(place, compiled)
    } else {
        Place::Prefix(prefix)
    };
    let overlay = Overlay::new(pool).ok_or("no memory")?;
    let mount: &'c Mount<'c> = pool.store(Mount {
        place,
        target: Target { name, is_factory },
        handler: pool.c_string(HANDLERS[0].to_bytes()),
        overlay,
        file: setting.file.unwrap_or_default(),
        line: setting.line,
    });
    let mut all = setting.server.mounts.to_vec();
    if let Some(other) = all.iter().find(|other| other.same_place(mount)) {
        return Err(format!(
            "there is an application at this place already, on line {} of {}",
            other.line, other.file
        ));
    }
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
    let options = [(gateway.application, name), (gateway.base_uri, prefix)];
    // What an expression matches is known with the request only.
    let options = options
        .get(..if is_pattern { 1 } else { 2 })
        .unwrap_or_default();
    overlay.fill::<ModPython>(
        pool,
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
        },
    );
    all.push(mount);
    mount::sort(&mut all);
    setting.server.mounts = pool.concat(&all, &[]);
    Ok(())
}
