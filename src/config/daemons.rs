//! PythonDaemon: THE table of its keys, and what a line of it says. Nothing here looks at the system: `daemons/check.rs` does.

use super::options::distance;
use super::{limit, seconds};
use crate::httpd::apr::pool::Pool;
use std::borrow::Cow;
use std::num::NonZeroU64;
use std::time::Duration;

/// One line: a daemon, by name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Daemon<'c> {
    pub(crate) name: &'c str,
    /// What is set: each key once, in the order of `KEYS`.
    pub(crate) settings: &'c [(&'static str, Value<'c>)],
    pub(crate) file: &'c str,
    pub(crate) line: u32,
}

/// What a key says. Spans of time are seconds, sizes are bytes; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'c> {
    Text(&'c str),
    Number(u64),
    Seconds(f64),
    List(&'c [&'c str]),
}

/// What a key takes.
#[derive(Clone, Copy)]
enum Kind {
    /// The name of a user or group, or `#` and its number.
    Account,
    /// An absolute path.
    Path,
    /// Several, with colons between.
    Paths,
    /// One; the key may be given again.
    PathAgain,
    /// `NAME=value`; the key may be given again.
    Assignment,
    /// Names of variables with commas between; the key may be given again.
    Names,
    Count(u64, u64),
    Seconds,
    /// As PythonTimeout.
    Limit,
    Bytes,
    Umask,
    Words(&'static [&'static str]),
    Text,
}

/// THE table: key, and what it takes.
const KEYS: &[(&str, Kind)] = &[
    ("user", Kind::Account),
    ("group", Kind::Account),
    ("processes", Kind::Count(1, 1024)),
    ("threads", Kind::Count(1, 1024)),
    ("python-home", Kind::Path),
    ("python-path", Kind::Paths),
    ("working-directory", Kind::Path),
    ("umask", Kind::Umask),
    ("environment", Kind::Assignment),
    ("pass-environment", Kind::Names),
    ("module", Kind::Path),
    ("request-timeout", Kind::Limit),
    ("memory-limit", Kind::Bytes),
    ("max-requests", Kind::Count(0, u32::MAX as u64)),
    ("idle-timeout", Kind::Seconds),
    ("start", Kind::Words(&["now", "on-demand"])),
    ("reload", Kind::PathAgain),
    ("display-name", Kind::Text),
    ("log", Kind::Path),
];

/// The longest name: it becomes part of a host's name, and of a socket's path.
const LONGEST: usize = 32;

impl<'c> Daemon<'c> {
    /// Reads the directive's arguments: the name, and `key=value`, each with or without quotes.
    ///
    /// # Errors
    /// All that is wrong, as sentences for the operator.
    pub(crate) fn parse(
        pool: Pool<'c>,
        arguments: &str,
        file: &'c str,
        line: u32,
    ) -> Result<Daemon<'c>, String> {
        let words = words(arguments)?;
        let mut words = words.iter();
        let name = words
            .next()
            .ok_or("needs a name, such as: PythonDaemon shop user=shop")?;
        check_name(name)?;
        let mut found: Vec<(usize, Value<'c>)> = Vec::new();
        let taken = words.map(|word| take(pool, &mut found, word));
        let wrong: Vec<String> = taken.filter_map(Result::err).collect();
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        found.sort_by_key(|(place, _)| *place);
        let settings: Vec<_> = found
            .into_iter()
            .filter_map(|(place, value)| Some((KEYS.get(place)?.0, value)))
            .collect();
        Ok(Daemon {
            name: pool.text(name),
            settings: pool.concat(&settings, &[]),
            file,
            line,
        })
    }

    fn value(&self, key: &str) -> Option<Value<'c>> {
        let mut all = self.settings.iter();
        all.find(|(known, _)| *known == key)
            .map(|(_, value)| *value)
    }

    /// A key's text or path; None where it is not set.
    pub(crate) fn text(&self, key: &str) -> Option<&'c str> {
        match self.value(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A key's number; None where it is not set.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        match self.value(key)? {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// A key's span of time in seconds; 0 is none.
    pub(crate) fn seconds(&self, key: &str) -> Option<f64> {
        match self.value(key)? {
            Value::Seconds(seconds) => Some(seconds),
            _ => None,
        }
    }

    /// A key's list, empty where it is not set.
    pub(crate) fn list(&self, key: &str) -> &'c [&'c str] {
        match self.value(key) {
            Some(Value::List(all)) => all,
            _ => &[],
        }
    }

    /// The host of its URLs: what mod_proxy calls it. No two daemons have the same.
    pub(crate) fn host(&self) -> String {
        host(self.name)
    }
}

/// Adds what one word says to what others have said.
fn take<'c>(pool: Pool<'c>, found: &mut Vec<(usize, Value<'c>)>, word: &str) -> Result<(), String> {
    let Some((key, value)) = word.split_once('=') else {
        return Err(format!("{word:?} is not key=value, such as user=shop"));
    };
    let mut all = KEYS.iter().enumerate();
    let Some((place, (key, kind))) = all.find(|(_, (known, _))| *known == key) else {
        return Err(unknown(key));
    };
    let value = kind.read(pool, value);
    let value = value.map_err(|reason| format!("{key}= {reason}"))?;
    let before = found.iter_mut().find(|(other, _)| *other == place);
    match (before, value) {
        (None, value) => found.push((place, value)),
        (Some((_, Value::List(all))), Value::List(more)) if kind.may_come_again() => {
            *all = pool.concat(all, more);
        }
        _ => return Err(format!("says {key}= twice")),
    }
    Ok(())
}

/// The host that stands for a daemon of this name.
fn host(name: &str) -> String {
    let name = name.to_ascii_lowercase().replace(['_', '.'], "-");
    format!("{name}.mod-python.internal")
}

/// Finds the daemon of a name among all.
pub(crate) fn find<'c>(daemons: &[Daemon<'c>], name: &str) -> Option<Daemon<'c>> {
    daemons.iter().find(|daemon| daemon.name == name).copied()
}

/// Says what is wrong with a name that no daemon has, and which may be meant.
pub(crate) fn unnamed(daemons: &[Daemon<'_>], name: &str) -> String {
    let names: Vec<&str> = daemons.iter().map(|daemon| daemon.name).collect();
    match nearest(name, &names) {
        Some(near) => format!("there is no PythonDaemon {name:?}: did you mean {near}?"),
        None if names.is_empty() => format!("there is no PythonDaemon {name:?}, nor any other"),
        None => format!(
            "there is no PythonDaemon {name:?}; there is {}",
            names.join(", ")
        ),
    }
}

/// Finds a daemon whose name is that of another, or too like it.
pub(crate) fn twins<'c>(daemons: &[Daemon<'c>]) -> Option<(Daemon<'c>, Daemon<'c>)> {
    let mut all = daemons.iter().enumerate();
    all.find_map(|(place, daemon)| {
        let before = daemons.get(..place)?;
        let twin = before.iter().find(|other| other.host() == daemon.host())?;
        Some((*twin, *daemon))
    })
}

/// Checks a name: what may stand in a host's name and in a path.
///
/// # Errors
/// What a name is.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    if bytes.len() <= LONGEST
        && bytes.iter().copied().all(is_plain)
        && is_end(bytes.first())
        && is_end(bytes.last())
    {
        return Ok(());
    }
    Err(format!(
        "{name:?} is no name for a daemon: at most {LONGEST} letters, digits, '-', '_' and '.', with a letter or digit at both ends"
    ))
}

fn unknown(key: &str) -> String {
    let names: Vec<&str> = KEYS.iter().map(|(name, _)| *name).collect();
    match nearest(key, &names) {
        Some(near) => format!("{key}= is not known: did you mean {near}=?"),
        None => format!("{key}= is not known; there are {}", names.join(", ")),
    }
}

fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let name = name.to_ascii_lowercase();
    let all = known.iter().map(|other| (distance(&name, other), *other));
    let (steps, other) = all.min()?;
    (steps <= 2 + name.len() / 3).then_some(other)
}

impl Kind {
    fn may_come_again(self) -> bool {
        matches!(self, Kind::PathAgain | Kind::Assignment | Kind::Names)
    }

    fn read<'c>(self, pool: Pool<'c>, text: &str) -> Result<Value<'c>, String> {
        if text.is_empty() {
            return Err("needs a value".into());
        }
        let one = |text: &str| Value::List(pool.concat(&[pool.text(text)], &[]));
        match self {
            Kind::Text => Ok(Value::Text(pool.text(text))),
            Kind::Account => account(text).map(|()| Value::Text(pool.text(text))),
            Kind::Path => path(text).map(|()| Value::Text(pool.text(text))),
            Kind::PathAgain => path(text).map(|()| one(text)),
            Kind::Paths => {
                let all: Vec<&str> = text.split(':').filter(|part| !part.is_empty()).collect();
                all.iter().try_for_each(|part| path(part))?;
                let all: Vec<&str> = all.into_iter().map(|part| pool.text(part)).collect();
                Ok(Value::List(pool.concat(&all, &[])))
            }
            Kind::Assignment => {
                let name = text.split_once('=').map(|(name, _)| name);
                let is_good = name.is_some_and(is_variable);
                is_good
                    .then(|| one(text))
                    .ok_or_else(|| format!("needs NAME=value, not {text:?}"))
            }
            Kind::Names => {
                let all: Vec<&str> = text.split(',').map(str::trim).collect();
                if let Some(wrong) = all.iter().find(|name| !is_of_requests(name)) {
                    return Err(format!("needs names of variables, not {wrong:?}"));
                }
                let all: Vec<&str> = all.into_iter().map(|name| pool.text(name)).collect();
                Ok(Value::List(pool.concat(&all, &[])))
            }
            Kind::Count(least, most) => digits(text)
                .filter(|count| (least..=most).contains(count))
                .map(Value::Number)
                .ok_or_else(|| format!("needs a number from {least} to {most}, not {text:?}")),
            Kind::Seconds => span(text).map(Value::Seconds),
            Kind::Limit => limit::parse(text).map(|limit| {
                let time = limit.time.map_or(0, NonZeroU64::get);
                Value::Seconds(Duration::from_nanos(time).as_secs_f64())
            }),
            Kind::Bytes => size(text).map(Value::Number),
            // What keeps an application from its own files keeps httpd from its own, too.
            Kind::Umask => u64::from_str_radix(text, 8)
                .ok()
                .filter(|mask| *mask <= 0o077 && digits(text).is_some())
                .map(Value::Number)
                .ok_or_else(|| {
                    format!("needs an octal number from 0 to 077, such as 0027, not {text:?}")
                }),
            Kind::Words(all) => all
                .contains(&text)
                .then(|| Value::Text(pool.text(text)))
                .ok_or_else(|| format!("must be {}, not {text:?}", all.join(" or "))),
        }
    }
}

fn account(text: &str) -> Result<(), String> {
    let number = text.strip_prefix('#');
    let is_name = !text.starts_with('-') && !text.contains([':', '/', ' ', '#']);
    if number.map_or(is_name, |number| digits(number).is_some()) {
        return Ok(());
    }
    Err(format!("{text:?} is no name, nor # and a number"))
}

fn path(text: &str) -> Result<(), String> {
    if text.starts_with('/') {
        return Ok(());
    }
    Err(format!("needs an absolute path, not {text:?}"))
}

fn is_variable(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_letter) && !name.is_empty() && !name.starts_with(|c: char| c.is_numeric())
}

/// Variables of requests have names that those of processes do not have: `trac.env_path`, `no-gzip`.
fn is_of_requests(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    name.bytes().all(is_letter) && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn digits(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// Reads seconds: 0 and off are none.
fn span(text: &str) -> Result<f64, String> {
    const MOST: f64 = 1e9;
    if text.eq_ignore_ascii_case("off") {
        return Ok(0.0);
    }
    let seconds = seconds::number(text).filter(|seconds| *seconds <= MOST);
    seconds.ok_or_else(|| format!("needs a number of seconds, or off, not {text:?}"))
}

/// Reads bytes, with or without K, M or G behind the number.
fn size(text: &str) -> Result<u64, String> {
    let unit = match text.as_bytes().last() {
        Some(b'K' | b'k') => 10,
        Some(b'M' | b'm') => 20,
        Some(b'G' | b'g') => 30,
        _ => 0,
    };
    let number = if unit == 0 {
        Some(text)
    } else {
        text.get(..text.len() - 1)
    };
    number
        .and_then(digits)
        .and_then(|number| number.checked_mul(1 << unit))
        .ok_or_else(|| format!("needs a number of bytes such as 512M, not {text:?}"))
}

/// Splits a line into words, as a shell does: quotes may stand around a word or a part of it, and a backslash inside them takes the next
/// quote or backslash for itself.
///
/// # Errors
/// A quote without its twin.
fn words(line: &str) -> Result<Vec<Cow<'_, str>>, String> {
    let mut found = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_whitespace() || c == '"' || c == '\'');
        let plain = end.map_or(rest, |end| rest.get(..end).unwrap_or_default());
        let mut letters = rest.chars();
        if end.is_none_or(|end| {
            rest.get(end..)
                .is_some_and(|rest| rest.starts_with(char::is_whitespace))
        }) {
            found.push(Cow::Borrowed(plain));
            rest = rest.get(plain.len()..).unwrap_or_default().trim_start();
            continue;
        }
        let mut word = String::new();
        let mut quote = None;
        loop {
            match (letters.next(), quote) {
                (None, None) => break,
                (None, Some(_)) => return Err(format!("a quote has no end: {rest}")),
                (Some(letter), None) if letter.is_whitespace() => break,
                (Some(letter @ ('"' | '\'')), None) => quote = Some(letter),
                (Some(letter), Some(open)) if letter == open => quote = None,
                (Some('\\'), Some(open)) => match letters.clone().next() {
                    Some(next) if next == open || next == '\\' => {
                        word.push(next);
                        letters.next();
                    }
                    _ => word.push('\\'),
                },
                (Some(letter), _) => word.push(letter),
            }
        }
        found.push(Cow::Owned(word));
        rest = letters.as_str().trim_start();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::httpd::apr::pool::OwnedPool;

    fn said(line: &str) -> Result<String, String> {
        let memory = OwnedPool::new().unwrap();
        let daemon = Daemon::parse(memory.pool(), line, "some.conf", 1)?;
        let settings = daemon.settings.iter();
        let all: Vec<String> = settings
            .map(|(key, value)| format!("{key}:{value:?}"))
            .collect();
        Ok(format!("{} {}", daemon.name, all.join(" ")))
    }

    #[test]
    fn a_line_is_read() {
        assert_eq!(
            said("shop_1 threads=5 user=shop umask=027 memory-limit=2K request-timeout=off")
                .as_deref(),
            Ok(
                "shop_1 user:Text(\"shop\") threads:Number(5) umask:Number(23) request-timeout:Seconds(0.0) memory-limit:Number(2048)"
            )
        );
        assert_eq!(
            said(
                r#"a environment="A=b c" "environment=B=\"x" python-path=/a:/b reload=/x reload=/y"#
            )
            .as_deref(),
            Ok(
                r#"a python-path:List(["/a", "/b"]) environment:List(["A=b c", "B=\"x"]) reload:List(["/x", "/y"])"#
            )
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (line, part) in [
            ("", "needs a name"),
            ("-a", "is no name"),
            ("a/b", "is no name"),
            ("a user", "is not key=value"),
            ("a usr=b", "did you mean user=?"),
            ("a proceses=2", "did you mean processes=?"),
            ("a something-else-altogether=1", "there are user,"),
            ("a user=b user=c", "twice"),
            ("a threads=0", "from 1 to 1024"),
            ("a threads=+1", "from 1 to 1024"),
            ("a umask=8", "octal"),
            ("a umask=7777", "octal"),
            ("a umask=777", "from 0 to 077"),
            ("a umask=0o22", "octal"),
            ("a request-timeout=1000000", "from 0.1 to 86400"),
            ("a request-timeout=0.01", "from 0.1 to 86400"),
            ("a memory-limit=1T", "bytes"),
            ("a memory-limit=99999999999G", "bytes"),
            ("a request-timeout=1s", "seconds"),
            ("a python-home=x", "absolute"),
            ("a environment=A", "NAME=value"),
            ("a environment=1=2", "NAME=value"),
            ("a pass-environment=A,,B", "names of variables"),
            ("a pass-environment=.A", "names of variables"),
            ("a environment=A.B=2", "NAME=value"),
            ("a start=later", "now or on-demand"),
            ("a user=", "needs a value"),
            ("a user=#x", "is no name"),
            ("a display-name=\"x", "no end"),
        ] {
            let error = said(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn all_mistakes_of_a_line_are_named() {
        let error = said("a usr=b proceses=2 threads=0 user=c nonsense").unwrap_err();
        assert_eq!(
            error,
            "usr= is not known: did you mean user=?; proceses= is not known: did you mean processes=?; \
             threads= needs a number from 1 to 1024, not \"0\"; \"nonsense\" is not key=value, such as user=shop"
        );
    }

    #[test]
    fn names_that_are_too_like_each_other() {
        let memory = OwnedPool::new().unwrap();
        let daemon = |name| Daemon::parse(memory.pool(), name, "", 1).unwrap();
        assert_eq!(twins(&[daemon("a"), daemon("b")]), None);
        assert!(twins(&[daemon("a.b"), daemon("c"), daemon("A_b")]).is_some());
        assert_eq!(
            unnamed(&[daemon("shop")], "shp"),
            "there is no PythonDaemon \"shp\": did you mean shop?"
        );
        assert!(unnamed(&[], "shop").contains("nor any other"));
        assert!(unnamed(&[daemon("a")], "something").ends_with("there is a"));
    }
}
