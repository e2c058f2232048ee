#![doc = include_str!("README.md")]

// In the order in which a request meets them; an upper module may use a lower one, never the reverse.
mod config; // 1 a directive becomes a typed value
mod dispatch; // 3 runs a phase's handlers
mod embed; // 5 attaching an interpreter
mod ending; //   what happens when a request ends
mod filter; //   Python as input and output filter
mod hooks; // 2 the request's itinerary: which phase calls what
mod httpd;
mod objects; // 4 what Python sees
mod report; //   errors of handlers: log, status, page
mod routing; //   which interpreter runs a request // 6 the floor: safe httpd and APR

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

    fn register() {
        hooks::register();
    }
}

static COMMANDS: Commands<{ DIRECTIVES.len() + 1 }> = Commands::new(&DIRECTIVES);

/// What `LoadModule python_module …/mod_python.so` looks for. `<IfModule mod_python.c>` knows it by the name in it.
#[expect(unsafe_code, reason = "httpd finds the record by its symbol")]
#[unsafe(no_mangle)]
static python_module: Record = Record::new::<ModPython, _>(c"mod_python.c", &COMMANDS);
