//! The class builder: a Python class is a table of attributes and methods over a Rust payload.
//!
//! Classes are heap types made in each interpreter (PyType_FromSpec); pyo3's `#[pyclass]` would share one
//! static type among all. `trampolines` holds the only `extern "C"` code that Python calls, each guarded.

mod arguments;
mod declaration;
mod define;
mod freelist;
pub(crate) mod signature;
mod trampolines;

pub(crate) use arguments::{Args, Named, integer, is_sequence};
pub(crate) use declaration::{Attribute, Class, Function, Key, Method, Slots, This, payload, this};
pub(crate) use define::{class_of, instance};
pub(crate) use freelist::{from_spare, is_plain, is_unmarked, recycle};
pub(crate) use signature::{function, method, signature};
