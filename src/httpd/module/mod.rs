//! What makes a module of httpd (http_config.h): its record, the configuration behind it, directives, hooks.

pub(crate) mod asking;
pub(crate) mod command;
pub(crate) mod hooks;
pub(crate) mod kept;
pub(in crate::httpd) mod merged;
pub(crate) mod on_demand;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod reach;
pub(crate) mod record;
pub(crate) mod retirement;
pub(in crate::httpd) mod slot;
pub(crate) mod tree;
pub(crate) mod unfinished;
