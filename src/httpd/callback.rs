//! Makes a C callback of a Rust function. The type of a function item has one value, without bytes, so a generic C function can
//! make that value of the type alone, and httpd need not carry a pointer to it.

/// Checks at compile time that `F` carries no data.
pub(crate) const fn assert_no_data<F: Copy>() {
    assert!(
        size_of::<F>() == 0,
        "a hook is a plain function, not a closure with captures"
    );
}

/// Makes the value of a function item of its type.
///
/// # Safety
/// A value of type `F` was once given to the caller (so the type is inhabited), and `assert_no_data::<F>()` passed.
pub(crate) unsafe fn summon<F: Copy>() -> F {
    // SAFETY: a zero-sized, Copy, inhabited type has exactly one value, and reading it touches no memory.
    unsafe { std::ptr::NonNull::<F>::dangling().read() }
}
