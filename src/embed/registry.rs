//! Which interpreters this child has, by name: they are made at first use, as the configuration's plan says, alone or as a pool.

use super::attach::enter;
use super::home::{self, Home};
use super::interpreter::{self, Cx, Interpreter, PerInterpreter};
use super::pools::Pool;
use super::{apache, exception, main_thread, package, scoreboard, threads};
use crate::config::Gil;
use crate::config::interpreters::{MAIN, Plan};
use crate::httpd::faults;
use crate::httpd::log::{self, Level};
use crate::httpd::request::server::Server;
use pyo3::exceptions::PySystemError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a failure to prepare an interpreter is the answer to all who ask for it: trying costs time, and others wait.
const RETRY: Duration = Duration::from_secs(1);

/// An attempt to prepare an interpreter that went wrong.
struct Failure {
    reason: String,
    at: Instant,
}

/// Why an interpreter could not be prepared. Such a one stays, and is prepared anew: making another would leave one behind.
static FAILURE: PerInterpreter<Mutex<Option<Failure>>> = PerInterpreter::new();

/// Held while an interpreter is made.
static CREATION: Mutex<()> = Mutex::new(());

thread_local! {
    /// What this thread has found before: no shared lock on the request path.
    static FOUND: RefCell<FxHashMap<String, Found>> = RefCell::default();
}

/// What a name stands for.
#[derive(Clone, Copy)]
pub(crate) enum Found {
    One(&'static Interpreter),
    Pool(&'static Pool),
}

impl Found {
    /// All interpreters of the name.
    pub(crate) fn all(self) -> Vec<&'static Interpreter> {
        match self {
            Found::One(interpreter) => vec![interpreter],
            Found::Pool(pool) => pool.interpreters().collect(),
        }
    }

    /// Can a host that has this PythonHome use it? One without does with any.
    fn suits(self, name: &str, home: Option<&str>) -> Result<Found, String> {
        let Some(home) = home else {
            return Ok(self);
        };
        let found = match self {
            Found::One(interpreter) => interpreter.home(),
            Found::Pool(pool) => pool.interpreters().next().and_then(|one| one.home()),
        };
        let directory = match found {
            _ if found == home_of_host(Some(home)) => return Ok(self),
            Some(directory) => format!("PythonHome {directory}"),
            None => "the main server's".into(),
        };
        Err(format!(
            "interpreter {name:?} has {directory}, not the PythonHome {home} of this virtual host; name another one with PythonInterpreter"
        ))
    }
}

/// The configuration's wishes; set when the child starts.
static PLAN: OnceLock<Plan> = OnceLock::new();
/// The pools that have been made. The lock is held for look-ups only.
static POOLS: Mutex<Option<HashMap<String, &'static Pool>>> = Mutex::new(None);

/// The interpreter or the pool of that name; it is made when it is first asked for, with the PythonHome of the host that asks
/// where the configuration does not name one for it. Call it detached.
///
/// # Errors
/// Why it cannot be made; the details are in the log. That it has another PythonHome than the host.
pub(crate) fn find(name: &str, home: Option<&str>) -> Result<Found, String> {
    // A thread that ends has nothing of its own any more.
    let known = FOUND.try_with(|found| found.borrow().get(name).copied());
    if let Some(found) = known.ok().flatten() {
        return found.suits(name, home);
    }
    threads::assert_detached();
    let plan = PLAN.get();
    if let Some(plan) = plan {
        plan.check_member(name)
            .map_err(|reason| format!("interpreter {name:?}: {reason}"))?;
    }
    let found = match plan.and_then(|plan| plan.pool_size(name)) {
        Some(size) => Found::Pool(find_or_fill(name, size, home)?),
        None => Found::One(find_or_create(canonical(name), home)?),
    };
    let _ = FOUND.try_with(|known| known.borrow_mut().insert(name.to_string(), found));
    found.suits(name, home)
}

/// Goes by the plan from now on, and makes its pools: one that cannot be made is tried again by the requests for it. Called
/// once, when the child starts and Python has been started.
pub(crate) fn follow(plan: Plan) {
    let plan = PLAN.get_or_init(|| plan);
    if plan.has_own() {
        prepare_for_own();
    }
    for name in plan.pools() {
        if let Err(reason) = find(name, None) {
            let text = format!("PythonInterpreterPool {name}: {reason}");
            log::process(Level::Error, &text);
        }
    }
}

/// Interpreters with locks of their own may import for the first time what has static types: two at once have been seen to make
/// those ready at the same time, and to crash. One has done so first, then.
fn prepare_for_own() {
    let imported = interpreter::named(MAIN).map(|main| {
        enter(main, |cx| {
            let imported = cx.py.import("datetime").map(drop);
            exception::or_discard(cx.py, imported);
        })
    });
    if let Some(Err(reason)) = imported {
        log::process(Level::Error, &reason);
    }
}

/// The PythonHome of a host, where it is not the process's.
fn home_of_host(home: Option<&str>) -> Option<&str> {
    PLAN.get().map_or(home, |plan| plan.own_home(home))
}

fn find_or_fill(name: &str, size: usize, home: Option<&str>) -> Result<&'static Pool, String> {
    let pools = || POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = pools().as_ref().and_then(|pools| pools.get(name).copied());
    if let Some(pool) = known {
        return Ok(pool);
    }
    let members = (1..=size).map(|number| find_or_create(&format!("{name}#{number}"), home));
    let made = Pool::new(members.collect::<Result<_, _>>()?);
    // Another thread may have been quicker: its pool counts, of the same interpreters.
    let mut pools = pools();
    let entry = pools.get_or_insert_default().entry(name.into());
    Ok(entry.or_insert_with(|| Box::leak(Box::new(made))))
}

fn gil_of(name: &str) -> Gil {
    PLAN.get().map_or(Gil::Shared, |plan| plan.gil(name))
}

/// The base server's name is another one of the main interpreter.
fn canonical(name: &str) -> &str {
    let base = Server::main().and_then(Server::server_hostname);
    if base.is_some_and(|base| base.to_bytes() == name.as_bytes()) {
        MAIN
    } else {
        name
    }
}

fn find_or_create(name: &str, home: Option<&str>) -> Result<&'static Interpreter, String> {
    if let Some(answer) = interpreter::named(name).and_then(state) {
        return answer;
    }
    let _one_at_a_time = CREATION.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(answer) = interpreter::named(name).and_then(state) {
        return answer;
    }
    let main = interpreter::named(MAIN).ok_or("Python has not been started")?;
    let begun = Instant::now();
    let (wanted, gil) = (name.to_string(), gil_of(name));
    let home = PLAN.get().and_then(|plan| plan.home_for(name, home));
    let home = home.map(String::from);
    let interpreter = main_thread::run(move || {
        let interpreter = match interpreter::named(&wanted) {
            Some(unprepared) => unprepared,
            None => create(main, &wanted, gil, home)?,
        };
        enter(interpreter, furnish)?;
        Ok::<_, String>(interpreter)
    })??;
    settled(interpreter, gil, begun)
}

/// Runs `end` in every interpreter, in the thread that made it; in the main one last, in this thread.
pub(super) fn end_all(end: for<'py> fn(Cx<'py>)) {
    if main_thread::is_running() {
        let mut others: Vec<_> = interpreter::all()
            .filter(|one| one.name() != MAIN)
            .collect();
        others.sort_by_key(|one| one.name());
        let ended =
            main_thread::run(move || others.into_iter().try_for_each(|one| enter(one, end)))
                .and_then(|done| done);
        ended.unwrap_or_else(|reason| log::process(Level::Error, &reason));
    }
    if let Some(main) = interpreter::named(MAIN) {
        enter(main, end).unwrap_or_else(|reason| log::process(Level::Error, &reason));
    }
}

/// Registers the interpreter that Python itself started with, attached in this thread.
pub(super) fn adopt_main(begun: Instant) -> Result<(), String> {
    // SAFETY: Python has just been initialised in this thread, which is attached; it is left detached.
    let main = unsafe {
        let main = interpreter::register(MAIN, ffi::PyInterpreterState_Get(), None);
        threads::adopt(main, ffi::PyEval_SaveThread());
        main
    };
    enter(main, |cx| {
        exception::prepare(cx.py);
        furnish(cx);
    })?;
    settled(main, Gil::Shared, begun).map(drop)
}

fn create(
    main: &'static Interpreter,
    name: &str,
    gil: Gil,
    home: Option<String>,
) -> Result<&'static Interpreter, String> {
    if faults::strike("interpreter") {
        return Err("Py_NewInterpreter failed".into());
    }
    enter(main, |_| {
        // SAFETY: attached to the main interpreter. The new one's first thread state is attached instead; it is detached
        // again, with its lock, and the main one's comes back, with its lock, before `enter` goes on.
        unsafe {
            let before = ffi::PyThreadState_Get();
            let state = start(gil)?;
            if state.is_null() {
                ffi::PyErr_Clear();
                return Err("Py_NewInterpreter failed".into());
            }
            let interpreter = interpreter::register(name, ffi::PyInterpreterState_Get(), home);
            threads::adopt(interpreter, state);
            ffi::PyEval_SaveThread();
            ffi::PyEval_RestoreThread(before);
            Ok(interpreter)
        }
    })?
}

/// Py_NewInterpreterFromConfig. With a lock of its own, extensions that do not know several interpreters refuse to be loaded.
/// No fork: its child would have to be the main interpreter, and aborts.
///
/// # Safety
/// Attached; afterwards the new thread state is, or the old one where it fails.
#[cfg(Py_3_12)]
unsafe fn start(gil: Gil) -> Result<*mut ffi::PyThreadState, String> {
    let own = gil == Gil::Own;
    let config = ffi::PyInterpreterConfig {
        use_main_obmalloc: i32::from(!own),
        allow_fork: 0,
        allow_exec: 1,
        allow_threads: 1,
        allow_daemon_threads: 1,
        check_multi_interp_extensions: i32::from(own || cfg!(Py_GIL_DISABLED)),
        gil: if own {
            ffi::PyInterpreterConfig_OWN_GIL
        } else {
            ffi::PyInterpreterConfig_SHARED_GIL
        },
    };
    let mut state = std::ptr::null_mut();
    // SAFETY: the caller's promise; a complete configuration.
    let status = unsafe { ffi::Py_NewInterpreterFromConfig(&raw mut state, &raw const config) };
    exception::of_status(status).map(|()| state)
}

/// Py_NewInterpreter. `Plan` never asks for a lock of its own here.
///
/// # Safety
/// As above.
#[cfg(not(Py_3_12))]
unsafe fn start(_gil: Gil) -> Result<*mut ffi::PyThreadState, String> {
    // SAFETY: the caller's promise.
    Ok(unsafe { ffi::Py_NewInterpreter() })
}

/// Prepares a new interpreter; where that fails, notes why.
fn furnish(cx: Cx<'_>) {
    if let Err(error) = prepare(cx) {
        let reason = Failure {
            reason: shown(cx, error),
            at: Instant::now(),
        };
        let mut failure = FAILURE
            .of(cx)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *failure = Some(reason);
    }
}

/// The package's place in sys.path, a virtual host's PythonHome, `threading`, `mod_python.apache`.
fn prepare(cx: Cx<'_>) -> PyResult<()> {
    let path = cx
        .py
        .import("sys")?
        .getattr("path")?
        .cast_into::<PyList>()?;
    if let Ok(package) = package::directory() {
        let package = PyString::new(cx.py, &package.to_string_lossy());
        if !path.contains(&package)? {
            path.insert(0, package)?;
        }
    }
    if let Some(home) = cx.interpreter.home() {
        let executable = match home::check(home).map_err(PySystemError::new_err)? {
            Home::Environment(executable) => Some(executable.to_string_lossy().into_owned()),
            Home::Prefix(_) => None,
        };
        let enter = cx.py.import("mod_python._home")?.getattr("enter")?;
        enter.call1((home, executable))?;
    }
    // The thread that imports it is the one that `threading` calls the main thread.
    cx.py.import("threading")?;
    apache::start(cx)
}

/// Says what went wrong, for the operator.
fn shown(cx: Cx<'_>, error: PyErr) -> String {
    let reason = exception::value(cx.py, error);
    let reason = exception::or_discard(cx.py, reason.repr()).map(|text| text.to_string());
    let path = cx
        .py
        .import("sys")
        .and_then(|sys| sys.getattr("path")?.repr());
    let path = exception::or_discard(cx.py, path).map(|path| path.to_string());
    format!(
        "interpreter {:?} cannot import mod_python.apache: {}; sys.path is {}",
        cx.interpreter.name(),
        reason.unwrap_or_default(),
        path.unwrap_or_default()
    )
}

/// The interpreter once it is ready, or why it cannot be had; None while it is being made, and where it is time to try
/// again.
fn state(interpreter: &'static Interpreter) -> Option<Result<&'static Interpreter, String>> {
    if apache::is_ready(interpreter) {
        return Some(Ok(interpreter));
    }
    let failure = FAILURE.find(interpreter)?;
    let failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
    let recent = failure
        .as_ref()
        .filter(|failure| failure.at.elapsed() < RETRY);
    recent.map(|failure| Err(failure.reason.clone()))
}

/// What an attempt to prepare an interpreter has come to.
fn settled(
    interpreter: &'static Interpreter,
    gil: Gil,
    begun: Instant,
) -> Result<&'static Interpreter, String> {
    let state = state(interpreter);
    if let Some(Ok(_)) = state {
        announce(interpreter, gil, begun.elapsed());
    }
    state.unwrap_or_else(|| Err("the interpreter is not ready".into()))
}

/// Tells the operator of a new interpreter: in the log, and in the table of all children.
fn announce(interpreter: &Interpreter, gil: Gil, took: Duration) {
    let name = interpreter.name();
    interpreter.set_row(scoreboard::enter(name, gil, took));
    let (version, milliseconds, gil) = (package::BUILT_VERSION, took.as_millis(), gil.word());
    let text =
        format!("interpreter {name:?} created: Python {version}, {gil} GIL, {milliseconds} ms");
    log::process(Level::Info, &text);
}
