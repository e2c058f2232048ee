//! An interpreter, and what the parts of this module keep in each: a part has a `PerInterpreter` of its own, and no part is
//! named here.
//!
//! Interpreters are never destroyed (Py_EndInterpreter aborts while a daemon thread lives), so references to them, and to what
//! they keep, are `'static`.

use super::scoreboard::{self, Row};
use pyo3::{Python, ffi};
use std::convert::Infallible;
use std::iter::successors;
use std::marker::PhantomData;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

/// An attached interpreter: the token that Python may be used, and whose objects they are.
#[derive(Clone, Copy)]
pub(crate) struct Cx<'py> {
    pub(crate) py: Python<'py>,
    pub(crate) interpreter: &'static Interpreter,
}

/// One interpreter. Lives as long as the process. Many threads may be attached to it at once where Python has no lock
/// (PEP 703): what changes is behind locks of its own, or set once.
pub(crate) struct Interpreter {
    name: String,
    /// The PythonHome of a virtual host; None: the process's.
    home: Option<String>,
    raw: Raw,
    /// What others can see of it.
    row: OnceLock<&'static Row>,
    /// The number of that row.
    number: AtomicU32,
    places: Places,
    /// The one that was registered after it.
    next: OnceLock<&'static Interpreter>,
}

/// A PyInterpreterState, which is Python's own to guard.
struct Raw(*mut ffi::PyInterpreterState);

// SAFETY: the address is a constant; every use of it is a call of Python's.
unsafe impl Sync for Raw {}
// SAFETY: as above.
unsafe impl Send for Raw {}

/// Every interpreter of the process is in the chain that begins here. It only grows, and is read without a lock.
static FIRST: OnceLock<&'static Interpreter> = OnceLock::new();

/// Every interpreter there is, in the order in which they were made.
pub(super) fn all() -> impl Iterator<Item = &'static Interpreter> {
    successors(FIRST.get().copied(), |one| one.next.get().copied())
}

/// The interpreter of that name.
pub(super) fn named(name: &str) -> Option<&'static Interpreter> {
    all().find(|interpreter| interpreter.name == name)
}

/// The interpreter that is attached in this thread. For code that Python calls without an object of ours.
pub(super) fn current(_py: Python<'_>) -> Option<&'static Interpreter> {
    // SAFETY: a thread state is attached.
    let raw = unsafe { ffi::PyInterpreterState_Get() };
    all().find(|interpreter| std::ptr::eq(interpreter.raw.0, raw))
}

/// Adds an interpreter to those that there are.
///
/// # Safety
/// `raw` is never destroyed, and registered once.
pub(super) unsafe fn register(
    name: &str,
    raw: *mut ffi::PyInterpreterState,
    home: Option<String>,
) -> &'static Interpreter {
    let interpreter: &'static Interpreter = Box::leak(Box::new(Interpreter::new(name, raw, home)));
    let mut end = &FIRST;
    loop {
        let there = *end.get_or_init(|| interpreter);
        if std::ptr::eq(there, interpreter) {
            return interpreter;
        }
        end = &there.next;
    }
}

impl Interpreter {
    fn new(name: &str, raw: *mut ffi::PyInterpreterState, home: Option<String>) -> Interpreter {
        Interpreter {
            name: name.into(),
            home,
            raw: Raw(raw),
            row: OnceLock::new(),
            number: AtomicU32::new(u32::MAX),
            places: Places::default(),
            next: OnceLock::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn home(&self) -> Option<&str> {
        self.home.as_deref()
    }

    pub(super) fn raw(&self) -> *mut ffi::PyInterpreterState {
        self.raw.0
    }

    /// Its row in the table of all children, once it is ready.
    pub(crate) fn row(&self) -> Option<&'static Row> {
        self.row.get().copied()
    }

    /// The number of that row; of none, before there is one.
    #[inline]
    pub(super) fn number(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    /// The first row that it is given stays its row.
    pub(super) fn set_row(&self, row: &'static Row) {
        if self.row.set(row).is_ok() {
            let number = scoreboard::number_of(row);
            self.number.store(number, Ordering::Relaxed);
        }
    }
}

/// How many bytes a `_apache` module keeps: whose it is.
pub(super) const MODULE_STATE: usize = size_of::<Option<&'static Interpreter>>();

/// Writes into a new `_apache` module whose it is.
///
/// # Safety
/// A module with MODULE_STATE bytes, in the attached interpreter.
pub(super) unsafe fn mark_module(module: *mut ffi::PyObject, interpreter: &'static Interpreter) {
    // SAFETY: the caller's promise; Python aligns the state as malloc does.
    unsafe {
        ffi::PyModule_GetState(module)
            .cast::<Option<&'static Interpreter>>()
            .write(Some(interpreter));
    }
}

/// The interpreter that a `_apache` module belongs to.
///
/// # Safety
/// `module` is a live `_apache` module.
pub(super) unsafe fn of_module(module: *mut ffi::PyObject) -> Option<&'static Interpreter> {
    // SAFETY: the state is what `mark_module` wrote, or zeros: None.
    unsafe {
        ffi::PyModule_GetState(module)
            .cast::<Option<&'static Interpreter>>()
            .as_ref()
            .copied()
            .flatten()
    }
}

/// A key for what every interpreter keeps one of: a static of the part that it belongs to. What is kept stays for as long as the
/// process, and finding it costs what an index costs: no lock, no hash.
pub(crate) struct PerInterpreter<T> {
    /// The key's place in every interpreter; 0 before its first use.
    number: AtomicUsize,
    /// Invariant: a key must not be taken for one of a sub- or supertype, which would read a `T` as something else.
    kind: PhantomData<fn(T) -> T>,
}

/// How many keys have a number. The place 0 belongs to none, and stays empty.
static NUMBERS: AtomicUsize = AtomicUsize::new(1);

impl<T: Send + Sync + 'static> PerInterpreter<T> {
    pub(crate) const fn new() -> PerInterpreter<T> {
        PerInterpreter {
            number: AtomicUsize::new(0),
            kind: PhantomData,
        }
    }

    /// What an interpreter keeps under this key, once it has been made.
    #[inline]
    pub(crate) fn find(&self, interpreter: &'static Interpreter) -> Option<&'static T> {
        // A number that another thread has just given may not be seen yet; the place 0 is empty.
        let place = interpreter.places.at(self.number.load(Ordering::Relaxed));
        // SAFETY: see `kept`.
        unsafe { kept(place.load(Ordering::Acquire)) }
    }

    /// What the interpreter keeps under this key; it is made at first use. `make` may call Python, since no lock is held: where
    /// two threads make it, the one that is kept is the first to be there.
    ///
    /// # Errors
    /// Those of `make`.
    #[inline]
    pub(crate) fn get<E>(
        &self,
        cx: Cx<'_>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<&'static T, E> {
        match self.find(cx.interpreter) {
            Some(kept) => Ok(kept),
            None => self.fill(cx, make),
        }
    }

    /// As `get`, for what is empty at first.
    #[inline]
    pub(crate) fn of(&self, cx: Cx<'_>) -> &'static T
    where
        T: Default,
    {
        let Ok(kept) = self.get(cx, || Ok::<_, Infallible>(T::default()));
        kept
    }

    #[cold]
    #[inline(never)]
    fn fill<E>(&self, cx: Cx<'_>, make: impl FnOnce() -> Result<T, E>) -> Result<&'static T, E> {
        let place = cx.interpreter.places.at(self.number());
        // SAFETY: see `kept`.
        if let Some(kept) = unsafe { kept(place.load(Ordering::Acquire)) } {
            return Ok(kept);
        }
        let made: *mut T = Box::into_raw(Box::new(make()?));
        let placed =
            place.compare_exchange(null_mut(), made.cast(), Ordering::AcqRel, Ordering::Acquire);
        let there = match placed {
            Ok(_) => made.cast(),
            Err(first) => {
                // SAFETY: nobody else has seen it. It may hold references, which go while the interpreter is attached.
                drop(unsafe { Box::from_raw(made) });
                first
            }
        };
        // SAFETY: see `kept`; it is not null.
        Ok(unsafe { &*there.cast() })
    }

    /// The key's number, which is nobody else's; given at first use.
    fn number(&self) -> usize {
        let known = self.number.load(Ordering::Relaxed);
        if known != 0 {
            return known;
        }
        let new = NUMBERS.fetch_add(1, Ordering::Relaxed);
        self.number
            .compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed)
            .map_or_else(|first| first, |_| new)
    }
}

/// What a place holds.
///
/// # Safety
/// The place is that of a `PerInterpreter<T>`'s number, or the place 0: only `fill` of that key fills it, with a `T` that is
/// never dropped.
unsafe fn kept<T>(place: *mut ()) -> Option<&'static T> {
    // SAFETY: the caller's promise.
    unsafe { place.cast::<T>().as_ref() }
}

/// What keys refer to in an interpreter, by their numbers. Each is filled once, and read without a lock.
#[derive(Default)]
struct Places {
    first: [AtomicPtr<()>; PLACES],
    further: OnceLock<Box<Places>>,
}

/// As many as there are keys, and some more: those beyond take another step each.
const PLACES: usize = 32;

impl Places {
    #[inline]
    fn at(&self, number: usize) -> &AtomicPtr<()> {
        match self.first.get(number) {
            Some(place) => place,
            None => self.beyond(number - PLACES),
        }
    }

    #[cold]
    #[inline(never)]
    fn beyond(&self, number: usize) -> &AtomicPtr<()> {
        self.further.get_or_init(Box::default).at(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_place_of_its_own() {
        let places = Places::default();
        let keys: Vec<PerInterpreter<usize>> =
            (0..3 * PLACES).map(|_| PerInterpreter::new()).collect();
        let mut addresses: Vec<_> = keys
            .iter()
            .map(|key| std::ptr::from_ref(places.at(key.number())))
            .collect();
        let again: Vec<_> = keys
            .iter()
            .map(|key| std::ptr::from_ref(places.at(key.number())))
            .collect();
        assert_eq!(addresses, again);
        addresses.push(std::ptr::from_ref(places.at(0)));
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 3 * PLACES + 1);
    }

    /// Counts those that are dropped.
    struct Counted<'a>(&'a AtomicUsize);

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn of_several_that_are_made_at_once_one_is_kept() {
        static KEY: PerInterpreter<Counted<'static>> = PerInterpreter::new();
        static DROPPED: AtomicUsize = AtomicUsize::new(0);
        const THREADS: usize = 8;
        let interpreter: &'static Interpreter =
            Box::leak(Box::new(Interpreter::new("test", null_mut(), None)));
        let all_make = std::sync::Barrier::new(THREADS);
        let found: Vec<usize> = std::thread::scope(|scope| {
            let thread = || {
                // SAFETY: nothing of Python is used.
                let py = unsafe { Python::assume_attached() };
                let make = || {
                    all_make.wait();
                    Ok::<_, Infallible>(Counted(&DROPPED))
                };
                let Ok(kept) = KEY.get(Cx { py, interpreter }, make);
                std::ptr::from_ref(kept).addr()
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(thread)).collect();
            let found = threads.into_iter().map(|thread| thread.join());
            found.map(|kept| kept.unwrap_or_default()).collect()
        });
        let kept = KEY
            .find(interpreter)
            .map(|kept| std::ptr::from_ref(kept).addr());
        assert_eq!(found, vec![kept.unwrap_or(1); THREADS]);
        assert_eq!(DROPPED.load(Ordering::Relaxed), THREADS - 1);
    }
}
