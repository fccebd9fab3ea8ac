//! Splits CSV into records.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tables::fuzzing::csv(bytes));
