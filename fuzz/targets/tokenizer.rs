//! A `tokenizer.json` that is loaded and used on a text.
//!
//! Panics do not count, because the engine catches them. Only what ends or hangs a process does: stack
//! overflows, memory, time.

#![no_main]

use std::panic::{catch_unwind, set_hook};

libfuzzer_sys::fuzz_target!(
    init: set_hook(Box::new(|_| {})),
    |bytes: &[u8]| {
        let _ = catch_unwind(|| classifier::fuzzing::tokenizer(bytes));
    }
);
