//! The file of a session, in a directory (0700) of httpd's user that nobody else can have prepared: read, and replaced so that
//! others see the old content or the new one, never a part of either.
//!
//! A new file is written beside and renamed. One that is saved again becomes a file of two *slots*: the next content is
//! written over the older of them, in place, with a number and a sum by which a reader knows the newest slot that is whole.
//! To replace a file by renaming has ext4 allocate and write its blocks at once, which costs more than all the rest of a
//! request; and after a power failure a slot that was not written whole leaves the one before it.
//!
//! What is checked is what has been opened. Everything here may block, and knows nothing of Python.

use crate::httpd::faults;
use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Why a file cannot be read or written, and the name of what is the matter.
pub(crate) enum Failure {
    /// Others may have prepared it.
    NotAlone(CString, What),
    System(CString, io::Error),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Directory,
    File,
}

/// A session's file that has been read in this thread, so that the request which then saves it need not look for it again. It is
/// closed by that, or when the thread reads another one.
struct Opened {
    place: CString,
    sid: CString,
    file: File,
}

thread_local! {
    static OPENED: Cell<Option<Opened>> = const { Cell::new(None) };
}

/// What the file holds; None where there is none. With `touch` it counts as used now, give or take `TOUCHED`.
///
/// # Errors
/// `Failure`.
pub(crate) fn read(place: &CStr, sid: &CStr, touch: bool) -> Result<Option<Vec<u8>>, Failure> {
    OPENED.take();
    let bucket = bucket(place, sid)?;
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let within = bucket.as_raw_fd();
    let to_write = open(within, sid, libc::O_RDWR | flags);
    let can_write = to_write.is_ok();
    // It may be root's, or lie where nobody writes.
    let opened = to_write.or_else(|_| open(within, sid, libc::O_RDONLY | flags));
    let file = match opened {
        Ok(file) => File::from(file),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        Err(error) => return Err(Failure::System(sid.into(), error)),
    };
    let system = |error| Failure::System(sid.into(), error);
    let status = status(file.as_raw_fd()).map_err(system)?;
    if !is_regular(&status) || !is_ours(&status, true) {
        return Err(Failure::NotAlone(sid.into(), What::File));
    }
    let mut content = Vec::new();
    for _ in 0..TRIES {
        content = whole(&file, &status).map_err(system)?;
        match newest(&content) {
            Found::Slot { data, .. } => {
                content = data.to_vec();
                break;
            }
            Found::Plain => break,
            // Both have been written over while they were read.
            Found::Nothing => content.clear(),
        }
    }
    if touch {
        if !is_fresh(&status) {
            // SAFETY: an open descriptor; NULL means now.
            let done = unsafe { libc::futimens(file.as_raw_fd(), std::ptr::null()) };
            check(done).map_err(system)?;
        }
        if can_write {
            let (place, sid) = (place.into(), sid.into());
            OPENED.set(Some(Opened { place, sid, file }));
        }
    }
    Ok(Some(content))
}

/// Seconds by which a file's time may be behind its last use.
const TOUCHED: i64 = 10;

/// Has it been used a moment ago, as far as its time says?
fn is_fresh(status: &libc::stat) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs().cast_signed());
    (status.st_mtime..status.st_mtime + TOUCHED).contains(&now)
}

/// Replaces what the file holds.
///
/// # Errors
/// `Failure`.
pub(crate) fn write(place: &CStr, sid: &CStr, data: &[u8]) -> Result<(), Failure> {
    if let Some(opened) = OPENED.take()
        && (&*opened.place, &*opened.sid) == (place, sid)
        && write_over(&opened.file, data).unwrap_or(false)
    {
        return Ok(());
    }
    let bucket = bucket(place, sid)?;
    let flags = libc::O_RDWR | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let written = match open(bucket.as_raw_fd(), sid, flags) {
        Ok(file) => match write_over(&File::from(file), data) {
            Ok(true) => return Ok(()),
            // It has no slots yet, or too small ones.
            _ => replace(bucket.as_raw_fd(), sid, &slots(data)),
        },
        // Whatever stands there is covered.
        Err(_) => replace(bucket.as_raw_fd(), sid, data),
    };
    written.map_err(|error| Failure::System(sid.into(), error))
}

/// So often both slots may be in the middle of a change when a file is read.
const TRIES: usize = 5;

/// The directory of this user's alone in which a session's file lies: one of 256 in `place`. Both are made where they are missing.
fn bucket(place: &CStr, sid: &CStr) -> Result<OwnedFd, Failure> {
    let name = sid.to_bytes().get(..2).unwrap_or_default();
    let name = CString::new(name).unwrap_or_default();
    let place = directory(libc::AT_FDCWD, place)?;
    directory(place.as_raw_fd(), &name)
}

fn directory(within: RawFd, name: &CStr) -> Result<OwnedFd, Failure> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let system = |error| Failure::System(name.into(), error);
    let opened = match open(within, name, flags) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
            // SAFETY: a C string. Somebody else may have been quicker.
            let made = unsafe { libc::mkdirat(within, name.as_ptr(), 0o700) };
            match check(made) {
                Err(error) if error.raw_os_error() != Some(libc::EEXIST) => {
                    return Err(system(error));
                }
                _ => open(within, name, flags),
            }
        }
        opened => opened,
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let is_other = matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENOTDIR));
            return Err(if is_other {
                Failure::NotAlone(name.into(), What::Directory)
            } else {
                system(error)
            });
        }
    };
    let status = status(opened.as_raw_fd()).map_err(system)?;
    if is_ours(&status, false) {
        Ok(opened)
    } else {
        Err(Failure::NotAlone(name.into(), What::Directory))
    }
}

fn open(within: RawFd, name: &CStr, flags: i32) -> io::Result<OwnedFd> {
    // SAFETY: a C string; the mode counts where a file is made.
    let descriptor = unsafe { libc::openat(within, name.as_ptr(), flags | libc::O_CLOEXEC, 0o600) };
    check(descriptor)?;
    // SAFETY: a new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn status(descriptor: RawFd) -> io::Result<libc::stat> {
    // SAFETY: plain data, which fstat fills.
    unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        check(libc::fstat(descriptor, &raw mut status))?;
        Ok(status)
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn is_regular(status: &libc::stat) -> bool {
    status.st_mode & libc::S_IFMT == libc::S_IFREG
}

/// This user's, or root's where that is as good, and nobody else may write to it.
fn is_ours(status: &libc::stat, or_root: bool) -> bool {
    // SAFETY: asks who we are.
    let user = unsafe { libc::geteuid() };
    let owner = status.st_uid == user || (or_root && status.st_uid == 0);
    owner && status.st_mode & (libc::S_IWGRP | libc::S_IWOTH) == 0
}

/// The whole of a file that was so long a moment ago.
fn whole(file: &File, status: &libc::stat) -> io::Result<Vec<u8>> {
    let mut content = vec![0; usize::try_from(status.st_size).unwrap_or(0) + 1];
    let mut length = 0;
    loop {
        let room = content.get_mut(length..).unwrap_or_default();
        let wanted = room.len();
        match file.read_at(room, length as u64) {
            // A regular file gives less than what is asked for at its end alone.
            Ok(count) if count < wanted => {
                content.truncate(length + count);
                return Ok(content);
            }
            Ok(count) => {
                length += count;
                content.resize(2 * length, 0);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes data over the older slot; false where there is none that takes them.
fn write_over(file: &File, data: &[u8]) -> io::Result<bool> {
    // Those who save without the session's lock, one after the other.
    let _locked = Flock::new(file)?;
    // Whoever was before may have put another file in its place.
    let status = status(file.as_raw_fd())?;
    if !is_regular(&status) || !is_ours(&status, false) || status.st_nlink != 1 {
        return Ok(false);
    }
    let content = whole(file, &status)?;
    let Found::Slot {
        place, generation, ..
    } = newest(&content)
    else {
        return Ok(false);
    };
    let capacity = content.len() / 2;
    let slot = slot(data, generation.wrapping_add(1));
    if slot.len() > capacity {
        return Ok(false);
    }
    let other = if place == 0 { capacity as u64 } else { 0 };
    if faults::strike("session_slot") {
        file.write_all_at(slot.get(..slot.len() / 2).unwrap_or_default(), other)?;
        return Err(io::Error::from_raw_os_error(libc::ENOSPC));
    }
    file.write_all_at(&slot, other)?;
    Ok(true)
}

/// A file's lock (flock(2)), which is given back: a process that has been forked meanwhile has the same descriptor, and would keep it.
struct Flock<'f>(&'f File);

impl Flock<'_> {
    fn new(file: &File) -> io::Result<Flock<'_>> {
        // SAFETY: an open descriptor.
        check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) })?;
        Ok(Flock(file))
    }
}

impl Drop for Flock<'_> {
    fn drop(&mut self) {
        // SAFETY: an open descriptor.
        unsafe { libc::flock(self.0.as_raw_fd(), libc::LOCK_UN) };
    }
}

/// Writes a file (0600) beside, and gives it the name.
fn replace(bucket: RawFd, sid: &CStr, content: &[u8]) -> io::Result<()> {
    let mut random = [0_u8; 8];
    // SAFETY: fills the bytes.
    let filled = unsafe { libc::getrandom(random.as_mut_ptr().cast(), random.len(), 0) };
    if usize::try_from(filled).ok() != Some(random.len()) {
        return Err(io::Error::last_os_error());
    }
    let name = format!(
        "{}.{}.{:016x}",
        sid.to_string_lossy(),
        std::process::id(),
        u64::from_ne_bytes(random)
    );
    let name = CString::new(name)?;
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
    let file = File::from(open(bucket, &name, flags)?);
    let mut writer = &file;
    let written = writer.write_all(content).and_then(|()| {
        if faults::strike("session_rename") {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        // SAFETY: C strings, and an open directory.
        check(unsafe { libc::renameat(bucket, name.as_ptr(), bucket, sid.as_ptr()) })
    });
    if written.is_err() {
        // SAFETY: as above. What failed is told, this is not.
        unsafe { libc::unlinkat(bucket, name.as_ptr(), 0) };
    }
    written
}

// A file of slots: two of them, as long as each other. A slot begins with what says that it is one, the length of its data, its
// number, and the sum of all that; what is behind the data is left of others.

const MARK: [u8; 4] = *b"\0mps";
const HEAD: usize = 24;
/// Slots are as long as a multiple of what a disk writes whole.
const SECTOR: usize = 512;

enum Found<'a> {
    /// The newest slot that is whole.
    Slot {
        place: usize,
        generation: u64,
        data: &'a [u8],
    },
    /// The file has no slots: all of it is the content.
    Plain,
    /// Neither slot is whole.
    Nothing,
}

fn newest(content: &[u8]) -> Found<'_> {
    let halves = content.split_at(content.len() / 2);
    let found = [halves.0, halves.1].map(read_slot);
    match found {
        [Some((first, data)), second] if second.is_none_or(|(other, _)| other < first) => {
            Found::Slot {
                place: 0,
                generation: first,
                data,
            }
        }
        [_, Some((generation, data))] => Found::Slot {
            place: 1,
            generation,
            data,
        },
        _ if content.starts_with(&MARK) => Found::Nothing,
        _ => Found::Plain,
    }
}

/// The number and the data of a slot that is whole.
fn read_slot(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let rest = bytes.strip_prefix(&MARK)?;
    let (length, rest) = rest.split_first_chunk()?;
    let (generation, rest) = rest.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let generation = u64::from_le_bytes(*generation);
    let data = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    (u64::from_le_bytes(*sum) == sum_of(generation, data)).then_some((generation, data))
}

fn slot(data: &[u8], generation: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + data.len());
    bytes.extend(MARK);
    bytes.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(generation.to_le_bytes());
    bytes.extend(sum_of(generation, data).to_le_bytes());
    bytes.extend(data);
    bytes
}

/// A new file of slots, with room for data that grow.
fn slots(data: &[u8]) -> Vec<u8> {
    let mut content = slot(data, 1);
    let capacity = (content.len() + content.len() / 4).next_multiple_of(SECTOR);
    content.resize(2 * capacity, 0);
    content
}

/// Tells a slot that was not written whole: no protection against anybody. The same on every machine.
fn sum_of(generation: u64, data: &[u8]) -> u64 {
    let mix = |sum: u64, word: u64| {
        let mixed = (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    };
    let (words, rest) = data.as_chunks::<8>();
    let mut sum = mix(generation, data.len() as u64);
    for word in words {
        sum = mix(sum, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    mix(sum, u64::from_le_bytes(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(content: &[u8]) -> Option<&[u8]> {
        match newest(content) {
            Found::Slot { data, .. } => Some(data),
            Found::Plain => Some(content),
            Found::Nothing => None,
        }
    }

    #[test]
    fn the_newest_whole_slot_counts() {
        let mut content = slots(b"first");
        assert_eq!(
            (content.len(), found(&content)),
            (1024, Some(&b"first"[..]))
        );
        let second = slot(b"second", 2);
        content.splice(512..512 + second.len(), second);
        assert_eq!(found(&content), Some(&b"second"[..]));
        let third = slot(b"third", 3);
        content.splice(..third.len(), third);
        assert_eq!(found(&content), Some(&b"third"[..]));
        // Of one that was not written whole nothing is seen, wherever that ended.
        for place in 0..HEAD + 5 {
            let mut torn = content.clone();
            torn.splice(place..=place, [torn[place] ^ 1]);
            assert_eq!(found(&torn), Some(&b"second"[..]), "{place}");
            torn.splice(512 + HEAD..=512 + HEAD, [0]);
            let nothing = place >= MARK.len();
            assert_eq!(found(&torn).is_none(), nothing, "{place}");
        }
        assert_eq!(found(b"J{}"), Some(&b"J{}"[..]));
        assert_eq!(found(b""), Some(&b""[..]));
    }

    #[test]
    fn any_bytes_can_be_looked_at() {
        let content = slots(b"some data that are longer than a word");
        for length in 0..content.len() {
            let part = content.get(..length).unwrap_or_default();
            assert!(found(part).is_none_or(|found| found.len() <= length));
        }
        for (place, value) in (4..HEAD).flat_map(|place| [0, 255].map(|value| (place, value))) {
            let mut changed = content.clone();
            changed.splice(place..=place, [value]);
            assert!(found(&changed).is_none_or(|found| found.len() <= content.len()));
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let place = std::env::temp_dir().join(format!("mod_python-{}", std::process::id()));
        let place = CString::new(place.into_os_string().into_encoded_bytes()).unwrap();
        let sid = c"ab34";
        let read = || match read(&place, sid, true) {
            Ok(found) => found,
            Err(_) => panic!("it cannot be read"),
        };
        assert_eq!(read(), None);
        for length in [3, 5, 400, 2, 3000, 100_000, 1] {
            let data = vec![b'J'; length];
            assert!(write(&place, sid, &data).is_ok());
            assert_eq!(read(), Some(data));
        }
        std::fs::remove_dir_all(place.to_str().unwrap()).unwrap();
    }
}
