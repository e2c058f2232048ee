//! Python's life in a child: it starts in child_init, and ends, in order and in time, with the child's pool.

use super::class::Function;
use super::home::{self, Home};
use super::module::{self, Populate};
use super::{alarm, deadlines, exception, interpreter, main_thread, package, registry, threads};
use crate::config;
use crate::config::interpreters::MAIN;
use crate::httpd::apr::pool::Pool;
use crate::httpd::log::{self, Level};
use crate::httpd::module::{reach, retirement};
use pyo3::ffi;
use pyo3::prelude::*;
use std::borrow::Cow;
use std::ffi::{CStr, CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long exit functions and threads of all interpreters may take together, before the process ends without them. httpd would
/// kill a child that takes longer than about ten seconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long all of the child's end may take, before it is cut off by means that do not need the process to be in order.
const LAST: Duration = Duration::from_secs(7);
/// How long it may take where it has come in the middle of Python.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The environment variables that the child was started with.
static ENVIRONMENT: OnceLock<Vec<(OsString, OsString)>> = OnceLock::new();

/// Checks, when the configuration is read, what has to be right for children to start Python.
///
/// # Errors
/// What is wrong and what to do.
pub(crate) fn check(server: &config::Server<'_>) -> Result<(), String> {
    let executable = Path::new(home::EXECUTABLE);
    if let Some(directory) = server.home {
        home::check_for_children(directory).map_err(|error| format!("PythonHome: {error}"))?;
    } else if executable.is_file() {
        reach::check(executable)?;
    } else {
        let executable = home::EXECUTABLE;
        return Err(format!(
            "mod_python was built with {executable}, which is gone; name a Python with PythonHome, or build mod_python again"
        ));
    }
    let package = package::directory()?;
    reach::check(&package.join("mod_python/__init__.py"))
}

pub(crate) use crate::embed::alarm::expect_early_ends;

/// Starts Python in this child, and sees to it that it ends with the child's pool. False where that failed: it has been logged, and
/// requests for Python are answered with 500. `before_end` is called, detached, before Python ends.
pub(crate) fn start(
    pool: Pool<'static>,
    server: &config::Server<'_>,
    functions: &'static [&'static [Function]],
    populate: Populate,
    before_end: fn(),
) -> bool {
    let begun = Instant::now();
    log::check_waits(threads::assert_detached);
    deadlines::follow_requests();
    STARTING.store(true, Ordering::SeqCst);
    pool.on_end(Exit { before: before_end });
    pool.before_end(Warning);
    let started =
        initialize(server, functions, populate).and_then(|()| registry::adopt_main(begun));
    STARTING.store(false, Ordering::SeqCst);
    if let Err(error) = &started {
        let text = format!("Python could not be started: {error}");
        log::process(Level::Critical, &text);
    }
    started.is_ok()
}

/// Is this child in the middle of starting Python?
static STARTING: AtomicBool = AtomicBool::new(false);

/// Gives the process's environment as it was before Python code could change it; empty before Python has been started.
pub(crate) fn initial_environment() -> &'static [(OsString, OsString)] {
    ENVIRONMENT.get().map_or(&[], Vec::as_slice)
}

/// Initialises Python, with what an embedded one needs (PEP 587, Py_InitializeFromConfig). Leaves this thread attached.
fn initialize(
    server: &config::Server<'_>,
    functions: &'static [&'static [Function]],
    populate: Populate,
) -> Result<(), String> {
    let home = server.home.map(home::check).transpose()?;
    check_version()?;
    if !module::register(functions, populate) {
        return Err("PyImport_AppendInittab failed".into());
    }
    ENVIRONMENT.get_or_init(|| std::env::vars_os().collect());
    // SAFETY: the order that PEP 587 asks for: preconfiguration, configuration, initialisation, clearing.
    unsafe {
        let mut before: ffi::PyPreConfig = std::mem::zeroed();
        ffi::PyPreConfig_InitPythonConfig(&raw mut before);
        before.parse_argv = 0;
        before.coerce_c_locale = 0;
        exception::of_status(ffi::Py_PreInitialize(&raw const before))?;
        let mut config = Config::new();
        config.0.install_signal_handlers = 0;
        config.0.parse_argv = 0;
        config.0.user_site_directory = 0;
        config.0.configure_c_stdio = 0;
        if server.optimize == Some(true) {
            config.0.optimization_level = 2;
        }
        let executable = home::executable(home.as_ref());
        config.set(|config| &raw mut config.executable, &executable)?;
        config.set(|config| &raw mut config.program_name, &executable)?;
        if let Some(Home::Prefix(prefix)) = &home {
            config.set(|config| &raw mut config.home, prefix)?;
        }
        let name = c"mod_python".as_ptr().cast_mut();
        exception::of_status(ffi::PyConfig_SetBytesArgv(
            &raw mut config.0,
            1,
            [name.cast_const()].as_mut_ptr(),
        ))?;
        exception::of_status(ffi::Py_InitializeFromConfig(&raw const config.0))
    }
}

/// The version of Python, such as "3.11.2", with what its builder has to say behind a blank.
pub(crate) fn version() -> Cow<'static, str> {
    // SAFETY: may be called before Python starts; a static string.
    unsafe { CStr::from_ptr(ffi::Py_GetVersion()) }.to_string_lossy()
}

/// Checks that the library of Python which the loader has found is of the version that the module was built for.
fn check_version() -> Result<(), String> {
    let version = version();
    let built = package::BUILT_VERSION;
    let fits = version
        .strip_prefix(built)
        .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()));
    if fits {
        return Ok(());
    }
    Err(format!(
        "mod_python was built for Python {built}, but the library that was loaded is {version}; build it again with PYTHON=… make, or see LD_LIBRARY_PATH"
    ))
}

struct Config(ffi::PyConfig);

impl Config {
    fn new() -> Config {
        // SAFETY: PyConfig_InitPythonConfig fills the structure.
        unsafe {
            let mut config: ffi::PyConfig = std::mem::zeroed();
            ffi::PyConfig_InitPythonConfig(&raw mut config);
            Config(config)
        }
    }

    fn set(
        &mut self,
        field: impl Fn(&mut ffi::PyConfig) -> *mut *mut libc::wchar_t,
        value: &Path,
    ) -> Result<(), String> {
        let text = CString::new(value.as_os_str().as_bytes()).map_err(|_| "a path contains NUL")?;
        let place = field(&mut self.0);
        // SAFETY: the place is a field of the configuration; Python copies the text.
        exception::of_status(unsafe {
            ffi::PyConfig_SetBytesString(&raw mut self.0, place, text.as_ptr())
        })
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        // SAFETY: an initialised configuration, cleared once.
        unsafe { ffi::PyConfig_Clear(&raw mut self.0) }
    }
}

/// Owned by the child's pool: dropped before any other part of the child's end, such as the clean-ups of a request that it has come
/// in the middle of.
struct Warning;

impl Drop for Warning {
    fn drop(&mut self) {
        alarm::set(if is_interrupted() { AT_ONCE } else { LAST });
    }
}

/// Does the end come in the middle of Python, or of its start?
fn is_interrupted() -> bool {
    threads::is_inside() || STARTING.load(Ordering::SeqCst)
}

/// Owned by the child's pool: ends Python when it is dropped.
struct Exit {
    before: fn(),
}

impl Drop for Exit {
    fn drop(&mut self) {
        if is_interrupted() {
            // prefork stops a child from a signal handler, perhaps in the middle of Python: nothing can be run then.
            threads::announce_end();
            return;
        }
        (self.before)();
        threads::announce_end();
        // Ends the process if exit functions take too long.
        let watch = main_thread::spawn("mod_python watch", || {
            std::thread::sleep(PATIENCE);
            let text =
                "exit functions or threads of Python took too long; the child goes without them";
            log::process(Level::Warning, text);
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(0) }
        });
        if let Err(reason) = watch {
            log::process(Level::Error, &reason);
            return;
        }
        registry::end_all(|cx| {
            let ended = cx
                .apache()
                .and_then(|apache| apache.getattr("_end")?.call0());
            exception::or_discard(cx.py, ended);
        });
        stop_threads();
        if retirement::has_begun() {
            // httpd would end such a child with a status by which its parent takes all children for sick, and might end itself.
            // SAFETY: ends the process at once; Python has ended.
            unsafe { libc::_exit(0) }
        }
    }
}

/// Takes the interpreters' common lock for good: a thread that has outlived their end would use what httpd takes away from
/// now on. One of an interpreter with a lock of its own is not stopped.
fn stop_threads() {
    let main = interpreter::named(MAIN).and_then(threads::state_of);
    std::mem::forget(main.map(threads::Attached::new));
    // Who is in the middle of a call that does not wait comes to its end, and to the lock.
    std::thread::sleep(MIDDLE_OF_A_CALL);
}

const MIDDLE_OF_A_CALL: Duration = Duration::from_millis(5);
