//! Which application answers a URI: the lines of PythonWSGI and PythonWSGIMatch, and how one of them is found.

use crate::httpd::apr::pattern::{Groups, Pattern};
use crate::httpd::request::section::Overlay;
use std::borrow::Cow;
use std::ffi::CStr;

/// One line of the configuration: a part of the URI, and the application there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mount<'c> {
    pub(crate) place: Place<'c>,
    pub(crate) target: Target<'c>,
    /// What serves it: `Gateway::handler`.
    pub(crate) gateway: &'static str,
    /// The text that r->handler is set to. Each line has its own copy, so that its address tells which line has taken a request.
    pub(crate) handler: &'c CStr,
    /// Adds this line (`Directory::mount`) to what the sections say for a request that the line has taken.
    pub(crate) overlay: Overlay<'c>,
    /// The daemon that the application runs in; None: httpd's own children.
    pub(crate) daemon: Option<&'c str>,
    pub(crate) file: &'c str,
    pub(crate) line: u32,
}

/// A part of the URI.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place<'c> {
    /// A path, without a slash at its end; empty for the whole URI.
    Prefix(&'c str),
    /// An expression, and its text: the part that it matches at the URI's beginning.
    Pattern(&'c str, Pattern<'c>),
}

/// The application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'c> {
    /// `module::callable` or `/path/to/file::callable`. Where the place is an expression, `$1` and so on may stand in front of
    /// the colons.
    pub(crate) name: &'c str,
    /// Is the callable called once, without arguments, to give the application?
    pub(crate) is_factory: bool,
}

/// An application that a URI lies in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found<'c> {
    /// How many bytes of the URI are SCRIPT_NAME.
    pub(crate) base: usize,
    /// `Target::name`, with the matched text in place of `$1`; None where no module or file may have such a name.
    pub(crate) name: Option<Cow<'c, str>>,
}

impl<'c> Mount<'c> {
    /// Does the application lie at the URI?
    pub(crate) fn find(&self, uri: &CStr) -> Option<Found<'c>> {
        let bytes = uri.to_bytes();
        match self.place {
            Place::Prefix(prefix) => {
                let rest = bytes.strip_prefix(prefix.as_bytes())?;
                (rest.is_empty() || rest.starts_with(b"/")).then_some(Found {
                    base: prefix.len(),
                    name: Some(self.target.name.into()),
                })
            }
            Place::Pattern(_, pattern) => {
                let groups = pattern.find(uri)?;
                let base = match groups.first() {
                    Some(&Some((0, end))) => end,
                    _ => return None,
                };
                let matched = bytes.get(..base)?;
                let base = matched.strip_suffix(b"/").map_or(base, <[u8]>::len);
                let rest = bytes.get(base..)?;
                if !rest.is_empty() && !rest.starts_with(b"/") {
                    return None;
                }
                let name = expand(self.target.name, bytes, &groups);
                Some(Found {
                    base,
                    name: name.map(Cow::Owned),
                })
            }
        }
    }

    /// What a front calls it, so that its daemon finds the same one: a letter for the kind of its line (small where that has a path, large
    /// where an expression), its place, and its target.
    pub(crate) fn called(&self) -> (u8, &'c str, &'c str) {
        let (letter, place) = match self.place {
            Place::Prefix(prefix) => (b'a', prefix),
            Place::Pattern(text, _) => (b'A', text),
        };
        let gateway = if self.gateway.ends_with("asgi") { 0 } else { 2 };
        let kind = letter + gateway + u8::from(self.target.is_factory);
        (kind, place, self.target.name)
    }

    pub(crate) fn is_pattern(&self) -> bool {
        matches!(self.place, Place::Pattern(..))
    }

    /// Is it the same part of the URI?
    pub(crate) fn same_place(&self, other: &Mount<'_>) -> bool {
        match (self.place, other.place) {
            (Place::Prefix(one), Place::Prefix(other)) => one == other,
            (Place::Pattern(one, _), Place::Pattern(other, _)) => one == other,
            _ => false,
        }
    }
}

impl Found<'_> {
    /// The file that the application is in, where one is named.
    pub(crate) fn file(&self) -> Option<&str> {
        file_of(self.name.as_deref()?)
    }
}

/// Takes the path from a target's name, where that is a file's.
pub(crate) fn file_of(name: &str) -> Option<&str> {
    // Asked for every request: most names are modules.
    let path = name.starts_with('/').then(|| name.split_once("::"))??;
    Some(path.0)
}

/// Finds the line that a URI belongs to: the one that covers the longest part of it; of two equally long, the plain path before
/// the expression, then the first.
pub(crate) fn find<'c>(
    mounts: &'c [&'c Mount<'c>],
    uri: &CStr,
) -> Option<(&'c Mount<'c>, Found<'c>)> {
    let mut best: Option<(&Mount<'_>, Found<'_>)> = None;
    for mount in mounts {
        // Plain paths come first, the longest of them at the front.
        let is_plain = matches!(mount.place, Place::Prefix(_));
        if is_plain && best.is_some() {
            continue;
        }
        if let Some(found) = mount.find(uri)
            && best.as_ref().is_none_or(|(_, best)| found.base > best.base)
        {
            best = Some((mount, found));
        }
    }
    best
}

/// Sorts lines in the order in which `find` wants them.
pub(crate) fn sort<'c>(mounts: &mut [&'c Mount<'c>]) {
    mounts.sort_by_key(|mount| match mount.place {
        Place::Prefix(prefix) => (0, usize::MAX - prefix.len()),
        Place::Pattern(..) => (1, 0),
    });
}

/// Puts the matched text in place of `$1` and so on. The text comes from the client: None where it could name another module or
/// file than a line of the configuration means.
fn expand(name: &str, uri: &[u8], groups: &Groups) -> Option<String> {
    let is_file = name.starts_with('/');
    let mut result = String::new();
    let mut rest = name.split('$');
    result.push_str(rest.next().unwrap_or_default());
    for part in rest {
        let number = part.chars().next().and_then(|digit| digit.to_digit(10))?;
        let &(start, end) = groups.get(number as usize)?.as_ref()?;
        let value = std::str::from_utf8(uri.get(start..end)?).ok()?;
        let is_word = |letter: char| letter == '_' || letter.is_ascii_alphanumeric();
        let is_fit = if is_file {
            !value.contains([':', '\\']) && !value.contains(char::is_control)
        } else {
            value.chars().all(is_word)
        };
        if value.is_empty() || !is_fit {
            return None;
        }
        result.push_str(value);
        result.push_str(part.get(1..)?);
    }
    let path = result.split("::").next().unwrap_or_default();
    let strays = |part: &str| part == ".." || part == ".";
    // `__init__` would be its package, a second time.
    let is_module = |part: &str| {
        let is_special = part.starts_with("__") && part.ends_with("__");
        !part.is_empty() && !part.starts_with(|first: char| first.is_ascii_digit()) && !is_special
    };
    let is_good = if is_file {
        !path.split('/').any(strays)
    } else {
        path.split('.').all(is_module)
    };
    is_good.then_some(result)
}

/// Finds the numbers behind the `$` of a name.
pub(crate) fn groups_of(name: &str) -> impl Iterator<Item = usize> {
    let digit = |part: &str| part.chars().next()?.to_digit(10);
    name.split('$')
        .skip(1)
        .filter_map(digit)
        .filter_map(|number| usize::try_from(number).ok())
}

/// Splits a line's second argument into what is to be imported, the callable, and whether that makes the application.
///
/// # Errors
/// What is wrong with it, as a sentence for the operator.
pub(crate) fn parse_target(text: &str, is_pattern: bool) -> Result<(String, String, bool), String> {
    let mistaken = || {
        format!(
            "{text:?} must be package.module, package.module:callable, or the absolute path of a file, such as /srv/app.wsgi"
        )
    };
    let is_file = text.starts_with('/');
    let (module, callable) = match text.split_once("::") {
        Some(parts) => parts,
        None => match text.rsplit_once(':') {
            Some((module, callable)) if !callable.contains('/') => (module, callable),
            _ => (text, "application"),
        },
    };
    let (callable, is_factory) = match callable.strip_suffix("()") {
        Some(callable) => (callable, true),
        None => (callable, false),
    };
    if callable.contains(['(', ')']) {
        return Err(format!(
            "{text:?}: a factory is called without arguments; write module:{}()",
            callable.split('(').next().unwrap_or_default()
        ));
    }
    let is_name = |name: &str| {
        !name.is_empty()
            && !name
                .contains(|letter: char| letter.is_whitespace() || ":/$()\\\"'".contains(letter))
    };
    if !callable.split('.').all(is_name) {
        return Err(mistaken());
    }
    let literal = if is_pattern {
        module.replace('$', "_")
    } else {
        module.to_string()
    };
    let is_good = if is_file {
        !literal.contains(['$', ':'])
            && !literal.ends_with('/')
            && !literal.split('/').any(|part| part == "..")
    } else {
        literal.split('.').all(is_name)
    };
    if !is_good {
        return Err(mistaken());
    }
    let bad_group = module
        .split('$')
        .skip(1)
        .any(|part| !part.starts_with(|digit: char| digit.is_ascii_digit()));
    if is_pattern && bad_group {
        return Err(format!(
            "{text:?}: a $ must be followed by the number of a group, such as $1"
        ));
    }
    Ok((module.to_string(), callable.to_string(), is_factory))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, String, bool) {
        parse_target(text, true).unwrap()
    }

    #[test]
    fn targets_are_told_apart() {
        let made = |module: &str, callable: &str, is_factory| {
            (module.to_string(), callable.to_string(), is_factory)
        };
        assert_eq!(parsed("shop.wsgi"), made("shop.wsgi", "application", false));
        assert_eq!(parsed("a.b:c"), made("a.b", "c", false));
        assert_eq!(parsed("a::b.c"), made("a", "b.c", false));
        assert_eq!(parsed("a:make()"), made("a", "make", true));
        assert_eq!(
            parsed("/srv/a.wsgi"),
            made("/srv/a.wsgi", "application", false)
        );
        assert_eq!(parsed("/srv/a b.py:app"), made("/srv/a b.py", "app", false));
        assert_eq!(
            parsed("/srv/$1.wsgi:make()"),
            made("/srv/$1.wsgi", "make", true)
        );
        for text in [
            "", "a::", "a:", ":b", "a/b:c", "a..b", "a:b c", "/srv/", "/a/../b", "/a:b:c",
            "a:f(1)", "a:b:c", "a$:x", "$", "a:$1",
        ] {
            assert!(parse_target(text, true).is_err(), "{text:?}");
        }
        assert!(parse_target("a$1", false).is_err() && parse_target("/a$1", false).is_err());
    }

    #[test]
    fn what_a_client_says_names_nothing_else() {
        let expanded = |name: &str, value: &str| {
            let mut groups: Groups = [None; 10];
            groups[1] = Some((1, 1 + value.len()));
            expand(name, format!("/{value}").as_bytes(), &groups)
        };
        assert_eq!(
            expanded("sites.$1::application", "one"),
            Some("sites.one::application".into())
        );
        assert_eq!(expanded("sites_$1::a", "1"), Some("sites_1::a".into()));
        assert_eq!(
            expanded("/srv/$1.wsgi::a", "one/two"),
            Some("/srv/one/two.wsgi::a".into())
        );
        for (name, value) in [
            ("sites.$1::a", "os.path"),
            ("sites.$1::a", "1"),
            ("sites.$1::a", "a::b"),
            ("sites.$1::a", ""),
            ("sites.$1::a", "__init__"),
            ("sites.$2::a", "one"),
            ("/srv/$1::a", ".."),
            ("/srv/$1/x::a", "a/../.."),
            ("/srv/$1::a", "a::b"),
            ("/srv/$1::a", "a\n"),
        ] {
            assert_eq!(expanded(name, value), None, "{name} {value}");
        }
    }

    /// What is accepted can be imported and looked up.
    fn check(input: &[u8]) {
        let Ok(text) = std::str::from_utf8(input) else {
            return;
        };
        match parse_target(text, input.len().is_multiple_of(2)) {
            Err(reason) => assert!(!reason.is_empty()),
            Ok((module, callable, _)) => {
                assert!(!module.is_empty() && !module.contains(':'));
                assert!(callable.split('.').all(|part| !part.is_empty()));
            }
        }
    }

    #[test]
    fn fuzzed() {
        crate::fuzz::run("mounts", check);
    }
}
