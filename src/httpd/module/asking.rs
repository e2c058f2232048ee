//! A program that is asked something and ends by itself: as another user, with nothing of httpd's but its standard streams, and for a
//! limited time.

use super::process::Identity;
use std::ffi::OsStr;
use std::io::{Error, Read, Result};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a program has said.
pub(crate) struct Said {
    /// The signal that has ended it; None where it has ended by itself.
    pub(crate) signal: Option<i32>,
    /// Its standard error.
    pub(crate) text: String,
}

/// Runs a program, in `/`. Kills it when the time is up, which shows as a signal. `identity`: None is whom this process is.
///
/// # Errors
/// Why it cannot be run, or not as that user.
pub(crate) fn ask(
    program: &Path,
    arguments: &[&OsStr],
    environment: &[(&str, &str)],
    identity: Option<&Identity>,
    patience: Duration,
) -> Result<Said> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let identity = identity.cloned();
    // SAFETY: between fork and exec; system calls on numbers and memory that was made before.
    unsafe {
        command.pre_exec(move || {
            keep_to_itself();
            let Some(identity) = &identity else {
                return Ok(());
            };
            let became = libc::setgroups(identity.groups.len(), identity.groups.as_ptr()) == 0
                && libc::setgid(identity.group) == 0
                && libc::setuid(identity.user) == 0;
            if became {
                Ok(())
            } else {
                Err(Error::last_os_error())
            }
        });
    }
    let mut child = command.spawn()?;
    let mut stream = child.stderr.take();
    let end = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= end {
            child.kill()?;
            break child.wait()?;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut text = Vec::new();
    if let Some(stream) = &mut stream {
        // What it has started may go on, and hold the pipe: what is there is enough.
        let mut part = [0; 4096];
        let count = stream.read(&mut part)?;
        text.extend_from_slice(part.get(..count).unwrap_or_default());
    }
    Ok(Said {
        signal: status.signal(),
        text: String::from_utf8_lossy(&text).into_owned(),
    })
}

/// Has httpd's descriptors closed when the program begins.
unsafe fn keep_to_itself() {
    // SAFETY: sets flags of numbers. Where the system cannot do it, APR has set most of them.
    #[cfg(target_os = "linux")]
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}
