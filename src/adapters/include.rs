//! Python in pages: mod_include's tag `<!--#python eval="…" -->` or `exec="…"`.

use super::lend::lend;
use super::{Subject, in_time, serve};
use crate::config::ModPython;
use crate::config::limit::Answerer;
use crate::embed::in_flight::Work;
use crate::embed::{self, Cx, deadlines, exception};
use crate::exchange::{Exchange, RequestLease, lease_of};
use crate::httpd::io::filter::Invocation;
use crate::httpd::io::include::{self, Code};
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::request::turn::Way;
use crate::objects::filter::{self, Parts, Running};
use crate::objects::request as object;
use crate::report;
use pyo3::prelude::*;

/// Makes the tag known to mod_include, if that is loaded.
pub(crate) fn register() {
    include::register(c"python", run);
}

/// Runs one tag; false puts the page's SSI error text in its place.
fn run(request: Request<'_>, code: Code<'_>, invocation: &mut Invocation) -> bool {
    let config = request.config::<ModPython>();
    let lease = lease_of(request);
    let failure = Exchange::interpreter(request, config, None).and_then(|interpreter| {
        serve(
            Subject::Request(request, lease),
            Work::PYTHON,
            interpreter,
            |cx| {
                let done = lend(cx, lease, Way::Out, invocation, |running| {
                    evaluate(cx, request, code, lease, running)
                });
                done.err().map(|error| {
                    let what = in_time(cx, &config.common, lease, || {
                        report::describe(cx, &exception::value(cx.py, error))
                    });
                    if let Ok(held) = embed::acquire(cx.py, lease) {
                        report::traceback(cx, held.request(), "#python", &what);
                    }
                    what.text
                })
            },
        )
    });
    match failure {
        Ok(None) => return true,
        Ok(Some(text)) if config.common.debug == Some(true) => {
            let page = format!("\n<pre>\n{}\n</pre>\n", report::escape(&text));
            let _ = invocation.write(page.as_bytes());
        }
        Ok(Some(_)) => {}
        Err(reason) => log::entry(request, Level::Error, &format!("#python: {reason}")),
    }
    false
}

fn evaluate(
    cx: Cx<'_>,
    request: Request<'_>,
    code: Code<'_>,
    lease: &RequestLease,
    running: &Running,
) -> PyResult<()> {
    let argument = object::object(cx, lease)?;
    let parts = Parts {
        lease: lease.clone(),
        running: running.clone(),
        name: "includes".into(),
        handler: None,
        directory: None,
        is_input: false,
    };
    let filter = filter::object(cx, parts, &argument)?;
    let (kind, text) = match code {
        Code::Eval(text) => ("eval", text),
        Code::Exec(text) => ("exec", text),
    };
    let path = request.config::<ModPython>().common.path;
    let arguments = (argument, filter, kind, text.to_string_lossy(), path);
    let limit = request
        .config::<ModPython>()
        .common
        .limit(Answerer::Handler);
    let include = cx.apache()?.getattr("_include")?;
    let armed = deadlines::arm(cx, limit, Some(lease));
    let done = include.call1(arguments).map(drop);
    armed.close();
    done
}
