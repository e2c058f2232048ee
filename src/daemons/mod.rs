//! Daemons: applications that run in a private httpd of their own, which this httpd, the front, passes requests to.

pub(crate) mod arrival;
pub(crate) mod check;
pub(crate) mod handover;
pub(crate) mod keep;
pub(crate) mod kept;
mod other;
pub(crate) mod ready;
mod section;
pub(crate) mod states;
mod wanted;
mod wire;

use crate::config::daemons::Daemon;
use crate::httpd::apr::pool::Pool;
use crate::httpd::request::server::runtime_path;
use std::path::PathBuf;

/// The directory of what the front makes for its daemons, below DefaultRuntimeDir; this process's, which has to be httpd's parent.
pub(crate) fn runtime_directory(pool: Pool<'_>) -> PathBuf {
    runtime_path(pool, &format!("mod_python.{}", std::process::id()))
}

/// The socket of a daemon, there.
pub(crate) fn socket_path(pool: Pool<'_>, daemon: &Daemon<'_>) -> PathBuf {
    runtime_directory(pool).join(format!("{}.sock", daemon.name))
}
