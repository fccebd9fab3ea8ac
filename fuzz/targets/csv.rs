//! Records of CSV, with our own scan.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| local_model_mcp::files::fuzzing::csv(bytes));
