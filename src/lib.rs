#![doc = include_str!("README.md")]

// The layers, in the order in which a request meets them; an upper one may use a lower one, never the reverse.
//   hooks                        the itinerary: which phase calls what
//   dispatch, filter, ssi, ending  run a phase's handlers; a filter's; a tag in a page; what ends with the request
//   wsgi                         PEP 3333 on top of the request object
//   report                       errors of handlers: log, status, page
//   library                      native help for the Python package
//   objects                      what Python sees
//   routing                      which interpreter runs a request
//   embed                        attaching an interpreter
//   httpd                        the floor: safe httpd and APR
// `config` is data that all of them read: a directive becomes a typed value.
mod config;
mod dispatch;
mod embed;
mod ending;
mod filter;
#[cfg(test)]
mod fuzz;
mod hooks;
mod httpd;
mod library;
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
