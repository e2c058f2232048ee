//! Signatures as text: `write(data, flush=1, /)` says how a method is called, once. Read at compile time, it gives the name, how
//! many arguments there may be, and what `inspect.signature()` shows (`__text_signature__`).

use pyo3::PyErr;
use pyo3::exceptions::PyTypeError;
use std::ffi::CStr;

/// What `method!` and `function!` make of a text, as a type: trampolines are told by their types what they call.
pub(crate) trait Signature: 'static {
    const PARSED: Parsed;
    const NAME: &'static CStr;
    /// The text in the form by which Python knows it as a signature, then what the method does.
    const DOC: &'static CStr;
}

/// A text, read.
#[derive(Clone, Copy)]
pub(crate) struct Parsed {
    pub(crate) name: &'static [u8],
    /// From behind the opening bracket to the closing one.
    pub(crate) parameters: &'static [u8],
    least: usize,
    most: usize,
}

impl Parsed {
    /// Reads `name()` or `name(parameter, …, parameter=default, …, /)`. Whatever else is an error of the compiler's.
    #[expect(clippy::panic, reason = "evaluated at compile time")]
    pub(crate) const fn of(text: &'static CStr) -> Parsed {
        let text = text.to_bytes();
        let (name, rest) = text.split_at(word(text));
        let [b'(', parameters @ ..] = rest else {
            panic!("a signature is a name and parameters in brackets");
        };
        assert!(!name.is_empty(), "a signature begins with a name");
        let (mut least, mut most, mut rest) = (0, 0, parameters);
        while !matches!(rest, [b')']) {
            if most > 0 && matches!(rest, [b'/', b')']) {
                break;
            }
            let (parameter, behind) = rest.split_at(word(rest));
            assert!(!parameter.is_empty(), "a parameter begins with its name");
            most += 1;
            let behind = if let [b'=', behind @ ..] = behind {
                let (default, behind) = behind.split_at(value(behind));
                assert!(!default.is_empty(), "a default is missing");
                behind
            } else {
                least += 1;
                assert!(
                    least == most,
                    "a parameter without a default follows one that has one"
                );
                behind
            };
            let [b',', b' ', behind @ ..] = behind else {
                panic!("no parameter is given by its name: `, /)` ends them");
            };
            assert!(
                !matches!(behind, [b')']),
                "the last comma stands before the slash"
            );
            rest = behind;
        }
        Parsed {
            name,
            parameters,
            least,
            most,
        }
    }

    pub(crate) const fn has_parameters(&self) -> bool {
        self.most > 0
    }

    pub(crate) const fn of_function(&self) -> &'static [u8] {
        self.parameters
    }

    /// The parameters behind `$self`.
    pub(crate) const fn of_method(&self) -> &'static [u8] {
        if self.most == 0 {
            b"/)"
        } else {
            self.parameters
        }
    }
}

/// How long the name is that a text begins with.
const fn word(text: &[u8]) -> usize {
    let (mut length, mut rest) = (0, text);
    while let [b'a'..=b'z' | b'0'..=b'9' | b'_', behind @ ..] = rest {
        (length, rest) = (length + 1, behind);
    }
    length
}

/// How long the default is that a text begins with.
const fn value(text: &[u8]) -> usize {
    let (mut length, mut rest) = (0, text);
    while let [byte, behind @ ..] = rest
        && !matches!(byte, b',' | b'(' | b')')
    {
        (length, rest) = (length + 1, behind);
    }
    length
}

/// How many bytes `join` makes of them.
pub(crate) const fn length(mut parts: &[&[u8]]) -> usize {
    let mut length = 0;
    while let [part, others @ ..] = parts {
        (length, parts) = (length + part.len(), others);
    }
    length
}

/// The parts, one behind the other.
pub(crate) const fn join<const N: usize>(mut parts: &[&[u8]]) -> [u8; N] {
    let mut joined = [0; N];
    let mut room: &mut [u8] = &mut joined;
    while let [part, others @ ..] = parts {
        let (here, behind) = room.split_at_mut(part.len());
        here.copy_from_slice(part);
        (room, parts) = (behind, others);
    }
    joined
}

/// Bytes with a NUL at their end, and none before.
#[expect(clippy::panic, reason = "evaluated at compile time")]
pub(crate) const fn terminated(bytes: &'static [u8]) -> &'static CStr {
    let Ok(text) = CStr::from_bytes_with_nul(bytes) else {
        panic!("a NUL ends a text");
    };
    text
}

/// Are there as many arguments as the signature says?
///
/// # Errors
/// TypeError.
#[inline]
pub(super) fn check<S: Signature>(given: usize) -> Result<(), PyErr> {
    if given < S::PARSED.least || given > S::PARSED.most {
        return Err(wrong_count(S::NAME, &S::PARSED, given));
    }
    Ok(())
}

/// As Python says it of functions in C (PyArg_ParseTuple).
#[cold]
#[inline(never)]
fn wrong_count(name: &CStr, parsed: &Parsed, given: usize) -> PyErr {
    let (name, Parsed { least, most, .. }) = (name.to_string_lossy(), *parsed);
    let arguments = |count| format!("{count} argument{}", if count == 1 { "" } else { "s" });
    let expected = if most == 0 {
        "no arguments".into()
    } else if least == most {
        format!("exactly {}", arguments(most))
    } else if given < least {
        format!("at least {}", arguments(least))
    } else {
        format!("at most {}", arguments(most))
    };
    PyTypeError::new_err(format!("{name}() takes {expected} ({given} given)"))
}

/// A type `Signed` with the signature that a text stands for.
macro_rules! signature {
    ($text:literal, $owner:literal, $parameters:expr, $doc:literal) => {
        struct Signed;
        impl $crate::embed::class::signature::Signature for Signed {
            const PARSED: $crate::embed::class::signature::Parsed =
                $crate::embed::class::signature::Parsed::of($text);
            const NAME: &'static std::ffi::CStr = {
                use $crate::embed::class::signature::{Parsed, join, length, terminated};
                const PARTS: &[&[u8]] = &[Parsed::of($text).name, b"\0"];
                const BYTES: [u8; length(PARTS)] = join(PARTS);
                terminated(&BYTES)
            };
            const DOC: &'static std::ffi::CStr = {
                use $crate::embed::class::signature::{Parsed, join, length, terminated};
                const PARSED: Parsed = Parsed::of($text);
                const PARTS: &[&[u8]] = &[
                    PARSED.name,
                    $owner,
                    $parameters(&PARSED),
                    b"\n--\n\n",
                    $doc.to_bytes_with_nul(),
                ];
                const BYTES: [u8; length(PARTS)] = join(PARTS);
                terminated(&BYTES)
            };
        }
    };
}

/// A method: its class, its signature, what it does, and the function or closure that does it (`Method::new`).
macro_rules! method {
    ($class:ty, $text:literal, $doc:literal, $body:expr $(,)?) => {{
        $crate::embed::class::signature!($text, b"($self, ", Parsed::of_method, $doc);
        $crate::embed::class::Method::<$class>::new::<Signed, _>($body)
    }};
}

/// A function of `_apache`, in the same way (`Function::new`).
macro_rules! function {
    ($text:literal, $doc:literal, $body:expr $(,)?) => {{
        $crate::embed::class::signature!($text, b"(", Parsed::of_function, $doc);
        $crate::embed::class::Function::new::<Signed, _>($body)
    }};
}

pub(crate) use {function, method, signature};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_says_how_many_arguments_there_may_be() {
        let counts = |text| {
            let parsed = Parsed::of(text);
            (parsed.name, parsed.least, parsed.most)
        };
        assert_eq!(counts(c"flush()"), (&b"flush"[..], 0, 0));
        assert_eq!(counts(c"write(data, flush=1, /)"), (&b"write"[..], 1, 2));
        assert_eq!(counts(c"_read(size=-1, /)"), (&b"_read"[..], 0, 1));
        assert_eq!(counts(c"set(a, b, c='', /)"), (&b"set"[..], 2, 3));
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |text| std::panic::catch_unwind(|| Parsed::of(text)).is_err();
        for text in [
            c"",
            c"()",
            c"write",
            c"write(",
            c"write(data)",
            c"write(/)",
            c"write(data,/)",
            c"write(data, )",
            c"write(data, /",
            c"write(data, /) ",
            c"write(data=, /)",
            c"write(flush=1, data, /)",
            c"write(, /)",
            c"write(data, *, /)",
            c"Write(data, /)",
        ] {
            assert!(refused(text), "{text:?}");
        }
    }

    #[test]
    fn the_text_becomes_a_signature_of_pythons() {
        signature!(
            c"write(data, flush=1, /)",
            b"($self, ",
            Parsed::of_method,
            c"sends it."
        );
        assert_eq!(Signed::NAME, c"write");
        let doc = c"write($self, data, flush=1, /)\n--\n\nsends it.";
        assert_eq!(Signed::DOC, doc);
        assert!(check::<Signed>(1).is_ok() && check::<Signed>(2).is_ok());
    }
}
