//! Settings that sections and servers have alike, one line each: it makes the field, how an inner one covers an outer one, and
//! what `req.get_config()` and `server.get_config()` list.

use super::cover::cover;
use super::limit::{Answerer, Limit};
use super::seconds::Seconds;
use crate::httpd::apr::pool::Pool;
use std::num::NonZeroU64;

/// A value as `get_config()` shows it.
trait Shown<'c>: Copy {
    fn shown(self) -> &'c str;
}

impl<'c> Shown<'c> for &'c str {
    fn shown(self) -> &'c str {
        self
    }
}

impl<'c> Shown<'c> for bool {
    fn shown(self) -> &'c str {
        if self { "1" } else { "0" }
    }
}

impl<'c> Shown<'c> for &'c Limit<'c> {
    fn shown(self) -> &'c str {
        self.text
    }
}

impl<'c> Shown<'c> for Seconds<'c> {
    fn shown(self) -> &'c str {
        self.text()
    }
}

macro_rules! settings {
    ($($field:ident: $kind:ty = $directive:literal;)*) => {
        /// What stands in both: `req.get_config()` shows a section's, `server.get_config()` a server's.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub(crate) struct Common<'c> {
            $(
                #[doc = concat!("`", $directive, "`, where it is set.")]
                pub(crate) $field: Option<$kind>,
            )*
            /// PythonOption; an empty value removes an inherited one.
            pub(crate) options: &'c [(&'c str, &'c str)],
        }

        impl<'c> Common<'c> {
            /// The inner settings, and the outer ones that they do not cover.
            #[inline]
            pub(super) fn merge(pool: Pool<'c>, base: &Common<'c>, over: &Common<'c>) -> Common<'c> {
                Common {
                    $($field: over.$field.or(base.$field),)*
                    options: cover(pool, base.options, over.options, |a, b| {
                        a.0.eq_ignore_ascii_case(b.0)
                    }),
                }
            }

            /// Is nothing set?
            #[inline]
            pub(super) fn is_blank(&self) -> bool {
                $(self.$field.is_none())&&* && self.options.is_empty()
            }

            /// Lists the directives that are set, as `get_config()` does: name and text.
            pub(crate) fn listed(&self) -> Vec<(&'static str, &'c str)> {
                let all = [$(($directive, self.$field.map(Shown::shown)),)*];
                all.into_iter()
                    .filter_map(|(name, value)| Some((name, value?)))
                    .collect()
            }
        }
    };
}

settings! {
    path: &'c str = "PythonPath";
    interpreter: &'c str = "PythonInterpreter";
    interpreter_per_directory: bool = "PythonInterpPerDirectory";
    interpreter_per_directive: bool = "PythonInterpPerDirective";
    debug: bool = "PythonDebug";
    auto_reload: bool = "PythonAutoReload";
    enable_pdb: bool = "PythonEnablePdb";
    timeout: &'c Limit<'c> = "PythonTimeout handler";
    wsgi_timeout: &'c Limit<'c> = "PythonTimeout wsgi";
    asgi_timeout: &'c Limit<'c> = "PythonTimeout asgi";
    slow_log: Seconds<'c> = "PythonSlowLog";
}

impl<'c> Common<'c> {
    /// Finds the value of a PythonOption, which may be empty; names are compared without regard to case.
    pub(crate) fn option(&self, name: &str) -> Option<&'c str> {
        let mut all = self.options.iter();
        let found = all.find(|(key, _)| *key == name || key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| *value)
    }

    /// For how long may this be in Python, in nanoseconds? None: for as long as it likes.
    #[inline]
    pub(crate) fn limit(&self, answerer: Answerer) -> Option<NonZeroU64> {
        let limit = match answerer {
            Answerer::Handler => self.timeout,
            Answerer::Wsgi => self.wsgi_timeout,
            Answerer::Asgi => self.asgi_timeout,
        };
        limit.and_then(|limit| limit.time)
    }
}
