//! What the sections of the front say for a request: its handlers (`PythonOption mod_python.daemon name`), options, PythonPath and
//! PythonDebug. They go along, and lie on top of the daemon's own sections there.

use super::wire::{Pair, Writer};
use crate::config::options::DAEMON;
use crate::config::{Common, Directory, Entry, HandlerList, ModPython, PHASES, Phase};
use crate::gateway::GATEWAYS;
use crate::httpd::apr::pool::Pool;
use crate::httpd::module::command::{Section, Written};
use crate::httpd::request::Request;
use crate::httpd::request::handed::Application;
use crate::httpd::request::section::Overlay;
use std::ffi::CStr;

/// In the front: writes them down.
pub(super) fn write(request: Request<'_>, writer: &mut Writer) {
    let config = request.config::<ModPython>();
    let is_mounts = |key: &str| {
        // The daemon's own line of the application says this.
        config.mount.is_some()
            && GATEWAYS.iter().any(|gateway| {
                [gateway.application, gateway.base_uri]
                    .iter()
                    .any(|known| key.eq_ignore_ascii_case(known))
            })
    };
    for (key, value) in config.common.options {
        if !key.eq_ignore_ascii_case(DAEMON) && !is_mounts(key) {
            writer.add_named(b'O', key.as_bytes(), value.as_bytes());
        }
    }
    if let Some(path) = config.common.path {
        writer.add(b'P', path.as_bytes());
    }
    if config.common.debug == Some(true) {
        writer.add(b'G', b"1");
    }
    if let Some(mount) = config.mount {
        // Another host may have another one there, in the same daemon.
        let (kind, place, target) = mount.called();
        writer.add_named(
            b'M',
            &[&[kind][..], target.as_bytes()].concat(),
            place.as_bytes(),
        );
        return;
    }
    let name = request.filename().map(CStr::to_bytes);
    if let Some(name) = name {
        let behind = request.path_info();
        writer.add(
            b'f',
            &[name, behind.unwrap_or_default().to_bytes()].concat(),
        );
        if behind.is_none() {
            // After an index (DirectoryIndex) there is none, and no empty one.
            writer.add(b'F', b"");
        }
    }
    let Some((list, _)) = config.handlers_for(Phase::Content, name) else {
        return;
    };
    for entry in list.entries {
        let (kind, place): (&[u8], &str) = match entry.section {
            Section::None => (b"N", ""),
            Section::Location { pattern, regex } => (if regex { b"l" } else { b"L" }, pattern),
            Section::Directory { path, written } => match written {
                Written::Plainly => (b"D", path),
                Written::WithWildCards => (b"w", path),
                Written::AsRegex => (b"r", path),
            },
            Section::Htaccess { path } => (b"H", path),
        };
        writer.add_named(b'z', kind, place.as_bytes());
        let kind = if entry.silent { b'K' } else { b'k' };
        writer.add_named(kind, entry.key.as_bytes(), entry.text.as_bytes());
    }
}

/// In the daemon: what was written down.
#[derive(Default)]
pub(super) struct Gathered<'r> {
    entries: Vec<Entry<'r>>,
    section: Option<Section<'r>>,
    options: Vec<(&'r str, &'r str)>,
    path: Option<&'r str>,
    debug: bool,
    /// The file, and what stands behind it in the URI.
    pub(super) file: Option<&'r CStr>,
    /// There, nothing stands behind it, not even an empty text (`path_info`).
    pub(super) ends: bool,
    /// The application that the front's line names.
    pub(super) application: Option<Application<'r>>,
}

impl<'r> Gathered<'r> {
    /// Takes a pair that is about this.
    pub(super) fn take(&mut self, pool: Pool<'r>, pair: &Pair) {
        let text = |bytes: &[u8]| pool.text(&String::from_utf8_lossy(bytes));
        match pair.key {
            b'O' => self.options.push((text(&pair.name), text(&pair.value))),
            b'P' => self.path = Some(text(&pair.value)),
            b'G' => self.debug = true,
            b'F' => self.ends = true,
            b'M' => {
                if let Some((&kind, target)) = pair.name.split_first() {
                    self.application = Some(Application {
                        kind,
                        place: text(&pair.value),
                        target: text(target),
                    });
                }
            }
            b'f' => self.file = Some(pool.c_string(&pair.value)),
            b'z' => self.section = section(&pair.name, text(&pair.value)),
            b'k' | b'K' => self.entries.push(Entry {
                text: text(&pair.value),
                key: text(&pair.name),
                section: self.section.unwrap_or(Section::None),
                silent: pair.key == b'K',
            }),
            _ => {}
        }
    }

    pub(super) fn has_handlers(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Makes a section of it; None where there is nothing.
    pub(super) fn overlay(&self, pool: Pool<'r>) -> Option<Overlay<'r>> {
        let is_blank = self.options.is_empty() && self.path.is_none() && !self.debug;
        if is_blank && !self.has_handlers() {
            return None;
        }
        let mut directory = Directory {
            common: Common {
                options: pool.concat(&self.options, &[]),
                path: self.path,
                debug: self.debug.then_some(true),
                ..Common::default()
            },
            ..Directory::default()
        };
        if self.has_handlers() {
            let list: &'r HandlerList<'r> = pool.store(HandlerList {
                entries: pool.concat(&self.entries, &[]),
            });
            let mut handlers = [None; PHASES];
            if let Some(slot) = handlers.get_mut(Phase::Content as usize) {
                *slot = Some(list);
            }
            directory.handlers = handlers;
            directory.phases = Phase::Content.bit();
            directory.section = self.section;
        }
        let overlay = Overlay::new(pool)?;
        overlay.fill::<ModPython>(pool, directory);
        Some(overlay)
    }
}

fn section<'r>(kind: &[u8], place: &'r str) -> Option<Section<'r>> {
    let directory = |written| Section::Directory {
        path: place,
        written,
    };
    Some(match kind {
        b"N" => Section::None,
        b"L" | b"l" => Section::Location {
            pattern: place,
            regex: kind == b"l",
        },
        b"D" => directory(Written::Plainly),
        b"w" => directory(Written::WithWildCards),
        b"r" => directory(Written::AsRegex),
        b"H" => Section::Htaccess { path: place },
        _ => return None,
    })
}
