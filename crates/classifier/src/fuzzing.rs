//! Entry points for `fuzz/`: the parsers that read a model folder.

use std::path::Path;

use crate::config::Config;
use crate::settings::Settings;
use crate::tokenizer_config::TokenizerConfig;
use crate::vocabulary;

/// Reads the facts of a graph.
pub fn graph(bytes: &[u8]) {
    let _ = onnx_facts::GraphFacts::parse(bytes);
}

/// Builds a tokenizer and encodes a text with it.
pub fn tokenizer(bytes: &[u8]) {
    if let Ok(tokenizer) = vocabulary::parse_tokenizer(bytes) {
        let _ = tokenizer.encode_fast("Hello there, a b ab \u{e9}!", true);
    }
}

/// Reads `config.json`, `tokenizer_config.json` and `local-model.toml`.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let path = Path::new("x");
    let _ = TokenizerConfig::parse(path, text, text);
    let settings = Settings::parse(path, text).unwrap_or_default();
    let _ = Config::parse(path, text, &settings, &[]);
}
