//! Reads the declarations of an ONNX file.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| classifier::fuzzing::graph(bytes));
