//! Turns a function item into a C callback: a function item is a value without bytes, so one generic
//! trampoline can name it by type alone and needs no user-data pointer.

/// Checks at compile time that `F` carries no data.
pub(crate) const fn assert_no_data<F: Copy>() {
    assert!(
        size_of::<F>() == 0,
        "a hook is a plain function, not a closure with captures"
    );
}

/// The value of a function item.
///
/// # Safety
/// A value of type `F` was once given to the caller (so the type is inhabited), and `assert_no_data::<F>()` passed.
pub(crate) unsafe fn summon<F: Copy>() -> F {
    // SAFETY: a zero-sized, Copy, inhabited type has exactly one value, and reading it touches no memory.
    unsafe { std::ptr::NonNull::<F>::dangling().read() }
}
