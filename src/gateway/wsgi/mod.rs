//! WSGI (PEP 3333): what `PythonHandler mod_python.wsgi`, and PythonWSGI, call.

mod body;
mod environ;
mod file_wrapper;
mod gateway;
mod handler;
mod head;
mod names;
mod start_response;
mod template;

pub(crate) use gateway::GATEWAY;
pub(super) use handler::{HANDLER, answer};
