//! Bytes on their way: bodies, answers, filters, files, raw connections, Python's standard streams.

mod aborted;
pub(crate) mod body;
pub(crate) mod connection;
pub(crate) mod error_page;
pub(crate) mod facing;
pub(crate) mod file_part;
pub(crate) mod filter;
pub(crate) mod forked;
pub(crate) mod include;
pub(crate) mod limited;
pub(crate) mod listener;
pub(crate) mod output;
pub(crate) mod parked;
pub(crate) mod poll;
pub(crate) mod session_file;
pub(in crate::httpd) mod sink;
pub(crate) mod staying;
pub(crate) mod stdio;
pub(crate) mod tunnel;
pub(crate) mod unwaited;
pub(crate) mod watch;

pub(crate) use aborted::Aborted;
