//! THE table of directives: httpd, `docs/directives.md` and the tests read it.

mod applications;
mod daemons;
mod notes;
mod pools;
mod setting;

use crate::config::interpreters::MAIN;
use crate::config::limit::{self, Answerer};
use crate::config::{
    ByExtension, Directory, Entry, Filter, Gil, HandlerList, ModPython, Phase, Seconds, cover,
    filter_key, key, options, parse_handlers,
};
use crate::embed::Cx;
use crate::embed::class::{Args, Function, function};
use crate::gateway::{GATEWAYS, asgi, wsgi};
use crate::httpd::io::filter::names;
use crate::httpd::module::command::{Context, Directive, Setter};
pub(crate) use daemons::HOOKS as HOOKS_OF_DAEMONS;
use daemons::{add_daemon, take_socket};
use notes::{note_daemon, note_doubt, note_member, note_source};
use pools::add_pool;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyList;
use setting::{Set, beside, common, longer};
use std::ffi::CStr;

const fn handler(
    name: &'static std::ffi::CStr,
    context: Context,
    help: &'static std::ffi::CStr,
) -> Directive<ModPython> {
    Directive {
        name,
        arguments: "handler … [| .ext …]",
        context,
        default: "",
        help,
        setter: Setter::Raw(add_handlers),
    }
}

/// Every directive: name, arguments, context, default, help, setter.
pub(crate) static DIRECTIVES: [Directive<ModPython>; 36] = [
    handler(c"PythonPostReadRequestHandler", Context::Server, c"Python handlers that run when a request has been read"),
    handler(c"PythonTransHandler", Context::Server, c"Python handlers that translate a URI to a file name"),
    handler(c"PythonHeaderParserHandler", Context::Everywhere, c"Python handlers that run when the sections of a request are known"),
    handler(c"PythonInitHandler", Context::Everywhere, c"Python handlers that run first: at server level after the request is read, in a section before its header parsers"),
    handler(c"PythonAccessHandler", Context::Everywhere, c"Python handlers that control access by address and such"),
    handler(c"PythonAuthenHandler", Context::Everywhere, c"Python handlers that authenticate the user"),
    handler(c"PythonAuthzHandler", Context::Everywhere, c"Python handlers that authorize the user"),
    handler(c"PythonTypeHandler", Context::Everywhere, c"Python handlers that determine the content type"),
    handler(c"PythonFixupHandler", Context::Everywhere, c"Python handlers that run just before the content is made"),
    handler(c"PythonHandler", Context::Everywhere, c"Python handlers that make the content, where SetHandler or AddHandler says mod_python"),
    handler(c"PythonLogHandler", Context::Everywhere, c"Python handlers that run when the request is logged"),
    handler(c"PythonCleanupHandler", Context::Everywhere, c"Python handlers that run when a request is over, after its clean-ups"),
    Directive {
        name: c"PythonConnectionHandler",
        arguments: "handler",
        context: Context::Server,
        default: "",
        help: c"a Python handler for whole connections, before HTTP",
        setter: Setter::One(|setting, text| {
            let (pool, (handlers, extensions)) = (setting.pool, parse_handlers(text)?);
            let ([text], true) = (handlers.as_slice(), extensions.is_empty()) else {
                return Err("takes one handler; write module or module::function".into());
            };
            let text = beside(text, setting.file);
            let key = if text.contains("::") { text.clone() } else { format!("{text}::connectionhandler") };
            let entry = Entry { text: pool.text(&text), key: pool.text(&key), section: setting.section, silent: false };
            note_source(setting, entry.parts().0);
            setting.server.connection = Some(pool.store(HandlerList { entries: pool.concat(&[entry], &[]) }));
            Ok(())
        }),
    },
    Directive {
        name: c"PythonInputFilter",
        arguments: "handler [name]",
        context: Context::Section,
        default: "",
        help: c"a Python filter for request bodies, and the name for SetInputFilter",
        setter: Setter::OneOrTwo(|setting, handler, name| add_filter(setting, handler, name, true)),
    },
    Directive {
        name: c"PythonOutputFilter",
        arguments: "handler [name]",
        context: Context::Section,
        default: "",
        help: c"a Python filter for answers, and the name for SetOutputFilter",
        setter: Setter::OneOrTwo(|setting, handler, name| add_filter(setting, handler, name, false)),
    },
    Directive {
        name: c"PythonPath",
        arguments: "expression",
        context: Context::Everywhere,
        default: "",
        help: c"a Python expression for sys.path, such as \"sys.path+['/srv/app']\"",
        setter: Setter::One(|setting, value| {
            if value.trim().is_empty() {
                return Err("needs an expression, such as \"sys.path+['/srv/app']\"".into());
            }
            common(setting, |common| common.path = Some(value));
            Ok(())
        }),
    },
    Directive {
        name: c"PythonInterpreter",
        arguments: "name",
        context: Context::Everywhere,
        default: "the server's name",
        help: c"the name of the interpreter that runs the handlers; main_interpreter is the first one",
        setter: Setter::One(|setting, value| {
            if value.trim().is_empty() {
                return Err("needs the name of an interpreter".into());
            }
            note_member(setting, value);
            common(setting, |common| common.interpreter = Some(value));
            Ok(())
        }),
    },
    Directive {
        name: c"PythonInterpPerDirectory",
        arguments: "On|Off",
        context: Context::Everywhere,
        default: "Off",
        help: c"On: an interpreter for each directory that files are served from",
        setter: Setter::Flag(|setting, on| {
            common(setting, |common| common.interpreter_per_directory = Some(on));
            Ok(())
        }),
    },
    Directive {
        name: c"PythonInterpPerDirective",
        arguments: "On|Off",
        context: Context::Everywhere,
        default: "Off",
        help: c"On: an interpreter for each section that a handler directive stands in",
        setter: Setter::Flag(|setting, on| {
            common(setting, |common| common.interpreter_per_directive = Some(on));
            Ok(())
        }),
    },
    Directive {
        name: c"PythonInterpreterGIL",
        arguments: "shared|own [interpreter]",
        context: Context::Server,
        default: "shared",
        help: c"own: the server's interpreters, or the named one, have a lock of their own (Python 3.13 and newer), so that they run at the same time",
        setter: Setter::OneOrTwo(|setting, value, name| {
            let gil = match value.to_ascii_lowercase().as_str() {
                "shared" => Gil::Shared,
                "own" => Gil::Own,
                _ => return Err(format!("must be shared or own, not {value:?}")),
            };
            match name {
                Some(MAIN) => return Err("cannot change main_interpreter: its lock is the one that others share".into()),
                Some(name) => setting.server.gils = setting.pool.concat(setting.server.gils, &[(name, gil)]),
                None => setting.server.gil = Some(gil),
            }
            Ok(())
        }),
    },
    Directive {
        name: c"PythonInterpreterPool",
        arguments: "interpreter size=number",
        context: Context::Server,
        default: "",
        help: c"several interpreters, each with a lock of its own, under one name: a request goes to the one that is least busy",
        setter: Setter::Two(add_pool),
    },
    Directive {
        name: c"PythonDebug",
        arguments: "On|Off",
        context: Context::Everywhere,
        default: "Off",
        help: c"On: a handler's traceback goes to the browser too",
        setter: Setter::Flag(|setting, on| {
            common(setting, |common| common.debug = Some(on));
            Ok(())
        }),
    },
    Directive {
        name: c"PythonEnablePdb",
        arguments: "On|Off",
        context: Context::Everywhere,
        default: "Off",
        help: c"On: handlers run in the debugger, where httpd runs in the foreground with -DONE_PROCESS",
        setter: Setter::Flag(|setting, on| {
            common(setting, |common| common.enable_pdb = Some(on));
            Ok(())
        }),
    },
    Directive {
        name: c"PythonSlowLog",
        arguments: "seconds|Off",
        context: Context::Section,
        default: "Off",
        help: c"a request that takes longer is logged, with how long it waited for the interpreter's lock, was in Python, and was sent",
        setter: Setter::One(|setting, value| {
            let seconds = Seconds::parse(value)?;
            common(setting, |common| common.slow_log = Some(seconds));
            Ok(())
        }),
    },
    Directive {
        name: c"PythonAutoReload",
        arguments: "On|Off",
        context: Context::Everywhere,
        default: "On",
        help: c"Off: a module that has been changed is not loaded again",
        setter: Setter::Flag(|setting, on| {
            common(setting, |common| common.auto_reload = Some(on));
            Ok(())
        }),
    },
    Directive {
        name: c"PythonTimeout",
        arguments: "seconds [handler|wsgi|asgi]",
        context: Context::Section,
        default: "0",
        help: c"the deadline for a request in Python: what is stuck is logged, ended, and answered with 504; 0 is none",
        setter: Setter::OneOrTwo(|setting, seconds, answerer| {
            let limit = setting.pool.store(limit::parse(seconds)?);
            let only = answerer.map(Answerer::parse).transpose()?;
            let is_for = |one| only.is_none_or(|only| only == one);
            common(setting, |common| {
                if is_for(Answerer::Handler) { common.timeout = Some(limit); }
                if is_for(Answerer::Wsgi) { common.wsgi_timeout = Some(limit); }
                if is_for(Answerer::Asgi) { common.asgi_timeout = Some(limit); }
            });
            Ok(())
        }),
    },
    Directive {
        name: c"PythonOption",
        arguments: "key [value]",
        context: Context::Everywhere,
        default: "",
        help: c"a key and value for handlers (req.get_options()); without a value an inherited key is removed",
        setter: Setter::OneOrTwo(|setting, key, value| {
            options::check(GATEWAYS, key, value.unwrap_or_default())?;
            note_doubt(setting, key);
            note_daemon(setting, key, value);
            let (pool, option) = (setting.pool, [(key, value.unwrap_or_default())]);
            let add = |options| cover(pool, options, pool.concat(&option, &[]), |a, b| a.0.eq_ignore_ascii_case(b.0));
            if setting.server.ready.is_some() && setting.server_level {
                // Requests of a daemon have those that their front tells of, and no others.
                setting.server.common.options = add(setting.server.common.options);
            } else {
                common(setting, |common| common.options = add(common.options));
            }
            Ok(())
        }),
    },
    Directive {
        name: c"PythonImport",
        arguments: "module[::function] interpreter",
        context: Context::Server,
        default: "",
        help: c"a module to import, and a function to call, in an interpreter when a child starts",
        setter: Setter::Two(|setting, module, interpreter| {
            parse_handlers(module)?;
            note_source(setting, module.split("::").next().unwrap_or_default());
            note_member(setting, interpreter);
            let import = [(module, interpreter)];
            setting.server.imports = setting.pool.concat(setting.server.imports, &import);
            Ok(())
        }),
    },
    Directive {
        name: c"PythonOptimize",
        arguments: "On|Off",
        context: Context::Server,
        default: "Off",
        help: c"On: Python runs as with -OO, without assertions and docstrings",
        setter: Setter::Flag(|setting, on| {
            setting.server.optimize = Some(on);
            Ok(())
        }),
    },
    Directive {
        name: c"PythonHome",
        arguments: "directory",
        context: Context::Server,
        default: "the Python that the module was built with",
        help: c"the virtual environment that Python runs in; in a virtual host, the one of its interpreters",
        setter: Setter::One(|setting, value| {
            crate::embed::home::check(value)?;
            let shorter = value.trim_end_matches('/');
            setting.server.home = Some(if shorter.is_empty() { value } else { shorter });
            Ok(())
        }),
    },
    Directive {
        name: c"PythonWSGI",
        arguments: "/prefix module:callable [daemon=name]",
        context: Context::Server,
        default: "",
        help: c"a WSGI application below a part of the URI: a module, a file or a factory; what Alias, RewriteRule and ProxyPass have not taken",
        setter: Setter::TwoOrThree(|setting, place, target, daemon| applications::add(setting, &wsgi::GATEWAY, place, target, daemon, false)),
    },
    Directive {
        name: c"PythonWSGIMatch",
        arguments: "expression module:callable [daemon=name]",
        context: Context::Server,
        default: "",
        help: c"WSGI applications where an expression matches the beginning of the URI; $1 in the module or file is its first group",
        setter: Setter::TwoOrThree(|setting, place, target, daemon| applications::add(setting, &wsgi::GATEWAY, place, target, daemon, true)),
    },
    Directive {
        name: c"PythonASGI",
        arguments: "/prefix module:callable [daemon=name]",
        context: Context::Server,
        default: "",
        help: c"an ASGI application below a part of the URI: as PythonWSGI, and it runs in the interpreter's event loop",
        setter: Setter::TwoOrThree(|setting, place, target, daemon| applications::add(setting, &asgi::GATEWAY, place, target, daemon, false)),
    },
    Directive {
        name: c"PythonDaemon",
        arguments: "name [key=value …]",
        context: Context::Server,
        default: "",
        help: c"a private httpd for applications and handlers, with its own user, Python and limits; daemon=name puts an application there",
        setter: Setter::Raw(add_daemon),
    },
    Directive {
        name: c"PythonDaemonSocket",
        arguments: "descriptor|control=path [ready=descriptor]",
        context: Context::Server,
        default: "",
        help: c"internal: the socket of a daemon, in the configuration that is made for it",
        setter: Setter::OneOrTwo(take_socket),
    },
    Directive {
        name: c"PythonHandlerModule",
        arguments: "module … [| .ext …]",
        context: Context::Everywhere,
        default: "",
        help: c"modules whose functions of the default names handle every phase",
        setter: Setter::Raw(|setting, text| Phase::ALL.into_iter().try_for_each(|phase| add(setting, phase, text, true))),
    },
];

fn add_handlers<'c>(setting: &mut Set<'_, 'c>, text: &'c str) -> Result<(), String> {
    let phase = Phase::from_directive(setting.name).ok_or("is not the directive of a phase")?;
    if !phase.knows_extensions() && text.contains('|') {
        return Err(
            "cannot choose by extension: there is no file name yet in this phase; remove the |"
                .into(),
        );
    }
    add(setting, phase, text, false)
}

fn add<'c>(
    setting: &mut Set<'_, 'c>,
    phase: Phase,
    text: &'c str,
    silent: bool,
) -> Result<(), String> {
    let (handlers, extensions) = parse_handlers(text)?;
    let pool = setting.pool;
    let file = setting.file;
    let entries: Vec<Entry<'c>> = handlers
        .into_iter()
        .map(|text| Entry {
            text: pool.text(text),
            key: pool.text(&key(&beside(text, file), phase)),
            section: setting.section,
            silent,
        })
        .collect();
    for entry in &entries {
        note_source(setting, entry.parts().0);
    }
    let directory: &mut Directory<'c> = setting.directory;
    directory.section = Some(setting.section);
    directory.phases |= phase.bit();
    if (extensions.is_empty() || !phase.knows_extensions())
        && let Some(slot) = directory.handlers.get_mut(phase as usize)
    {
        *slot = Some(longer(pool, *slot, &entries));
    }
    if phase.knows_extensions() {
        for extension in extensions {
            let old = directory
                .by_extension
                .iter()
                .find(|entry| entry.phase == phase && entry.extension == extension);
            let list = longer(pool, old.map(|entry| entry.list), &entries);
            let entry = ByExtension {
                phase,
                extension: pool.text(extension),
                list,
            };
            directory.by_extension = cover(
                pool,
                directory.by_extension,
                pool.concat(&[entry], &[]),
                ByExtension::same_place,
            );
        }
    }
    Ok(())
}

/// Adds a filter, and registers its name with httpd, which knows filters in lower case.
fn add_filter<'c>(
    setting: &mut Set<'_, 'c>,
    handler: &'c str,
    name: Option<&'c str>,
    input: bool,
) -> Result<(), String> {
    if parse_handlers(handler)?.0.len() != 1 {
        return Err("takes one handler; write module or module::function".into());
    }
    let pool = setting.pool;
    let name = pool.text(&name.unwrap_or(handler).to_lowercase());
    let told_apart = crate::adapters::filter::register(pool.c_string(name.as_bytes()), input);
    if !told_apart {
        return Err(format!(
            "{name:?} is one name too many: a configuration can have {} different ones",
            names::MOST
        ));
    }
    let entry = Entry {
        text: handler,
        key: pool.text(&filter_key(&beside(handler, setting.file), input)),
        section: setting.section,
        silent: false,
    };
    note_source(setting, entry.parts().0);
    let filter = [Filter { name, input, entry }];
    let directory: &mut Directory<'c> = setting.directory;
    let same = |a: &Filter<'_>, b: &Filter<'_>| a.input == b.input && a.name == b.name;
    directory.filters = cover(pool, directory.filters, pool.concat(&filter, &[]), same);
    Ok(())
}

/// What `_apache` offers of the table.
pub(crate) static FUNCTIONS: &[Function] = &[function!(
    c"_directives()",
    c"(name, arguments, context, default, help) of every directive.",
    directives,
)];

fn directives<'py>(cx: Cx<'py>, _args: Args<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let rows = DIRECTIVES.iter().map(|directive| {
        let context = match directive.context {
            Context::Server => "server, virtual host",
            Context::Section => "server, virtual host, section",
            Context::Everywhere => "server, virtual host, section, .htaccess",
        };
        let text = |text: &'static CStr| text.to_str().unwrap_or_default();
        (
            text(directive.name),
            directive.arguments,
            context,
            directive.default,
            text(directive.help),
        )
    });
    PyList::new(cx.py, rows)?.into_bound_py_any(cx.py)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::httpd::module::command::Section;
    use crate::httpd::module::command::Setting;
    use crate::httpd::module::command::Written;

    #[test]
    fn every_phase_has_its_directive() {
        for phase in Phase::ALL {
            assert!(
                DIRECTIVES
                    .iter()
                    .any(|directive| directive.name.to_bytes() == phase.directive().as_bytes()),
                "{phase:?}"
            );
        }
    }

    #[test]
    fn every_directive_explains_itself() {
        for directive in &DIRECTIVES {
            assert!(!directive.help.is_empty() && !directive.arguments.is_empty());
        }
    }

    /// Lines of a configuration: a byte for the directive, one for the place, and the arguments behind NULs.
    fn check(input: &[u8]) {
        let memory = crate::httpd::apr::pool::OwnedPool::new().unwrap();
        let pool = memory.pool();
        let (mut server, mut directory) = (crate::config::Server::default(), Directory::default());
        for line in input.split(|&byte| byte == b'\n') {
            let [which, place, rest @ ..] = line else {
                continue;
            };
            let Ok(rest) = std::str::from_utf8(rest) else {
                continue;
            };
            let directive = &DIRECTIVES[usize::from(*which) % DIRECTIVES.len()];
            let name = directive.name.to_bytes();
            if name.ends_with(b"Filter")
                || name.starts_with(b"PythonWSGI")
                || name.ends_with(b"Socket")
            {
                continue; // asks something of httpd, which is not there
            }
            let rest = pool.text(rest);
            let (first, second) = rest.split_once('\0').unwrap_or((rest, ""));
            let section = match place % 4 {
                0 => Section::None,
                1 => Section::Location {
                    pattern: second,
                    regex: false,
                },
                2 => Section::Directory {
                    path: "/somewhere/",
                    written: if place % 8 > 4 {
                        Written::AsRegex
                    } else {
                        Written::Plainly
                    },
                },
                _ => Section::Htaccess {
                    path: "/somewhere/",
                },
            };
            let mut setting = Setting {
                name: directive.name.to_str().unwrap(),
                pool,
                server: &mut server,
                directory: &mut directory,
                section,
                file: Some("/etc/some.conf"),
                line: 1,
                server_level: place % 4 == 0,
            };
            let result = match &directive.setter {
                Setter::Raw(set) => set(&mut setting, first),
                Setter::Flag(set) => set(&mut setting, place % 2 == 0),
                Setter::One(set) => set(&mut setting, first),
                Setter::OneOrTwo(set) => set(
                    &mut setting,
                    first,
                    Some(second).filter(|text| !text.is_empty()),
                ),
                Setter::Two(set) => set(&mut setting, first, second),
                Setter::TwoOrThree(set) => set(&mut setting, first, second, None),
            };
            if let Err(reason) = result {
                assert!(!reason.is_empty());
            }
        }
        // What holds for every configuration: merged with nothing it is itself, as far as it is inherited.
        let nothing = Directory::default();
        let merged = Directory::merge(pool, &directory, &nothing);
        assert_eq!(merged.common, directory.common);
        let server_merged =
            crate::config::Server::merge(pool, &server, &crate::config::Server::default());
        assert_eq!(server_merged.common, server.common);
        for phase in Phase::ALL {
            let _ = (merged.list(phase, None), merged.list(phase, Some(".py")));
        }
    }

    #[test]
    fn fuzzed() {
        crate::fuzz::run("directives", check);
    }
}
