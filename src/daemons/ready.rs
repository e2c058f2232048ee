//! In a daemon: its first child says whether the applications could be imported, before it accepts a connection.

use crate::embed::lifecycle;
use crate::httpd::module::retirement;

/// Says so on the descriptor, in one line: `ready` and the version of Python, or `failed` and why. Where somebody has read of a failure, the whole daemon ends:
/// who started it decides what becomes of it. Nobody reads what later children say; they go on with what they have.
pub(crate) fn report(descriptor: i32, failure: Option<&str>) {
    let line = match failure {
        None => {
            let version = lifecycle::version();
            format!("ready {}\n", version.split(' ').next().unwrap_or_default())
        }
        Some(text) => format!("failed {}\n", text.replace(['\r', '\n'], " ")),
    };
    let is_read = retirement::tell(descriptor, line.as_bytes());
    if is_read && failure.is_some() {
        retirement::end_with_parent();
    }
}
