//! What Python sees of a request.

use super::payload::Request;
use super::{attributes, body, methods};
use crate::embed::cell::Slot;
use crate::embed::class::{Attribute, Class, Key, Method, Slots};
use std::ffi::CStr;

impl Class for Request {
    const NAME: &'static CStr = c"mp_request";
    const DOC: &'static CStr = c"An HTTP request (request_rec): what handlers are given.";
    const DICT: bool = true;
    const REUSED: bool = true;
    const ATTRIBUTES: &'static [Attribute<Self>] = attributes::ATTRIBUTES;
    const METHODS: &'static [Method<Self>] = methods::METHODS;

    /// Iterating reads the request's body, line by line, as with a file.
    const SLOTS: Slots<Self> = Slots {
        iter: Some(|this| Ok(this.object())),
        next: Some(body::next),
        ..Slots::NONE
    };

    fn key() -> &'static Key<Self> {
        static KEY: Key<Request> = Key::new();
        &KEY
    }

    fn references(&self, visit: &mut dyn FnMut(&Slot)) {
        self.memos.each(visit);
    }
}
