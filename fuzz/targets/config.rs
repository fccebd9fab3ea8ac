//! Parses the same bytes as `config.json`, `tokenizer_config.json` and `local-model.toml`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| classifier::fuzzing::config(bytes));
