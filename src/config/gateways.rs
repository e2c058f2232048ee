//! What a gateway's handler and options are called. Code that serves all gateways is given these names, and so names none itself.

use super::limit::Answerer;

/// What stands between requests and applications of one kind.
pub(crate) struct Gateway {
    /// What PythonHandler calls it: a module of the package.
    pub(crate) handler: &'static str,
    /// The function there, as handlers are looked up.
    pub(crate) key: &'static str,
    /// Which limits count for it.
    pub(crate) answerer: Answerer,
    /// The option that names the application.
    pub(crate) application: &'static str,
    /// The option that says which part of the URI is the application's own place.
    pub(crate) base_uri: &'static str,
    /// The option that names networks of proxies that can be trusted.
    pub(crate) trusted_proxies: &'static str,
    /// The option that names the headers that these proxies set.
    pub(crate) trusted_headers: &'static str,
    /// The option that says how many bytes of a body of unknown length are read ahead.
    pub(crate) chunked_buffer: &'static str,
    /// The options that only this gateway has.
    pub(crate) own: &'static [&'static str],
    /// Checks one of them; says what is wrong with its value.
    pub(crate) check: fn(key: &str, value: &str) -> Result<(), String>,
}

impl Gateway {
    /// All options that it reads.
    pub(crate) fn options(&self) -> impl Iterator<Item = &'static str> {
        let shared = [
            self.application,
            self.base_uri,
            self.trusted_proxies,
            self.trusted_headers,
        ];
        shared.into_iter().chain(self.own.iter().copied())
    }
}

/// Makes a gateway of its name, `wsgi`, of the options that others have not, and of what checks them.
macro_rules! gateway {
    ($word:literal, $answerer:expr, $own:expr, $check:expr) => {
        $crate::config::gateways::Gateway {
            handler: concat!("mod_python.", $word),
            key: concat!("mod_python.", $word, "::handler"),
            answerer: $answerer,
            application: concat!("mod_python.", $word, ".application"),
            base_uri: concat!("mod_python.", $word, ".base_uri"),
            trusted_proxies: concat!("mod_python.", $word, ".trusted_proxies"),
            trusted_headers: concat!("mod_python.", $word, ".trusted_headers"),
            chunked_buffer: concat!("mod_python.", $word, ".chunked_buffer"),
            own: $own,
            check: $check,
        }
    };
}

pub(crate) use gateway;

/// As WSGI's, for unit tests.
#[cfg(test)]
pub(crate) static SOME: Gateway = gateway!(
    "wsgi",
    Answerer::Wsgi,
    &["mod_python.wsgi.chunked_buffer"],
    |_, _| Ok(())
);
