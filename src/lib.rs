#![doc = include_str!("README.md")]

// The layers and their order stand in README.md.
mod adapters;
mod config;
mod daemons;
mod directives;
mod embed;
mod exchange;
#[cfg(test)]
mod fuzz;
mod gateway;
mod hooks;
mod httpd;
mod library;
mod mistakes;
mod objects;
mod report;
mod routing;
mod streams;

use config::ModPython;
use directives::DIRECTIVES;
use httpd::module::command::Commands;
use httpd::module::hooks::OWN_NAME;
use httpd::module::record::{Loaded, Record};

impl Loaded for ModPython {
    fn record() -> &'static Record {
        &python_module
    }

    fn register() {
        hooks::register();
    }
}

static COMMANDS: Commands<{ DIRECTIVES.len() + 1 }> = Commands::new(&DIRECTIVES);

/// What `LoadModule python_module …/mod_python.so` looks for. `<IfModule mod_python.c>` knows it by the name in it.
#[expect(unsafe_code, reason = "httpd finds the record by its symbol")]
#[unsafe(no_mangle)]
static python_module: Record = Record::new::<ModPython, _>(OWN_NAME, &COMMANDS);
