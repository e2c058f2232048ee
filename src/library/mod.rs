//! What the Python package has native help for: settings, forms, cookies, files of sessions. Functions of `_apache` with an
//! underscore; outside httpd `_outside.py` has the same in Python, and a test compares the two.

mod cookies;
mod form;
mod places;
mod sessions;
mod settings;

use crate::embed::class::{Function, function};

/// The functions of `_apache`.
pub(crate) static FUNCTIONS: &[Function] = &[
    function!(
        c"_options(req, names, /)",
        c"the values of these PythonOptions, as get_options() has them; None for what is not set.",
        settings::options,
    ),
    function!(
        c"_switches(req, /)",
        c"are PythonDebug and PythonAutoReload on, as get_config() has them?",
        settings::switches,
    ),
    function!(
        c"_place(req, /)",
        c"what the publisher finds a page by, as a key: file, path, document root, extension, section, extensions.",
        places::place,
    ),
    function!(
        c"_signature(path, /)",
        c"what tells a regular file from what it was before: time, size, inode; None where there is none.",
        places::signature,
    ),
    function!(
        c"_query_texts(req, keep_blank_values, most, /)",
        c"names and texts of the query of a request without a form in its body; None for what needs a closer look.",
        form::query_texts,
    ),
    function!(
        c"_form_fields(data, keep_blank_values, most, decode, /)",
        c"how many fields an urlencoded form has, and if these are no more than `most` (negative: any number), names and values.",
        form::fields,
    ),
    function!(
        c"_cookie_pairs(text, /)",
        c"names and values of a Cookie header, as they were sent; None for what is not ASCII.",
        cookies::pairs,
    ),
    function!(
        c"_session_read(place, sid, touch, refusal, /)",
        c"what a session's file in a private directory holds, None without one; OSError, or what refusal(name, is_directory) makes.",
        sessions::read,
    ),
    function!(
        c"_session_write(place, sid, data, refusal, /)",
        c"replaces it, for others as a whole or not at all.",
        sessions::write,
    ),
];
