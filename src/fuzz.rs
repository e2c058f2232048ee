//! Fuzzing of what reads other people's text: libFuzzer with `make fuzz`, the kept corpus with every `cargo test`.
#![cfg_attr(fuzzing, expect(unsafe_code, reason = "libFuzzer is called through C"))]

use std::fs;
use std::path::Path;

/// Calls `check`, which panics where something is wrong, with every file of tests/fuzz/corpus/`name`. In a build for fuzzing,
/// with FUZZ_TARGET=`name`, libFuzzer (with the arguments in FUZZ_ARGS) makes further inputs.
pub(crate) fn run(name: &str, check: fn(&[u8])) {
    #[cfg(fuzzing)]
    if std::env::var("FUZZ_TARGET").is_ok_and(|target| target == name) {
        return libfuzzer::drive(check);
    }
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let inputs = fs::read_dir(corpus.join(name)).unwrap();
    let count = inputs
        .map(|input| check(&fs::read(input.unwrap().path()).unwrap()))
        .count();
    assert!(count > 0, "no corpus for {name}");
}

#[cfg(fuzzing)]
mod libfuzzer {
    // For its static library, libFuzzer.
    use libfuzzer_sys as _;
    use std::ffi::{CString, c_char, c_int};
    use std::panic::catch_unwind;
    use std::sync::OnceLock;

    static CHECK: OnceLock<fn(&[u8])> = OnceLock::new();

    unsafe extern "C" {
        fn LLVMFuzzerRunDriver(
            count: *mut c_int,
            arguments: *mut *mut *mut c_char,
            check: extern "C" fn(*const u8, usize) -> c_int,
        ) -> c_int;
    }

    pub(super) fn drive(check: fn(&[u8])) {
        CHECK.set(check).unwrap();
        let arguments = std::env::var("FUZZ_ARGS").unwrap_or_default();
        let texts = std::iter::once("fuzz").chain(arguments.split_whitespace());
        let mut pointers: Vec<_> = texts
            .map(|text| CString::new(text).unwrap().into_raw())
            .chain([std::ptr::null_mut()])
            .collect();
        let mut count = c_int::try_from(pointers.len() - 1).unwrap();
        let mut first = pointers.as_mut_ptr();
        // SAFETY: main()'s arguments, which live for ever, and a function that does not unwind.
        let result = unsafe { LLVMFuzzerRunDriver(&raw mut count, &raw mut first, one) };
        assert_eq!(result, 0);
    }

    extern "C" fn one(data: *const u8, size: usize) -> c_int {
        let input = if size == 0 {
            &[]
        } else {
            // SAFETY: libFuzzer's buffer, for this call.
            unsafe { std::slice::from_raw_parts(data, size) }
        };
        if catch_unwind(|| CHECK.get().unwrap()(input)).is_err() {
            std::process::abort();
        }
        0
    }
}
