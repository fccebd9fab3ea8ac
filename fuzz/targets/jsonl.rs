//! Lines and JSON objects, one a line.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| local_model_mcp::files::fuzzing::jsonl(bytes));
