//! Asks `apxs`, `apr-1-config` and Python where things are, makes the httpd bindings, compiles the shim.
//!
//! Every failure says which package mends it: a build error is the first thing a newcomer sees.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

fn main() {
    for file in ["apache/wrapper.h", "apache/shim.c", "build.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
    for variable in ["APXS", "APR_CONFIG", "PYO3_PYTHON"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    pyo3_build_config::use_pyo3_cfgs();
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_else(|| fail("OUT_DIR", "run cargo")));
    let includes = httpd_flags();
    let bindings = bind_httpd(&includes, &out);
    stub_httpd(&bindings, &out);
    compile_shim();
    record_python();
    // A DSO whose thread-locals have been used must stay mapped (httpd unloads modules at a restart).
    println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete");
}

/// The compiler flags with which httpd and APR were built: include paths and definitions.
fn httpd_flags() -> Vec<String> {
    let apxs = env::var("APXS").unwrap_or_else(|_| "apxs".into());
    let apr = env::var("APR_CONFIG").unwrap_or_else(|_| "apr-1-config".into());
    let include = run(
        &apxs,
        &["-q", "INCLUDEDIR"],
        "apache2-dev (Debian), httpd-devel (Fedora)",
    );
    if !Path::new(&include).join("httpd.h").is_file() {
        fail(
            &format!("no httpd.h in {include}"),
            "install apache2-dev (Debian) or httpd-devel (Fedora)",
        );
    }
    let flags = run(
        &apr,
        &["--includes", "--cppflags"],
        "libapr1-dev (Debian), apr-devel (Fedora)",
    );
    let mut all = vec![format!("-I{include}")];
    all.extend(flags.split_whitespace().map(String::from));
    if let Ok(output) = Command::new("apu-1-config").arg("--includes").output() {
        all.extend(
            String::from_utf8_lossy(&output.stdout)
                .split_whitespace()
                .map(String::from),
        );
    }
    all
}

fn bind_httpd(flags: &[String], out: &Path) -> String {
    let bindings = bindgen::Builder::default()
        .header("apache/wrapper.h")
        .clang_args(flags)
        .allowlist_file(
            r".*/(httpd|http_\w+|ap_\w+|util_\w+|apr\w*|apu\w*|mod_auth|mod_include|mod_proxy|mpm_common|unixd|scoreboard)\.h",
        )
        .default_macro_constant_type(bindgen::MacroTypeVariation::Signed)
        .generate_comments(false)
        .layout_tests(false);
    // bindgen panics where libclang cannot be loaded.
    let Ok(Ok(bindings)) = catch_unwind(AssertUnwindSafe(|| bindings.generate())) else {
        fail(
            "bindgen could not read httpd's headers",
            "install libclang-dev (Debian) or clang-devel (Fedora)",
        );
    };
    let text = bindings.to_string();
    fs::write(out.join("bindings.rs"), &text)
        .unwrap_or_else(|e| fail(&e.to_string(), "check the disk"));
    text
}

/// Unit tests run without httpd: every `ap_*` symbol gets a weak definition that aborts when it is called.
fn stub_httpd(bindings: &str, out: &Path) {
    let mut source = String::from("void abort(void);\n");
    for line in bindings.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("pub fn ap_") {
            let name = rest.split('(').next().unwrap_or_default();
            let _ = writeln!(
                source,
                "__attribute__((weak)) void ap_{name}(void) {{ abort(); }}"
            );
        } else if let Some(rest) = line
            .strip_prefix("pub static mut ap_")
            .or_else(|| line.strip_prefix("pub static ap_"))
        {
            let name = rest.split(':').next().unwrap_or_default();
            let _ = writeln!(source, "__attribute__((weak)) void *ap_{name}[8];");
        }
    }
    source.push_str("__attribute__((weak)) void *core_module[16];\n");
    let file = out.join("httpd_stubs.c");
    fs::write(&file, source).unwrap_or_else(|e| fail(&e.to_string(), "check the disk"));
    cc::Build::new()
        .file(&file)
        .cargo_metadata(false)
        .warnings(false)
        .compile("httpd_stubs");
    println!("cargo::rustc-link-search=native={}", out.display());
}

fn compile_shim() {
    let config = pyo3_build_config::get();
    let python = config.executable().unwrap_or("python3").to_string();
    let include = run(
        &python,
        &[
            "-c",
            "import sysconfig; print(sysconfig.get_path('include'))",
        ],
        "python3-dev",
    );
    if !Path::new(&include).join("Python.h").is_file() {
        fail(
            &format!("no Python.h in {include}, the headers of {python}"),
            "install python3-dev (Debian) or python3-devel (Fedora), or name another interpreter: PYTHON=… make",
        );
    }
    cc::Build::new()
        .file("apache/shim.c")
        .include(&include)
        .warnings(true)
        .compile("mod_python_shim");
}

fn record_python() {
    let config = pyo3_build_config::get();
    let python = config.executable().unwrap_or("python3").to_string();
    if !config.shared() {
        fail(
            &format!("{python} has no shared libpython to embed"),
            "use the distribution's Python with its -dev package, or build Python with --enable-shared",
        );
    }
    // The base interpreter: a build inside a virtual environment must not depend on it at run time.
    let base = run(
        &python,
        &[
            "-c",
            "import sys; print(getattr(sys, '_base_executable', sys.executable))",
        ],
        "python3",
    );
    println!("cargo::rustc-env=MOD_PYTHON_EXECUTABLE={base}");
    let version = run(
        &python,
        &["-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        "python3",
    );
    println!("cargo::rustc-env=MOD_PYTHON_PYTHON_VERSION={version}");
    if let Some(directory) = config.lib_dir() {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{directory}");
    }
}

fn run(program: &str, arguments: &[&str], package: &str) -> String {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_string()
        }
        Ok(output) => fail(
            &format!(
                "{program} {} failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            ),
            &format!("install {package}"),
        ),
        Err(error) => fail(
            &format!("cannot run {program}: {error}"),
            &format!("install {package}, or run `make build`"),
        ),
    }
}

fn fail(what: &str, remedy: &str) -> ! {
    println!("cargo::error=mod_python cannot be built: {what}; what to do: {remedy}");
    exit(1)
}
