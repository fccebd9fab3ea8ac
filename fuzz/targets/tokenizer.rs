//! Loads a `tokenizer.json` and tokenizes a text with it.
//!
//! Panics are ignored, because the engine catches them. Findings are faults that end or hang a
//! process: stack overflow, memory, time.

#![no_main]

use std::panic::{catch_unwind, set_hook};

libfuzzer_sys::fuzz_target!(
    init: set_hook(Box::new(|_| {})),
    |bytes: &[u8]| {
        let _ = catch_unwind(|| classifier::fuzzing::tokenizer(bytes));
    }
);
