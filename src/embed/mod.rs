//! Python inside a child of httpd's: interpreters, thread states, classes. Who uses whom: README.md, "Inside embed/".
//!
//! Here are only the names by which the layers above know what they use most; no file of this folder goes by them.
#![expect(unsafe_code, reason = "this folder and `httpd` are where C is called")]

mod alarm;
mod apache;
mod armed;
mod attach;
pub(crate) mod blank;
pub(crate) mod bytes;
pub(crate) mod cell;
pub(crate) mod children;
pub(crate) mod class;
pub(crate) mod deadlines;
pub(crate) mod dict;
mod entry;
pub(crate) mod exception;
mod given_up;
pub(crate) mod handlers;
pub(crate) mod home;
pub(crate) mod in_flight;
pub(crate) mod interpreter;
pub(crate) mod lifecycle;
pub(crate) mod main_thread;
pub(crate) mod module;
pub(crate) mod package;
mod place;
pub(crate) mod pools;
mod question;
pub(crate) mod rates;
pub(crate) mod registry;
pub(crate) mod scoreboard;
pub(crate) mod series;
mod shared;
mod stacks;
pub(crate) mod stopwatch;
pub(crate) mod text;
mod threads;
pub(crate) mod totals;
mod words;

pub(crate) use attach::{Detachable, acquire, capsule, detached, enter, spawn};
pub(crate) use interpreter::{Cx, PerInterpreter};
pub(crate) use threads::is_inside;
