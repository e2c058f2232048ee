//! Global locks: a fixed number of them, each shared by the children of one generation.
//!
//! A lock is an APR process mutex, between the children, and a gate of our own between the threads of a child. APR's global mutex
//! does both, but wants to be unlocked by the thread that has locked it; here that is the thread that ends the request, which may
//! be another one.
//!
//! The default mechanism is flock, which any thread of a child can unlock, and which is free when the child dies. (fcntl looks for
//! deadlocks between processes, not threads, and finds some where there are none.) httpd's Mutex directive chooses others.
//!
//! They are for applications (`_global_lock`), and for what is the same for everybody, such as a database. Sessions and the like,
//! which have a key, use `key_locks.rs`.

use crate::httpd::apr::pool::Pool;
use crate::httpd::log::{self, Level};
use crate::httpd::request::server::Server;
use crate::httpd::{faults, sys};
use std::ffi::{CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::ptr::null_mut;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

/// The name by which httpd's Mutex directive knows these locks.
const TYPE: &std::ffi::CStr = c"mod_python";
/// The name under which a configuration's pool keeps the parent's mutexes.
const KEY: &std::ffi::CStr = c"mod_python:mutexes";

/// Makes the name known to the Mutex directive (ap_mutex_register); called before the configuration is read.
///
/// # Errors
/// A sentence for the operator.
pub(crate) fn register(pool: Pool<'_>) -> Result<(), String> {
    // SAFETY: the configuration's pool; the name is a constant.
    let status = unsafe {
        let mechanism = sys::apr_lockmech_e_APR_LOCK_FLOCK;
        sys::ap_mutex_register(pool.as_ptr(), TYPE.as_ptr(), std::ptr::null(), mechanism, 0)
    };
    if status == 0 {
        Ok(())
    } else {
        Err(format!("cannot register mutexes: error {status}"))
    }
}

/// The mutexes that the parent has made, which the children inherit. They lie in the configuration's pool.
#[derive(Clone, Copy)]
struct Made<'c>(&'c [*mut sys::apr_proc_mutex_t]);

/// Makes `count` mutexes, or as many as the system gives, if these are two at least. Their files lie in `directory`, or where the
/// Mutex directive says. They live as long as `pool`, that of the configuration.
///
/// # Errors
/// Why there are not even two.
pub(crate) fn create(
    pool: Pool<'_>,
    server: Server<'_>,
    count: usize,
    directory: Option<&str>,
) -> Result<(), String> {
    let mut made = Vec::with_capacity(count);
    let mut directory = directory.map(String::from);
    for place in 0..count {
        let mut created = create_one(pool, server, place, directory.as_deref());
        if let (0, None, Err(reason)) = (place, &directory, &created) {
            // Not httpd's runtime directory: that may be missing, or another user's.
            let own = own_directory(pool).map_err(|error| {
                format!("{reason}; nor can a directory be made for them: {error}")
            })?;
            let text = format!("{reason}; they lie in {own}, which goes with this httpd");
            log::entry(server, Level::Warning, &text);
            created = create_one(pool, server, place, Some(&own));
            directory = Some(own);
        }
        match created {
            Ok(mutex) => made.push(mutex),
            Err(reason) if made.len() < 2 => return Err(reason),
            Err(reason) => {
                let text = format!("{reason}; going on with {} global mutexes", made.len());
                log::entry(server, Level::Warning, &text);
                break;
            }
        }
    }
    let made = pool.store(Made(pool.concat(&made, &[])));
    // SAFETY: the value lies in the pool that it is attached to; no clean-up is needed.
    let status = unsafe {
        let value = std::ptr::from_mut(made).cast::<c_void>();
        sys::apr_pool_userdata_setn(value, KEY.as_ptr(), None, pool.as_ptr())
    };
    if status == 0 {
        Ok(())
    } else {
        Err(format!("cannot keep the mutexes: error {status}"))
    }
}

/// Makes a directory for locks' files among the system's temporary ones; it is removed with the configuration.
fn own_directory(pool: Pool<'_>) -> std::io::Result<String> {
    let template = std::env::temp_dir().join("mod_python-locks-XXXXXX");
    let mut name = CString::new(template.as_os_str().as_bytes())?.into_bytes_with_nul();
    // SAFETY: a template that ends with NUL, which the call changes in its place.
    if unsafe { libc::mkdtemp(name.as_mut_ptr().cast()) }.is_null() {
        return Err(std::io::Error::last_os_error());
    }
    name.pop();
    let name = String::from_utf8(name).map_err(std::io::Error::other)?;
    // Children, which run as another user, may have to open a file in it by its name.
    std::fs::set_permissions(&name, std::fs::Permissions::from_mode(0o711))?;
    pool.on_end(OwnDirectory {
        name: name.clone(),
        process: std::process::id(),
    });
    Ok(name)
}

/// Removes the directory when it is dropped, with the configuration's pool; by then the locks have removed their files.
struct OwnDirectory {
    name: String,
    /// The process that has made it. A child that clears its pools must not remove it.
    process: u32,
}

impl Drop for OwnDirectory {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            let _ = std::fs::remove_dir(&self.name);
        }
    }
}

fn create_one(
    pool: Pool<'_>,
    server: Server<'_>,
    place: usize,
    directory: Option<&str>,
) -> Result<*mut sys::apr_proc_mutex_t, String> {
    let mut mutex = null_mut();
    let name = place.to_string();
    // SAFETY: live pool and server; names are NUL-terminated and copied.
    let status = unsafe {
        match directory {
            None => sys::ap_proc_mutex_create(
                &raw mut mutex,
                null_mut(),
                TYPE.as_ptr(),
                pool.c_string(name.as_bytes()).as_ptr(),
                server.as_ptr(),
                pool.as_ptr(),
                0,
            ),
            Some(directory) => {
                let file = format!("{directory}/mpmtx{}{name}", std::process::id());
                let file = CString::new(file).map_err(|_| "a directory holds NUL")?;
                let mechanism = sys::apr_lockmech_e_APR_LOCK_FLOCK;
                let created = sys::apr_proc_mutex_create(
                    &raw mut mutex,
                    pool.c_string(file.to_bytes()).as_ptr(),
                    mechanism,
                    pool.as_ptr(),
                );
                if created == 0 {
                    // The children run as another user.
                    sys::ap_unixd_set_proc_mutex_perms(mutex)
                } else {
                    created
                }
            }
        }
    };
    if status == 0 && !mutex.is_null() {
        return Ok(mutex);
    }
    let place = directory.map_or_else(String::new, |directory| format!(" in {directory}"));
    let remedy = "see PythonOption mod_python.mutex_directory and httpd's Mutex directive";
    Err(format!(
        "cannot create global mutex {name}{place}: {}; {remedy}",
        std::io::Error::from_raw_os_error(status)
    ))
}

/// A lock in this child.
struct Lock {
    mutex: *mut sys::apr_proc_mutex_t,
    /// The thread that has taken it (pthread_self); another one may give it back.
    taken: Mutex<Option<libc::pthread_t>>,
    freed: Condvar,
}

// SAFETY: the mutex is used by the thread alone that has set `taken`, and lives as long as the child.
unsafe impl Sync for Lock {}
// SAFETY: as above.
unsafe impl Send for Lock {}

/// This child's locks; set once, in child_init.
static LOCKS: OnceLock<Vec<Lock>> = OnceLock::new();

/// Takes over the mutexes that the parent has made (apr_proc_mutex_child_init), up to the first one with which that fails.
pub(crate) fn adopt(pool: Pool<'static>, server: Server<'static>) {
    let mut locks = Vec::new();
    // SAFETY: the configuration's pool and what `create` attached to it live as long as the child.
    unsafe {
        let mut value = null_mut();
        let configuration = (*(*server.as_ptr()).process).pconf;
        sys::apr_pool_userdata_get(&raw mut value, KEY.as_ptr(), configuration);
        let made = value.cast::<Made<'static>>().as_ref();
        for &mutex in made.map_or(&[][..], |made| made.0) {
            let mut mutex = mutex;
            let file = inherited_file(pool, mutex);
            let status = sys::apr_proc_mutex_child_init(&raw mut mutex, file, pool.as_ptr());
            if status != 0 {
                let reason = std::io::Error::from_raw_os_error(status);
                let text = format!("cannot use global mutex {}: {reason}", locks.len());
                log::entry(server, Level::Error, &text);
                break;
            }
            locks.push(Lock {
                mutex,
                taken: Mutex::new(None),
                freed: Condvar::new(),
            });
        }
    }
    let _ = LOCKS.set(locks);
}

/// Gives the path by which a child opens a lock's file for itself, as flock needs it; NULL for mechanisms without a file.
///
/// # Safety
/// A live mutex that the parent has made.
unsafe fn inherited_file(
    pool: Pool<'static>,
    mutex: *mut sys::apr_proc_mutex_t,
) -> *const std::ffi::c_char {
    // SAFETY: the caller's promise; the structure is filled for a mutex that has a descriptor.
    unsafe {
        let file = sys::apr_proc_mutex_lockfile(mutex);
        let mut inner: sys::apr_os_proc_mutex_t = std::mem::zeroed();
        if file.is_null() || sys::apr_os_proc_mutex_get(&raw mut inner, mutex) != 0 {
            return file;
        }
        // By the inherited descriptor: a restart that comes while a child starts has removed the file's name already.
        let by_descriptor = format!("/proc/self/fd/{}", inner.crossproc);
        if std::path::Path::new(&by_descriptor).exists() {
            pool.c_string(by_descriptor.as_bytes()).as_ptr()
        } else {
            file
        }
    }
}

/// How many locks there are.
pub(crate) fn count() -> usize {
    LOCKS.get().map_or(0, Vec::len)
}

/// Gives the index of a key's lock: the same one in every process, and never the first.
pub(crate) fn place_of(key: &[u8]) -> usize {
    let others = count().saturating_sub(1).max(1) as u64;
    1 + usize::try_from(hash(key) % others).unwrap_or(0)
}

/// Hashes a key (FNV-1a, 64 bits). Python's own hash of `str` differs from process to process.
pub(in crate::httpd) fn hash(key: &[u8]) -> u64 {
    key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Takes a lock; waits for it. False where that fails, or where this thread has it already and would wait for itself: the garbage
/// collector may run something that wants a lock while the thread holds it.
pub(crate) fn lock(place: usize) -> bool {
    acquire(place, true).unwrap_or(false)
}

/// Takes a lock if it is free. None where the system does not say.
pub(crate) fn try_lock(place: usize) -> Option<bool> {
    acquire(place, false)
}

fn acquire(place: usize, wait: bool) -> Option<bool> {
    let lock = LOCKS
        .get()?
        .get(place)
        .filter(|_| !faults::strike("lock"))?;
    // SAFETY: asks for a number.
    let own = unsafe { libc::pthread_self() };
    let mut taken = lock.taken.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some(owner) = *taken {
        if !wait {
            return Some(false);
        }
        if owner == own {
            return None;
        }
        taken = lock
            .freed
            .wait(taken)
            .unwrap_or_else(PoisonError::into_inner);
    }
    *taken = Some(own);
    drop(taken);
    // SAFETY: a live mutex, which this thread alone may lock or unlock now.
    let status = unsafe {
        if wait {
            sys::apr_proc_mutex_lock(lock.mutex)
        } else {
            sys::apr_proc_mutex_trylock(lock.mutex)
        }
    };
    if status == 0 {
        return Some(true);
    }
    lock.free();
    (!wait && status == sys::APR_EBUSY).then_some(false)
}

/// Gives a lock back; false where it was not taken, or cannot be given back.
pub(crate) fn unlock(place: usize) -> bool {
    let Some(lock) = LOCKS.get().and_then(|locks| locks.get(place)) else {
        return false;
    };
    let taken = *lock.taken.lock().unwrap_or_else(PoisonError::into_inner);
    if taken.is_none() {
        return false;
    }
    // SAFETY: a live mutex that this child has locked.
    let status = unsafe { sys::apr_proc_mutex_unlock(lock.mutex) };
    lock.free();
    status == 0
}

impl Lock {
    fn free(&self) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_stands_for_the_first_lock() {
        for key in [&b""[..], b"a", b"session", &[0xff; 100]] {
            assert_eq!(
                place_of(key),
                1,
                "without locks there is one place to fall on"
            );
        }
    }
}
