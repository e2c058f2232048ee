//! What Python sees: one class a file or folder, all of them safe code over `embed::class` and `httpd`. Of a class that others make
//! objects of and that makes objects of others, `payload` is what an instance carries, and `class` what Python sees of it.

pub(crate) mod connection;
mod contents;
pub(crate) mod filter;
pub(crate) mod finfo;
mod functions;
pub(crate) mod hlist;
pub(crate) mod in_flight;
mod locks;
mod logging;
pub(crate) mod measures;
mod memo;
pub(crate) mod query;
mod records;
pub(crate) mod refusal;
pub(crate) mod request;
pub(crate) mod server;
pub(crate) mod table;
mod table_part;
mod table_rules;

pub(crate) use contents::populate;
pub(crate) use functions::FUNCTIONS;
