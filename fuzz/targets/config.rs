//! `config.json`, `tokenizer_config.json` and `local-model.toml`, the same bytes as each.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| local_model_mcp::model::fuzzing::config(bytes));
