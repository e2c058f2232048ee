//! A head, hints or trailers, as they pass from the application to the worker: plain bytes, in few pieces of memory.

/// Status and headers, which have been checked.
#[derive(Default)]
pub(super) struct HeadParts {
    pub(super) status: i32,
    /// Do trailers follow the body?
    pub(super) trails: bool,
    /// Is the connection to be closed behind the answer?
    pub(super) closes: bool,
    /// Names and values, one behind the other.
    text: Vec<u8>,
    /// How long each name and value is.
    lengths: Vec<(usize, usize)>,
}

impl HeadParts {
    pub(super) fn new(status: i32) -> HeadParts {
        HeadParts {
            status,
            ..HeadParts::default()
        }
    }

    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.lengths.push((name.len(), value.len()));
    }

    /// How many bytes it takes.
    pub(super) fn size(&self) -> usize {
        self.text.len() + self.lengths.len() * size_of::<(usize, usize)>()
    }

    /// Has it no headers?
    pub(super) fn is_bare(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Adds all headers of another one.
    pub(super) fn append(&mut self, other: &HeadParts) {
        self.text.extend_from_slice(&other.text);
        self.lengths.extend_from_slice(&other.lengths);
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &*self.text;
        self.lengths.iter().map(move |&(name, value)| {
            let (name, behind) = rest.split_at_checked(name).unwrap_or_default();
            let (value, behind) = behind.split_at_checked(value).unwrap_or_default();
            rest = behind;
            (name, value)
        })
    }
}
