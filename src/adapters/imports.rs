//! PythonImport: modules that a child imports when it starts.

use super::{Subject, serve};
use crate::config::ModPython;
use crate::embed::in_flight::Work;
use crate::embed::{Cx, exception, registry};
use crate::httpd::request::server::Server;
use crate::report::{self, Described};
use pyo3::prelude::*;

/// Runs a server's PythonImport directives. An import that fails is logged, and the next one done. Gives what the first of them failed
/// of, in one line.
pub(crate) fn run(server: Server<'_>) -> Option<String> {
    let config = server.config::<ModPython>();
    let mut first = None;
    for &(module, name) in config.imports {
        let import = |cx: Cx<'_>| {
            let arguments = (module, config.common.path);
            let imported = cx
                .apache()
                .and_then(|apache| apache.getattr("_import")?.call1(arguments));
            imported.map(drop).map_err(|error| {
                report::count(cx);
                report::describe(cx, &exception::value(cx.py, error))
            })
        };
        let done = registry::find(name, config.home)
            .map_err(Described::from)
            .and_then(|found| {
                let mut all = found.all().into_iter();
                all.try_for_each(|one| serve(Subject::Child, Work::PYTHON, one, import)?)
            });
        if let Err(what) = done {
            let place = format!("PythonImport {module} {name}");
            report::traceback_outside(server, &place, &what);
            let last = what.text.trim_end().lines().last().unwrap_or_default();
            first.get_or_insert_with(|| format!("{place}: {last}"));
        }
    }
    first
}
