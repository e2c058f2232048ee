//! PythonDaemon, and PythonDaemonSocket, which the configuration of a daemon has.

use super::setting::Set;
use crate::config::daemons::{Daemon, check_name};
use crate::httpd::io::listener;
use crate::httpd::module::on_demand::OnDemand;
use std::path::Path;

/// What requests pass where daemons are, at either side.
pub(crate) static HOOKS: OnDemand = OnDemand::new();

/// Adds a daemon: `PythonDaemon name key=value …`.
pub(super) fn add_daemon<'c>(setting: &mut Set<'_, 'c>, arguments: &'c str) -> Result<(), String> {
    let file = setting.file.unwrap_or_default();
    let daemon = Daemon::parse(setting.pool, arguments, file, setting.line)?;
    setting.server.daemons = setting.pool.concat(setting.server.daemons, &[daemon]);
    HOOKS.demand();
    Ok(())
}

/// Reads `daemon=name`, the last argument of an application's line.
pub(super) fn named(argument: &str) -> Result<&str, String> {
    let name = argument.strip_prefix("daemon=");
    let name = name.ok_or_else(|| format!("{argument:?} is not daemon=name"))?;
    check_name(name)?;
    Ok(name)
}

/// Takes over a socket: `PythonDaemonSocket 3 [ready=4]`, or `PythonDaemonSocket control=/path`.
pub(super) fn take_socket<'c>(
    setting: &mut Set<'_, 'c>,
    socket: &'c str,
    ready: Option<&'c str>,
) -> Result<(), String> {
    let descriptor = |text: &str| text.parse::<i32>().ok().filter(|number| *number > 2);
    HOOKS.demand();
    if let Some(path) = socket.strip_prefix("control=") {
        if ready.is_some() || !path.starts_with('/') {
            return Err("control= takes an absolute path, and nothing behind it".into());
        }
        return listener::bind(Path::new(path));
    }
    let number = descriptor(socket)
        .ok_or_else(|| format!("needs the number of a descriptor, not {socket:?}"))?;
    if let Some(text) = ready {
        let number = text.strip_prefix("ready=").and_then(descriptor);
        let number = number.ok_or_else(|| format!("{text:?} is not ready= and a descriptor"))?;
        setting.server.ready = Some(number);
    }
    listener::adopt(number)
}
