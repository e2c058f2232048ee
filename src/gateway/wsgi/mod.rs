//! WSGI (PEP 3333): what `PythonHandler mod_python.wsgi`, and PythonWSGI, call.

mod body;
mod environ;
mod file_wrapper;
mod handler;
mod head;
mod names;
mod start_response;
mod template;

pub(super) use handler::HANDLER;
