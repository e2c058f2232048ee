//! Handler lists: reads `module[::object] … [| .ext …]`.

use super::Phase;
use crate::httpd::module::command::Section;

/// The handlers of a phase, in the order in which directives of one place name them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct HandlerList<'c> {
    pub(crate) entries: &'c [Entry<'c>],
}

/// One handler: what to import and what to call in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry<'c> {
    /// As written: `module` or `module::object`.
    pub(crate) text: &'c str,
    /// `module::object`, with the phase's default function where none is written: the name under which an interpreter keeps
    /// the function once it has been found.
    pub(crate) key: &'c str,
    /// Where the directive stood.
    pub(crate) section: Section<'c>,
    /// A missing default function is no error (PythonHandlerModule).
    pub(crate) silent: bool,
}

impl<'c> Entry<'c> {
    /// The module's name and the object's path in it.
    pub(crate) fn parts(&self) -> (&'c str, &'c str) {
        self.key.split_once("::").unwrap_or((self.key, ""))
    }

    /// The directory of the section that the directive stands in, which goes into sys.path and names the interpreter of
    /// PythonInterpPerDirective; None outside sections.
    pub(crate) fn directory(&self) -> Option<&'c str> {
        match self.section {
            Section::None => None,
            Section::Location { pattern, .. } => Some(pattern),
            Section::Directory { path, .. } | Section::Htaccess { path } => Some(path),
        }
    }
}

/// Makes `Entry::key`: `module::object`, with the phase's default function where none is named.
pub(crate) fn key(text: &str, phase: Phase) -> String {
    if text.contains("::") {
        text.to_string()
    } else {
        format!("{text}::{}", phase.default_function())
    }
}

/// Makes `Entry::key` for a filter.
pub(crate) fn filter_key(text: &str, input: bool) -> String {
    let default = if input { "inputfilter" } else { "outputfilter" };
    if text.contains("::") {
        text.to_string()
    } else {
        format!("{text}::{default}")
    }
}

/// Splits a handler directive's text into the handlers, and the extensions behind `|`.
///
/// # Errors
/// What is wrong with it, as a sentence for the operator.
pub(crate) fn parse(text: &str) -> Result<(Vec<&str>, Vec<&str>), String> {
    let (handlers, extensions) = match text.split_once('|') {
        Some((handlers, extensions)) => (handlers, Some(extensions)),
        None => (text, None),
    };
    let handlers: Vec<&str> = handlers.split_whitespace().collect();
    if handlers.is_empty() {
        return Err("names no handler; write module or module::function".into());
    }
    for handler in &handlers {
        let (module, object) = handler.split_once("::").unwrap_or((handler, "default"));
        let stray = module.ends_with(':') || object.contains(':');
        if stray || module.is_empty() || object.split('.').any(str::is_empty) {
            return Err(format!(
                "cannot use the handler {handler:?}; write module or module::function"
            ));
        }
    }
    let extensions: Vec<&str> = extensions.unwrap_or_default().split_whitespace().collect();
    if let Some(bad) = extensions
        .iter()
        .find(|extension| !extension.starts_with('.') || extension.len() < 2)
    {
        return Err(format!(
            "cannot use the extension {bad:?}; it must begin with a dot, like .py"
        ));
    }
    if text.contains('|') && extensions.is_empty() {
        return Err("has a | without an extension behind it; write | .py".into());
    }
    Ok((handlers, extensions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_and_extensions_are_told_apart() {
        assert_eq!(parse("mp"), Ok((vec!["mp"], vec![])));
        assert_eq!(
            parse(" a::b.c  d | .py  .tar.gz "),
            Ok((vec!["a::b.c", "d"], vec![".py", ".tar.gz"]))
        );
    }

    #[test]
    fn mistakes_are_named() {
        for text in ["", "   ", "| .py"] {
            assert!(
                parse(text).is_err_and(|error| error.contains("names no handler")),
                "{text}"
            );
        }
        for text in ["::f", "m::", "m::a..b", "m::.a", "m:", "m:::f", "m::f::g"] {
            assert!(
                parse(text).is_err_and(|error| error.contains("module::function")),
                "{text}"
            );
        }
        assert!(parse("m | py").is_err_and(|error| error.contains("begin with a dot")));
        assert!(parse("m |").is_err_and(|error| error.contains("without an extension")));
    }

    /// What is accepted has parts that can be imported and looked up.
    fn check(input: &[u8]) {
        let Ok(text) = std::str::from_utf8(input) else {
            return;
        };
        match parse(text) {
            Err(reason) => assert!(!reason.is_empty()),
            Ok((handlers, extensions)) => {
                assert!(!handlers.is_empty());
                for handler in handlers {
                    assert!(!handler.is_empty() && !handler.contains(char::is_whitespace));
                    let key = key(handler, Phase::Content);
                    let (module, object) = key.split_once("::").unwrap();
                    assert!(!module.is_empty() && !object.split('.').any(str::is_empty));
                }
                assert!(extensions.iter().all(|extension| extension.len() > 1));
            }
        }
    }

    #[test]
    fn fuzzed() {
        crate::fuzz::run("handlers", check);
    }
}
