//! What the Python package has native help for: settings, forms, cookies, files of sessions. Functions of `_apache` with an
//! underscore; outside httpd `_outside.py` has the same in Python, and a test compares the two.

mod cookies;
mod form;
mod places;
mod sessions;
mod settings;

use crate::embed::class::Function;

/// The functions of `_apache`.
pub(crate) static FUNCTIONS: &[Function] = &[
    Function::new(
        c"_options",
        c"_options(req, names): the values of these PythonOptions, as get_options() has them; None for what is not set.",
        settings::options,
    ),
    Function::new(
        c"_switches",
        c"_switches(req): are PythonDebug and PythonAutoReload on, as get_config() has them?",
        settings::switches,
    ),
    Function::new(
        c"_place",
        c"_place(req): what the publisher finds a page by, as a key: file, path, document root, extension, section, extensions.",
        places::place,
    ),
    Function::new(
        c"_signature",
        c"_signature(path): what tells a regular file from what it was before: time, size, inode; None where there is none.",
        places::signature,
    ),
    Function::new(
        c"_query_texts",
        c"_query_texts(req, keep_blank_values, most): names and texts of the query of a request without a form in its body; None for what needs a closer look.",
        form::query_texts,
    ),
    Function::new(
        c"_form_fields",
        c"_form_fields(data, keep_blank_values, most, decode): how many fields an urlencoded form has, and if these are no more than `most` (negative: any number), names and values.",
        form::fields,
    ),
    Function::new(
        c"_cookie_pairs",
        c"_cookie_pairs(text): names and values of a Cookie header, as they were sent; None for what is not ASCII.",
        cookies::pairs,
    ),
    Function::new(
        c"_session_read",
        c"_session_read(place, sid, touch, refusal): what a session's file in a private directory holds, None without one; OSError, or what refusal(name, is_directory) makes.",
        sessions::read,
    ),
    Function::new(
        c"_session_write",
        c"_session_write(place, sid, data, refusal): replaces it, for others as a whole or not at all.",
        sessions::write,
    ),
];
