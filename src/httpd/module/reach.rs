//! Can httpd's children reach a file? The configuration is read by root, who may read everything. Without this check it would show
//! only when children start, which are another user's, and would look as if the file were not there.

use super::process::Identity;
use crate::httpd::sys;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A user that processes run as.
pub(crate) struct Account {
    /// What is run as this user, for sentences.
    role: &'static str,
    name: String,
    /// Which user and groups a process has to take on; None where this one has them already.
    identity: Option<Identity>,
}

/// Checks that the children's user can pass every directory above a file or directory that exists, and read it. Links are
/// followed.
///
/// # Errors
/// A sentence: which directory or file is in the way, the user, and what to do.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    check_as(path, Account::of_children().as_ref())
}

/// As `check`, for another user; None for one of whom nothing can be told.
///
/// # Errors
/// As for `check`.
pub(crate) fn check_as(path: &Path, user: Option<&Account>) -> Result<(), String> {
    way(path, user, libc::X_OK)
}

/// As `check_as`, where names are looked for in a directory that is the path itself: Python finds no module in one that it cannot list.
///
/// # Errors
/// As for `check`.
pub(crate) fn check_listed_as(path: &Path, user: Option<&Account>) -> Result<(), String> {
    way(path, user, libc::X_OK | libc::R_OK)
}

fn way(path: &Path, user: Option<&Account>, wanted: libc::c_int) -> Result<(), String> {
    let Some(user) = user else {
        return Ok(());
    };
    let parts = parts(path);
    let names: Vec<CString> = parts
        .iter()
        .filter_map(|part| CString::new(part.as_os_str().as_bytes()).ok())
        .collect();
    let Some(part) = user
        .first_closed(&names, wanted)
        .and_then(|place| parts.get(place))
    else {
        return Ok(());
    };
    Err(obstacle(
        path,
        part,
        &format!("{} {}", user.role, user.name),
        wanted,
    ))
}

/// Checks that this process can pass every directory above a path: otherwise it looks as if the path did not exist.
///
/// # Errors
/// As for `check`.
pub(crate) fn check_own(path: &Path) -> Result<(), String> {
    let closed = path.ancestors().skip(1).find(|above| {
        let found = std::fs::metadata(above.join("."));
        found.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    });
    // Of those that cannot be passed, the highest.
    let closed = closed.map(|lowest| {
        let mut above: Vec<_> = lowest.ancestors().collect();
        above.reverse();
        let denied = |part: &&Path| std::fs::metadata(part.join(".")).is_err();
        above.into_iter().find(denied).unwrap_or(lowest)
    });
    // SAFETY: asks for a number.
    let user = unsafe { libc::geteuid() };
    closed.map_or(Ok(()), |part| {
        Err(obstacle(
            path,
            part,
            &format!("{CHILDREN} {}", name_of(user)),
            libc::X_OK,
        ))
    })
}

/// May this process make files in a directory?
pub(crate) fn may_make_in(directory: &Path) -> bool {
    let path = CString::new(directory.as_os_str().as_bytes()).unwrap_or_default();
    // SAFETY: a path that ends with NUL.
    unsafe { libc::access(path.as_ptr(), libc::W_OK | libc::X_OK) == 0 }
}

fn obstacle(path: &Path, part: &Path, user: &str, wanted: libc::c_int) -> String {
    let real = std::fs::canonicalize(path).ok();
    let real = real.filter(|real| real.starts_with(part) && !path.starts_with(part));
    let leads = real.map_or_else(String::new, |real| {
        format!(" (it leads to {})", real.display())
    });
    let (path, part) = (path.display(), part.display());
    let mode = std::fs::metadata(part.to_string())
        .map(|found| format!(" (mode {:04o})", found.mode() & 0o7777))
        .unwrap_or_default();
    let what = if Path::new(&part.to_string()).is_file() {
        ("read", "r")
    } else if wanted & libc::R_OK != 0 && path.to_string() == part.to_string() {
        ("list", "rx")
    } else {
        ("pass", "x")
    };
    format!(
        "{path} is there{leads}, but {user} cannot {} {part}{mode}; let it, with `chmod o+{} {part}`, or put it elsewhere",
        what.0, what.1
    )
}

/// Lists what has to be passed, from the root on. The paths that links lead to come first, since they name what is really in the
/// way.
fn parts(path: &Path) -> Vec<PathBuf> {
    let above = |path: &Path| {
        let mut above: Vec<_> = path.ancestors().map(Path::to_path_buf).collect();
        above.reverse();
        above
    };
    let mut parts = std::fs::canonicalize(path).map_or_else(|_| Vec::new(), |real| above(&real));
    parts.extend(above(path));
    parts
}

const CHILDREN: &str = "httpd's user";
const DAEMON: &str = "the daemon's user";

impl Account {
    /// The user and group of these names (or `#` and a number); without any, those of httpd's children. None where that cannot be told.
    ///
    /// # Errors
    /// There is no such user or group, or this process cannot become them.
    pub(crate) fn of(user: Option<&str>, group: Option<&str>) -> Result<Option<Account>, String> {
        // SAFETY: asks for a number.
        let own = unsafe { libc::geteuid() };
        let children = Account::of_children();
        let (Some(user), _) = (user, group) else {
            return match (group, children) {
                (None, children) => Ok(children),
                (Some(_), _) => Err("group= needs user=".into()),
            };
        };
        let entry = entry(user).ok_or_else(|| format!("user= there is no user {user}"))?;
        let (number, group_of_user, name) = entry;
        let named = group;
        let group = match group {
            None => group_of_user,
            Some(group) => {
                group_number(group).ok_or_else(|| format!("group= there is no group {group}"))?
            }
        };
        if number == 0 {
            return Err("user= must not be root".into());
        }
        if group == 0 {
            return Err(match named {
                Some(_) => "group= must not be root's".into(),
                None => format!("user= the group of {name} is root's: name another one by group="),
            });
        }
        if own != 0 {
            // SAFETY: asks for a number.
            if named.is_some() && group != unsafe { libc::getegid() } {
                return Err("group= only root can start a daemon in another group".into());
            }
            let is_own = own == number;
            return match is_own {
                true => Ok(Some(Account {
                    role: DAEMON,
                    name,
                    identity: None,
                })),
                false => Err(format!(
                    "user= only root can start a daemon as {user}, and httpd is started as {}",
                    name_of(own)
                )),
            };
        }
        let groups = groups_of(&name, group);
        Ok(Some(Account {
            role: DAEMON,
            name,
            identity: Some(Identity {
                user: number,
                group,
                groups,
            }),
        }))
    }

    /// Which user and groups a process has to take on; None where this one has them already.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// What a process has to take on to be this user (None: it is that already), the user's name and home directory.
    pub(crate) fn taken_on(self) -> (Option<Identity>, String, String) {
        let name = CString::new(self.name.as_str()).unwrap_or_default();
        // SAFETY: httpd has one thread when it reads its configuration; the entry is copied at once.
        let home = unsafe {
            let entry = libc::getpwnam(name.as_ptr()).as_ref();
            entry.map(|entry| CStr::from_ptr(entry.pw_dir).to_string_lossy().into_owned())
        };
        (self.identity, self.name, home.unwrap_or_else(|| "/".into()))
    }

    /// Finds out as whom the children run; None where that cannot be told.
    pub(crate) fn of_children() -> Option<Account> {
        // SAFETY: asks for a number; httpd has filled the structure when a configuration has been read.
        let (own, wanted, group, root) = unsafe {
            let settings = &raw const sys::ap_unixd_config;
            (
                libc::geteuid(),
                (*settings).user_id,
                (*settings).group_id,
                (*settings).chroot_dir,
            )
        };
        if !root.is_null() {
            return None;
        }
        if own != 0 || wanted == 0 {
            return Some(Account {
                role: CHILDREN,
                name: name_of(own),
                identity: None,
            });
        }
        if wanted == libc::uid_t::MAX {
            return None;
        }
        let name = name_of(wanted);
        let identity = Identity {
            user: wanted,
            group,
            groups: groups_of(&name, group),
        };
        Some(Account {
            role: CHILDREN,
            name,
            identity: Some(identity),
        })
    }

    /// Finds the first of the paths that this user cannot pass (a directory) or read (another file); its place in the list. A child
    /// process becomes that user and tries, since only the system knows all its rules. `last`: what is wanted of the last one, where that
    /// is a directory.
    fn first_closed(&self, paths: &[CString], last: libc::c_int) -> Option<usize> {
        let directories: Vec<bool> = paths
            .iter()
            .map(|path| Path::new(std::ffi::OsStr::from_bytes(path.to_bytes())).is_dir())
            .collect();
        let closed = || {
            let mut both = paths.iter().zip(&directories).zip(1..);
            both.position(|((path, &is_directory), place)| {
                let wanted = match is_directory {
                    false => libc::R_OK,
                    true if place == paths.len() => last,
                    true => libc::X_OK,
                };
                // SAFETY: a path that ends with NUL.
                let closed = unsafe { libc::access(path.as_ptr(), wanted) != 0 };
                // A path that does not exist is not looked for here.
                closed && std::io::Error::last_os_error().raw_os_error() == Some(libc::EACCES)
            })
        };
        let Some(identity) = &self.identity else {
            return closed();
        };
        // SAFETY: httpd has one thread when it reads its configuration; the child calls what is safe after fork alone, allocates
        // nothing, and ends at once. The parent waits for this child only.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                let became = libc::setgroups(identity.groups.len(), identity.groups.as_ptr()) == 0
                    && libc::setgid(identity.group) == 0
                    && libc::setuid(identity.user) == 0;
                let place = if became { closed() } else { None };
                let answer = place.and_then(|place| i32::try_from(place + 1).ok());
                libc::_exit(answer.filter(|&answer| answer < 255).unwrap_or(0));
            }
            let mut status = 0;
            if child < 0 || libc::waitpid(child, &raw mut status, 0) != child {
                return None;
            }
            if !libc::WIFEXITED(status) {
                return None;
            }
            usize::try_from(libc::WEXITSTATUS(status))
                .ok()?
                .checked_sub(1)
        }
    }
}

/// Finds a user: number, group and name.
fn entry(user: &str) -> Option<(libc::uid_t, libc::gid_t, String)> {
    let number = user.strip_prefix('#').map(str::parse);
    let name = CString::new(user).ok()?;
    // SAFETY: httpd has one thread when it reads its configuration; the entry is copied at once.
    unsafe {
        let entry = match number {
            Some(number) => libc::getpwuid(number.ok()?),
            None => libc::getpwnam(name.as_ptr()),
        };
        let entry = entry.as_ref()?;
        let name = CStr::from_ptr(entry.pw_name).to_string_lossy();
        Some((entry.pw_uid, entry.pw_gid, name.into_owned()))
    }
}

fn group_number(group: &str) -> Option<libc::gid_t> {
    if let Some(number) = group.strip_prefix('#') {
        // The largest is none: it stands for whatever there is.
        let number = number.parse().ok();
        return number.filter(|&number| number != libc::gid_t::MAX);
    }
    let name = CString::new(group).ok()?;
    // SAFETY: as above.
    unsafe {
        libc::getgrnam(name.as_ptr())
            .as_ref()
            .map(|entry| entry.gr_gid)
    }
}

fn name_of(user: libc::uid_t) -> String {
    // SAFETY: httpd has one thread when it reads its configuration; the entry is copied at once.
    let name = unsafe {
        let entry = libc::getpwuid(user);
        entry
            .as_ref()
            .map(|entry| CStr::from_ptr(entry.pw_name).to_string_lossy().into_owned())
    };
    name.unwrap_or_else(|| format!("#{user}"))
}

fn groups_of(user: &str, group: libc::gid_t) -> Vec<libc::gid_t> {
    let mut groups = vec![group; 256];
    let mut count = 256;
    let Ok(name) = CString::new(user) else {
        return vec![group];
    };
    // SAFETY: room for as many as are said; the count is what was written, or what there would be.
    let found =
        unsafe { libc::getgrouplist(name.as_ptr(), group, groups.as_mut_ptr(), &raw mut count) };
    if found < 0 {
        return vec![group];
    }
    groups.truncate(usize::try_from(count).unwrap_or(1));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_can_read_is_reached() {
        assert_eq!(check_own(Path::new("/etc/passwd")), Ok(()));
        assert_eq!(check_own(Path::new("/nowhere/at/all")), Ok(()));
    }
}
