//! What an ONNX file declares.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| classifier::fuzzing::graph(bytes));
