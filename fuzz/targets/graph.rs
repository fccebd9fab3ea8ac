//! What a graph file says of itself.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| local_model_mcp::model::fuzzing::graph(bytes));
