//! Filters: how httpd calls a Python filter, and what comes of it.
//!
//! What fails, fails closed: nothing passes a filter that could not do its work.

mod input;
mod invocation;
pub(crate) mod names;
mod output;
mod own;
mod register;

pub(crate) use invocation::{Failed, Invocation};
pub(crate) use own::Verdict;
pub(in crate::httpd) use own::failed_with;
pub(crate) use register::{register_input, register_output};
