//! JSON lines: splits into lines and parses each as an object.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tables::fuzzing::jsonl(bytes));
