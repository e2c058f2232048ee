//! What directives remember for the check of the whole configuration.

use super::setting::Set;
use crate::config::interpreters::pool_of;
use crate::config::{Doubt, Source, options};
use crate::gateway::GATEWAYS;
use crate::httpd::module::command::Section;

/// Remembers a file that a directive names, for the check whether httpd's children can read it: as whom they run is known
/// when all of the configuration has been read. Each file is remembered once.
pub(super) fn note_source<'c>(setting: &mut Set<'_, 'c>, path: &'c str) {
    let known = setting.server.sources;
    if !path.starts_with('/')
        || matches!(setting.section, Section::Htaccess { .. })
        || known.iter().any(|source| source.path == path)
    {
        return;
    }
    let source = Source {
        path,
        directive: setting.name,
        file: setting.file.unwrap_or_default(),
        line: setting.line,
    };
    setting.server.sources = setting.pool.concat(known, &[source]);
}

/// Remembers an option that bears a name of ours and that nobody reads, for a warning. Not for an .htaccess file: it would be told of with
/// each request.
pub(super) fn note_doubt<'c>(setting: &mut Set<'_, 'c>, key: &'c str) {
    if matches!(setting.section, Section::Htaccess { .. }) {
        return;
    }
    if let Some(text) = options::doubt(GATEWAYS, key) {
        let doubt = Doubt {
            key,
            text: setting.pool.text(&text),
            file: setting.file.unwrap_or_default(),
            line: setting.line,
        };
        setting.server.doubts = setting.pool.concat(setting.server.doubts, &[doubt]);
    }
}

/// Remembers that a directive names an interpreter; one of a pool (`pool#1`) is checked when all pools are known. Not for an
/// .htaccess file, which is read with a request, long after that.
pub(super) fn note_member<'c>(setting: &mut Set<'_, 'c>, name: &'c str) {
    if matches!(setting.section, Section::Htaccess { .. }) {
        return;
    }
    setting.server.interpreters = setting.pool.concat(setting.server.interpreters, &[name]);
    if pool_of(name).is_some() {
        let member = [(setting.name, name)];
        setting.server.members = setting.pool.concat(setting.server.members, &member);
    }
}

/// Remembers that a PythonOption names a daemon: whether there is one shows when all of the configuration has been read.
pub(super) fn note_daemon<'c>(setting: &mut Set<'_, 'c>, key: &str, name: Option<&'c str>) {
    let is_meant = key.eq_ignore_ascii_case(options::DAEMON);
    if let Some(name) = name.filter(|name| is_meant && !name.is_empty())
        && !matches!(setting.section, Section::Htaccess { .. })
    {
        setting.server.handed = setting.pool.concat(setting.server.handed, &[name]);
    }
}
