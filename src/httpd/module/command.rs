//! Directives: makes httpd's command_recs of a typed table, and calls a typed setter when httpd has read one.
//!
//! A setter refuses what it is given by `Err(text)`; httpd, and `httpd -t`, print that with file and line.

use crate::httpd::apr::pool::Pool;
use crate::httpd::guard::guard;
use crate::httpd::module::kept::Module;
use crate::httpd::module::slot;
use crate::httpd::sys;
use std::ffi::{CStr, c_char, c_int, c_void};

/// Where a directive may stand (http_config.h: RSRC_CONF, ACCESS_CONF, OR_ALL).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    /// Outside sections: in the server and in virtual hosts.
    Server,
    /// There, and in `<Directory>`, `<Location>` and `<Files>` sections.
    Section,
    /// There, in these sections, and in .htaccess files (with any AllowOverride but None).
    Everywhere,
}

/// How httpd parses a directive's arguments, and the function that they are given to.
pub(crate) enum Setter<M: Module> {
    Raw(for<'a, 'c> fn(&mut Setting<'a, 'c, M>, &'c str) -> Result<(), String>),
    Flag(for<'a, 'c> fn(&mut Setting<'a, 'c, M>, bool) -> Result<(), String>),
    One(for<'a, 'c> fn(&mut Setting<'a, 'c, M>, &'c str) -> Result<(), String>),
    OneOrTwo(
        for<'a, 'c> fn(&mut Setting<'a, 'c, M>, &'c str, Option<&'c str>) -> Result<(), String>,
    ),
    Two(for<'a, 'c> fn(&mut Setting<'a, 'c, M>, &'c str, &'c str) -> Result<(), String>),
    TwoOrThree(
        for<'a, 'c> fn(
            &mut Setting<'a, 'c, M>,
            &'c str,
            &'c str,
            Option<&'c str>,
        ) -> Result<(), String>,
    ),
}

/// One directive: a line of the table.
pub(crate) struct Directive<M: Module> {
    pub(crate) name: &'static CStr,
    pub(crate) arguments: &'static str,
    pub(crate) context: Context,
    pub(crate) default: &'static str,
    pub(crate) help: &'static CStr,
    pub(crate) setter: Setter<M>,
}

/// What a setter is called with, and may change.
pub(crate) struct Setting<'a, 'c, M: Module> {
    /// The directive's name, as the table spells it.
    pub(crate) name: &'static str,
    /// For what has to live as long as the configuration that is being read.
    pub(crate) pool: Pool<'c>,
    pub(crate) server: &'a mut M::Server<'c>,
    pub(crate) directory: &'a mut M::Directory<'c>,
    pub(crate) section: Section<'c>,
    /// The configuration file that the directive stands in.
    pub(crate) file: Option<&'c str>,
    /// Its line there.
    pub(crate) line: u32,
    /// Does the directive stand outside of all sections (cmd_parms.path is NULL)?
    pub(crate) server_level: bool,
}

/// The section, or .htaccess file, that a directive stands in. It gives a handler its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section<'c> {
    None,
    Location { pattern: &'c str, regex: bool },
    Directory { path: &'c str, written: Written },
    Htaccess { path: &'c str },
}

/// How the path of a `<Directory>` is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Plainly,
    WithWildCards,
    AsRegex,
}

/// The directives as httpd wants them: a command_rec for each, and an empty one at the end.
pub(crate) struct Commands<const N: usize>([sys::command_rec; N]);

// SAFETY: httpd only reads the table.
unsafe impl<const N: usize> Sync for Commands<N> {}

impl<const N: usize> Commands<N> {
    /// Makes them of the table. `N` is one more than the number of directives.
    pub(crate) const fn new<M: Module>(table: &'static [Directive<M>]) -> Commands<N> {
        assert!(
            table.len() + 1 == N,
            "the command table ends with an empty entry"
        );
        let mut commands = [END; N];
        let mut i = 0;
        while i < table.len() {
            #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
            let (command, directive) = (&mut commands[i], &table[i]);
            command.name = directive.name.as_ptr();
            command.errmsg = directive.help.as_ptr();
            command.cmd_data = std::ptr::from_ref(directive).cast_mut().cast();
            command.req_override = match directive.context {
                Context::Server => sys::RSRC_CONF,
                Context::Section => sys::RSRC_CONF | sys::ACCESS_CONF,
                Context::Everywhere => sys::OR_ALL,
            };
            (command.args_how, command.func) = match directive.setter {
                Setter::Raw(_) => (
                    sys::cmd_how_RAW_ARGS,
                    sys::cmd_func {
                        raw_args: Some(one::<M>),
                    },
                ),
                Setter::One(_) => (
                    sys::cmd_how_TAKE1,
                    sys::cmd_func {
                        take1: Some(one::<M>),
                    },
                ),
                Setter::Flag(_) => (
                    sys::cmd_how_FLAG,
                    sys::cmd_func {
                        flag: Some(flag::<M>),
                    },
                ),
                Setter::OneOrTwo(_) => (
                    sys::cmd_how_TAKE12,
                    sys::cmd_func {
                        take2: Some(two::<M>),
                    },
                ),
                Setter::Two(_) => (
                    sys::cmd_how_TAKE2,
                    sys::cmd_func {
                        take2: Some(two::<M>),
                    },
                ),
                Setter::TwoOrThree(_) => (
                    sys::cmd_how_TAKE23,
                    sys::cmd_func {
                        take3: Some(three::<M>),
                    },
                ),
            };
            i += 1;
        }
        Commands(commands)
    }

    pub(in crate::httpd) const fn as_ptr(&'static self) -> *const sys::command_rec {
        self.0.as_ptr()
    }
}

const END: sys::command_rec = sys::command_rec {
    name: std::ptr::null(),
    func: sys::cmd_func { no_args: None },
    cmd_data: std::ptr::null_mut(),
    req_override: 0,
    args_how: sys::cmd_how_NO_ARGS,
    errmsg: std::ptr::null(),
};

unsafe extern "C" fn one<M: Module>(
    command: *mut sys::cmd_parms,
    config: *mut c_void,
    argument: *const c_char,
) -> *const c_char {
    // SAFETY: httpd passes what `call` asks for.
    unsafe {
        call::<M>(command, config, |directive, setting| {
            match directive.setter {
                Setter::Raw(set) | Setter::One(set) => {
                    set(setting, utf8(argument)?.unwrap_or_default())
                }
                _ => Err("unexpected arguments".into()),
            }
        })
    }
}

unsafe extern "C" fn two<M: Module>(
    command: *mut sys::cmd_parms,
    config: *mut c_void,
    first: *const c_char,
    second: *const c_char,
) -> *const c_char {
    // SAFETY: httpd passes what `call` asks for.
    unsafe {
        call::<M>(command, config, |directive, setting| {
            let (first, second) = (utf8(first)?.unwrap_or_default(), utf8(second)?);
            match directive.setter {
                Setter::OneOrTwo(set) => set(setting, first, second),
                Setter::Two(set) => set(setting, first, second.unwrap_or_default()),
                _ => Err("unexpected arguments".into()),
            }
        })
    }
}

unsafe extern "C" fn three<M: Module>(
    command: *mut sys::cmd_parms,
    config: *mut c_void,
    first: *const c_char,
    second: *const c_char,
    third: *const c_char,
) -> *const c_char {
    // SAFETY: httpd passes what `call` asks for.
    unsafe {
        call::<M>(command, config, |directive, setting| {
            let (first, second) = (utf8(first)?, utf8(second)?.unwrap_or_default());
            match directive.setter {
                Setter::TwoOrThree(set) => {
                    set(setting, first.unwrap_or_default(), second, utf8(third)?)
                }
                _ => Err("unexpected arguments".into()),
            }
        })
    }
}

unsafe extern "C" fn flag<M: Module>(
    command: *mut sys::cmd_parms,
    config: *mut c_void,
    on: c_int,
) -> *const c_char {
    // SAFETY: httpd passes what `call` asks for.
    unsafe {
        call::<M>(command, config, |directive, setting| {
            match directive.setter {
                Setter::Flag(set) => set(setting, on != 0),
                _ => Err("unexpected arguments".into()),
            }
        })
    }
}

/// # Safety
/// `command` is httpd's cmd_parms for one of our directives, `config` our per-directory configuration.
unsafe fn call<'c, M: Module>(
    command: *mut sys::cmd_parms,
    config: *mut c_void,
    set: impl FnOnce(&'static Directive<M>, &mut Setting<'_, 'c, M>) -> Result<(), String>,
) -> *const c_char {
    // SAFETY: cmd_data is a `Directive<M>` (see `Commands::new`); httpd's structures are live during the call,
    // and what is taken out of them with lifetime 'c lies in the configuration's pool.
    unsafe {
        let directive = &*(*command).info.cast::<Directive<M>>();
        let Some(pool) = Pool::from_raw((*command).pool) else {
            return c"no pool".as_ptr();
        };
        let name = directive.name.to_str().unwrap_or_default();
        let result = guard("directive", || {
            let mut setting = Setting {
                name,
                pool,
                server: &mut *slot::slot((*(*command).server).module_config)
                    .cast::<M::Server<'c>>(),
                directory: &mut *config.cast::<M::Directory<'c>>(),
                section: around(command, pool)?,
                file: utf8((*(*command).directive).filename)?,
                line: u32::try_from((*(*command).directive).line_num).unwrap_or_default(),
                server_level: (*command).path.is_null(),
            };
            set(directive, &mut setting)
        });
        match result.unwrap_or_else(Err) {
            Ok(()) => std::ptr::null(),
            Err(text) => pool.c_string(format!("{name}: {text}").as_bytes()).as_ptr(),
        }
    }
}

/// Finds the innermost `<Location>` or `<Directory>` around a directive, or its .htaccess file.
///
/// # Safety
/// As for `call`.
unsafe fn around<'c>(command: *mut sys::cmd_parms, pool: Pool<'c>) -> Result<Section<'c>, String> {
    // SAFETY: the directive tree and cmd_parms are live during the call.
    unsafe {
        // Only where httpd reads an .htaccess file both pools are the same, the request's.
        let htaccess = (*command).pool == (*command).temp_pool;
        let mut node = (*command).directive.cast_const();
        while let Some(directive) = node
            .as_ref()
            .and_then(|node| node.parent.cast_const().as_ref())
        {
            let name = utf8(directive.directive)?
                .unwrap_or_default()
                .to_ascii_lowercase();
            let arguments = utf8(directive.args)?.unwrap_or_default().trim();
            let arguments = arguments.strip_suffix('>').unwrap_or(arguments).trim();
            let (regex, text) = match arguments.strip_prefix('~') {
                Some(rest) => (true, rest.trim()),
                None => (name.ends_with("match"), arguments),
            };
            let text = pool.text(text.trim_matches(|quote| quote == '"' || quote == '\''));
            match name.as_str() {
                "<location" | "<locationmatch" => {
                    return Ok(Section::Location {
                        pattern: text,
                        regex,
                    });
                }
                "<directory" | "<directorymatch" if regex => {
                    return Ok(Section::Directory {
                        path: text,
                        written: Written::AsRegex,
                    });
                }
                "<directory" | "<directorymatch" => {
                    // httpd has made the path absolute in cmd_parms, unless there is a <Files> inside, whose name is there then.
                    let path = if std::ptr::eq(directive, (*(*command).directive).parent) {
                        utf8((*command).path)?
                    } else {
                        None
                    };
                    let path = with_slash(pool, path.unwrap_or(text));
                    let written = if path.contains(['*', '?', '[']) {
                        Written::WithWildCards
                    } else {
                        Written::Plainly
                    };
                    return Ok(Section::Directory { path, written });
                }
                _ => node = directive,
            }
        }
        match utf8((*command).path)? {
            Some(path) if htaccess => Ok(Section::Htaccess {
                path: with_slash(pool, path),
            }),
            _ => Ok(Section::None),
        }
    }
}

fn with_slash<'c>(pool: Pool<'c>, path: &str) -> &'c str {
    if path.ends_with('/') {
        pool.text(path)
    } else {
        pool.text(&format!("{path}/"))
    }
}

/// # Safety
/// `text` is NULL or a C string that lives for `'c`.
unsafe fn utf8<'c>(text: *const c_char) -> Result<Option<&'c str>, String> {
    // SAFETY: the caller's promise.
    match unsafe { crate::httpd::text(text) }.map(CStr::to_str) {
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err("the configuration text is not UTF-8".into()),
        None => Ok(None),
    }
}
