//! What the Python package has native help for: settings, forms, cookies, files of sessions. Functions of `_apache` with an
//! underscore; outside httpd `_outside.py` has the same in Python, and a test compares the two.

mod cookies;
mod form;
mod places;
mod records;
mod sessions;
mod set_cookie;
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
        c"_page(req, /)",
        c"allows the publisher's methods; is the request's one, what _switches says, what _place does; None: look closer.",
        places::page,
    ),
    function!(
        c"_signature(path, /)",
        c"what tells a regular file from what it was before: time, size, inode; None where there is none.",
        places::signature,
    ),
    function!(
        c"_query_texts(req, keep_blank_values, most, block, /)",
        c"names and texts of a request's form; None for what needs a closer look, bytes that have been read of its body.",
        form::query_texts,
    ),
    function!(
        c"_text_fields(texts, name, cls, attribute, /)",
        c"the texts of a name, as instances of a class with that name in an attribute.",
        form::text_fields,
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
        c"_cookies_sent(req, cls, names, /)",
        c"the cookies of a request, as instances of a class, by name; None for what needs a closer look.",
        cookies::sent,
    ),
    function!(
        c"_cookie_value(req, name, /)",
        c"the value of a cookie, None without one; False for what needs a closer look.",
        cookies::value,
    ),
    function!(
        c"_cookie_set(req, name, value, attributes, /)",
        c"sends a cookie, if there is nothing to encode or to refuse; has it?",
        set_cookie::set,
    ),
    function!(
        c"_record_pack(record, /)",
        c"a session's record in JSON; None for one that is not plain.",
        records::pack,
    ),
    function!(
        c"_record_unpack(data, /)",
        c"the record in plain JSON; None for anything else.",
        records::unpack,
    ),
    function!(
        c"_is_sid(text, /)",
        c"is this a session's id: 32 hexadecimal digits in lower case?",
        sessions::is_sid,
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
