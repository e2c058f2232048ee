//! Objects that another one makes when it is first asked for, and then keeps.
//!
//! A memo's type says whether a handler can have changed its object. Where none can, or none has, the one that keeps it may be
//! emptied and used for the next request, and nothing is lost.

use crate::embed::Cx;
use crate::embed::cell::Slot;
use crate::embed::class::{self, Class};
use pyo3::prelude::*;
use std::marker::PhantomData;

/// An object that is made once.
pub(super) struct Memo<K>(Slot, PhantomData<fn(K)>);

impl<K> Default for Memo<K> {
    fn default() -> Memo<K> {
        Memo(Slot::default(), PhantomData)
    }
}

/// What a handler can do to an object.
pub(super) trait Kind {
    /// Would a new object be the same for everybody?
    fn is_as_made(cx: Cx<'_>, slot: &Slot) -> bool;
}

/// An object without a state of its own: it shows what httpd has.
pub(super) struct View;

/// An object that handlers write to, and whose contents are its own: a copy.
pub(super) struct Copied;

/// An object that handlers may give attributes to.
pub(super) struct WithAttributes<T>(PhantomData<fn(T)>);

impl Kind for View {
    fn is_as_made(_: Cx<'_>, _: &Slot) -> bool {
        true
    }
}

impl Kind for Copied {
    fn is_as_made(_: Cx<'_>, slot: &Slot) -> bool {
        slot.is_empty()
    }
}

impl<T: Class> Kind for WithAttributes<T> {
    fn is_as_made(cx: Cx<'_>, slot: &Slot) -> bool {
        class::is_unmarked::<T>(cx, slot)
    }
}

impl<K: Kind> Memo<K> {
    /// Gives the object; `make` makes it at the first call.
    ///
    /// # Errors
    /// Those of `make`.
    pub(super) fn get<'py>(
        &self,
        cx: Cx<'py>,
        make: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.0.get(cx.py) {
            Some(object) => Ok(object),
            None => Ok(self.0.fill(make()?)),
        }
    }

    /// The object, if it has been made.
    pub(super) fn made<'py>(&self, cx: Cx<'py>) -> Option<Bound<'py, PyAny>> {
        self.0.get(cx.py)
    }

    pub(super) fn slot(&self) -> &Slot {
        &self.0
    }

    pub(super) fn is_as_made(&self, cx: Cx<'_>) -> bool {
        K::is_as_made(cx, &self.0)
    }
}

/// The memos of a class: a struct, and what holds for all of them.
macro_rules! memos {
    ($(#[$doc:meta])* $access:vis struct $name:ident { $($memo:ident: $kind:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Default)]
        $access struct $name {
            $($access $memo: $crate::objects::memo::Memo<$kind>,)*
        }

        impl $name {
            /// Visits all, for the garbage collector.
            $access fn each(&self, visit: &mut dyn FnMut(&$crate::embed::cell::Slot)) {
                $(visit(self.$memo.slot());)*
            }

            /// Would new objects be the same for everybody?
            #[allow(dead_code, reason = "of interest where objects are used again")]
            $access fn are_as_made(&self, cx: $crate::embed::Cx<'_>) -> bool {
                $(self.$memo.is_as_made(cx))&&*
            }
        }
    };
}
pub(super) use memos;
