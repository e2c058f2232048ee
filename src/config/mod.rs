//! Configuration: plain structs of references into httpd's pools, and how two of them merge.
//!
//! The structs are `Copy`, since httpd merges the sections' structs for every request: that has to be as cheap as a copy. What
//! they refer to lives in the configuration's pool, or, what .htaccess files say, in the request's.

mod cover;
pub(crate) mod daemons;
pub(crate) mod gateways;
mod handlers;
pub(crate) mod interpreters;
pub(crate) mod limit;
mod merge;
pub(crate) mod mount;
pub(crate) mod options;
mod phase;
pub(crate) mod proxies;
mod seconds;
mod settings;

pub(crate) use cover::cover;
pub(crate) use handlers::{Entry, HandlerList, filter_key, key, parse as parse_handlers};
pub(crate) use phase::{PHASES, Phase};
pub(crate) use seconds::Seconds;
pub(crate) use settings::Common;

use crate::httpd::apr::pool::Pool;
use crate::httpd::module::command::Section;
use crate::httpd::module::kept::Module;
use daemons::Daemon;
use mount::Mount;

/// This module, as its configuration knows it.
pub(crate) struct ModPython;

impl Module for ModPython {
    type Server<'c> = Server<'c>;
    type Directory<'c> = Directory<'c>;

    fn merge_server<'c>(pool: Pool<'c>, base: &Server<'c>, over: &Server<'c>) -> Server<'c> {
        Server::merge(pool, base, over)
    }

    fn merge_directory<'c>(
        pool: Pool<'c>,
        base: &Directory<'c>,
        over: &Directory<'c>,
    ) -> Directory<'c> {
        Directory::merge(pool, base, over)
    }

    fn is_blank(directory: &Directory<'_>) -> bool {
        directory.is_blank()
    }

    fn broken_directory<'c>(_pool: Pool<'c>, over: &Directory<'c>) -> Directory<'c> {
        Directory {
            phases: BROKEN,
            ..*over
        }
    }
}

/// The names under which SetHandler and AddHandler know us.
pub(crate) const HANDLERS: [&std::ffi::CStr; 2] = [c"mod_python", c"python-program"];

/// The per-directory configuration: what a section, a .htaccess file or the server level says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Directory<'c> {
    /// The phases that have handlers, one bit each (`Phase::bit`).
    pub(crate) phases: u32,
    /// The handlers of each phase, without `| .ext`.
    pub(crate) handlers: [Option<&'c HandlerList<'c>>; PHASES],
    /// The handlers with `| .ext`: for a file of that extension they take the place of `handlers`.
    pub(crate) by_extension: &'c [ByExtension<'c>],
    /// PythonInputFilter and PythonOutputFilter.
    pub(crate) filters: &'c [Filter<'c>],
    pub(crate) common: Common<'c>,
    /// The section that the last handler directive stands in.
    pub(crate) section: Option<Section<'c>>,
    /// The application (PythonWSGI) that answers the request; set for the request alone.
    pub(crate) mount: Option<&'c Mount<'c>>,
}

/// Stands in `Directory::phases` of a configuration that could not be merged: every phase, and bits of none.
pub(crate) const BROKEN: u32 = u32::MAX;

/// The handler list of a phase for file names with an extension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ByExtension<'c> {
    pub(crate) phase: Phase,
    /// With its dot.
    pub(crate) extension: &'c str,
    pub(crate) list: &'c HandlerList<'c>,
}

/// A Python filter and the name that httpd knows it by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Filter<'c> {
    pub(crate) name: &'c str,
    pub(crate) input: bool,
    pub(crate) entry: Entry<'c>,
}

/// The per-server configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Server<'c> {
    pub(crate) common: Common<'c>,
    pub(crate) optimize: Option<bool>,
    /// PythonHome. Not inherited: the main server's is the process's, a virtual host's that of its interpreters.
    pub(crate) home: Option<&'c str>,
    /// PythonConnectionHandler.
    pub(crate) connection: Option<&'c HandlerList<'c>>,
    /// PythonInterpreterGIL without a name. Not inherited: the main server's is every interpreter's default.
    pub(crate) gil: Option<Gil>,
    /// PythonInterpreterGIL with the name of an interpreter.
    pub(crate) gils: &'c [(&'c str, Gil)],
    /// PythonInterpreterPool: name and size.
    pub(crate) pools: &'c [(&'c str, usize)],
    /// Names such as `pool#1`, each an interpreter of a pool, and the directive that they stand in. Not inherited.
    pub(crate) members: &'c [(&'static str, &'c str)],
    /// Interpreters that directives name, also those in sections, but not in .htaccess files. Not inherited.
    pub(crate) interpreters: &'c [&'c str],
    /// PythonImport: module and interpreter, in file order. Not inherited: each is done once.
    pub(crate) imports: &'c [(&'c str, &'c str)],
    /// Files that directives name as handlers, also those in sections, but not in .htaccess files. Not inherited.
    pub(crate) sources: &'c [Source<'c>],
    /// PythonOptions that cannot have been meant, also those in sections, but not in .htaccess files. Not inherited.
    pub(crate) doubts: &'c [Doubt<'c>],
    /// PythonWSGI and PythonWSGIMatch, in the order in which `mount::find` tries them.
    pub(crate) mounts: &'c [&'c Mount<'c>],
    /// PythonDaemon. Not inherited: each is started once.
    pub(crate) daemons: &'c [Daemon<'c>],
    /// Daemons that PythonOptions name, also those in sections, but not in .htaccess files. Not inherited.
    pub(crate) handed: &'c [&'c str],
    /// PythonDaemonSocket's `ready=`: where a child says that it can serve. Not inherited.
    pub(crate) ready: Option<i32>,
}

/// A file of Python that a directive names by its absolute path, and where the directive stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source<'c> {
    pub(crate) path: &'c str,
    pub(crate) directive: &'static str,
    pub(crate) file: &'c str,
    pub(crate) line: u32,
}

/// A PythonOption that nobody reads, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doubt<'c> {
    pub(crate) key: &'c str,
    /// What is wrong with it.
    pub(crate) text: &'c str,
    pub(crate) file: &'c str,
    pub(crate) line: u32,
}

/// Whether an interpreter has a lock of its own (PEP 684).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gil {
    Shared,
    Own,
}

impl Gil {
    /// The word for it in the log and in `mod_python.status`; a free-threaded Python (PEP 703) has no lock.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            _ if cfg!(Py_GIL_DISABLED) => "none",
            Gil::Shared => "shared",
            Gil::Own => "own",
        }
    }
}

impl<'c> Directory<'c> {
    /// Finds the handlers of a phase for a file: those for its extension, and that extension; or the plain ones.
    pub(crate) fn handlers_for(
        &self,
        phase: Phase,
        file_name: Option<&[u8]>,
    ) -> Option<(&'c HandlerList<'c>, Option<&'c str>)> {
        if !self.by_extension.is_empty()
            && let Some(extension) = file_name.and_then(extension_of)
            && let Some(found) = self
                .by_extension
                .iter()
                .find(|entry| entry.phase == phase && entry.extension.as_bytes() == extension)
        {
            return Some((found.list, Some(found.extension)));
        }
        Some((self.list(phase, None)?, None))
    }

    /// Finds the handlers of a phase for one extension; without one, the plain ones.
    pub(crate) fn list(
        &self,
        phase: Phase,
        extension: Option<&str>,
    ) -> Option<&'c HandlerList<'c>> {
        match extension {
            None => self.handlers.get(phase as usize).copied().flatten(),
            Some(extension) => {
                let mut lists = self.by_extension.iter();
                let found =
                    lists.find(|entry| entry.phase == phase && entry.extension == extension);
                found.map(|entry| entry.list)
            }
        }
    }

    pub(crate) fn is_location(&self) -> bool {
        matches!(self.section, Some(Section::Location { .. }))
    }
}

/// Finds the extension, from the first dot of a path's last part on: `.tar.gz` of `/a/b.tar.gz`.
fn extension_of(path: &[u8]) -> Option<&[u8]> {
    let base = path.rsplit(|&byte| byte == b'/').next()?;
    let dot = base.iter().position(|&byte| byte == b'.')?;
    base.get(dot..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_begins_at_the_first_dot_of_the_last_part() {
        assert_eq!(extension_of(b"/a.b/c.tar.gz"), Some(&b".tar.gz"[..]));
        assert_eq!(extension_of(b"/a.b/c"), None);
        assert_eq!(extension_of(b"/a.b/"), None);
        assert_eq!(extension_of(b"x."), Some(&b"."[..]));
    }

    #[test]
    fn an_extension_list_stands_instead_of_the_plain_one() {
        let plain = HandlerList { entries: &[] };
        let special = HandlerList { entries: &[] };
        let by_extension = [ByExtension {
            phase: Phase::Content,
            extension: ".py",
            list: &special,
        }];
        let mut directory = Directory {
            by_extension: &by_extension,
            ..Directory::default()
        };
        assert_eq!(
            directory.handlers_for(Phase::Content, Some(b"/x.html")),
            None
        );
        directory.handlers[Phase::Content as usize] = Some(&plain);
        assert_eq!(
            directory.handlers_for(Phase::Content, Some(b"/x.py")),
            Some((&special, Some(".py")))
        );
        assert_eq!(
            directory.handlers_for(Phase::Content, Some(b"/x.html")),
            Some((&plain, None))
        );
        assert_eq!(directory.handlers_for(Phase::Log, Some(b"/x.py")), None);
        assert_eq!(
            directory.handlers_for(Phase::Content, None),
            Some((&plain, None))
        );
    }
}
