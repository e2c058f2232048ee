#![doc = include_str!("README.md")]

// The layers and their order stand in README.md.
mod config;
mod dispatch;
mod embed;
mod ending;
mod filter;
#[cfg(test)]
mod fuzz;
mod hooks;
mod httpd;
mod mistakes;
mod objects;
mod report;
mod routing;
mod ssi;
mod wsgi;

use config::directives::DIRECTIVES;
use httpd::command::Commands;
use httpd::module::{Module, Record};
use httpd::pool::Pool;

/// This module, as httpd knows it.
struct ModPython;

impl Module for ModPython {
    type Server<'c> = config::Server<'c>;
    type Directory<'c> = config::Directory<'c>;
    type Exchange = objects::exchange::Exchange;

    fn record() -> &'static Record {
        &python_module
    }

    fn merge_server<'c>(
        pool: Pool<'c>,
        base: &config::Server<'c>,
        over: &config::Server<'c>,
    ) -> config::Server<'c> {
        config::Server::merge(pool, base, over)
    }

    fn merge_directory<'c>(
        pool: Pool<'c>,
        base: &config::Directory<'c>,
        over: &config::Directory<'c>,
    ) -> config::Directory<'c> {
        config::Directory::merge(pool, base, over)
    }

    fn broken_directory<'c>(
        _pool: Pool<'c>,
        over: &config::Directory<'c>,
    ) -> config::Directory<'c> {
        config::Directory {
            phases: config::BROKEN,
            ..*over
        }
    }

    fn register() {
        hooks::register();
    }
}

static COMMANDS: Commands<{ DIRECTIVES.len() + 1 }> = Commands::new(&DIRECTIVES);

/// What `LoadModule python_module …/mod_python.so` looks for. `<IfModule mod_python.c>` knows it by the name in it.
#[expect(unsafe_code, reason = "httpd finds the record by its symbol")]
#[unsafe(no_mangle)]
static python_module: Record = Record::new::<ModPython, _>(httpd::hooks::OWN_NAME, &COMMANDS);
