//! A whole `tokenizer.json`, built and used on a text. A panic in it is an answer (the engine catches it), so that only what
//! ends or stops a process counts here: overflows of the stack, memory, time.

#![no_main]

use std::panic::{catch_unwind, set_hook};

libfuzzer_sys::fuzz_target!(
    init: set_hook(Box::new(|_| {})),
    |bytes: &[u8]| {
        let _ = catch_unwind(|| local_model_mcp::model::fuzzing::tokenizer(bytes));
    }
);
