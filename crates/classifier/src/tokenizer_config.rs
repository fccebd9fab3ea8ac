//! Parses `tokenizer_config.json` and `special_tokens_map.json`.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::{invalid_json, parse_json};
use crate::error::Error;

/// `tokenizer_config.json`.
#[derive(Default, Deserialize)]
pub(crate) struct TokenizerConfig {
    /// transformers writes 10^30 for "no limit", which no integer type holds.
    pub model_max_length: Option<f64>,
    pub truncation_side: Option<String>,
    pub tokenizer_class: Option<String>,
    pub do_lower_case: Option<bool>,
    pub strip_accents: Option<bool>,
    pub tokenize_chinese_chars: Option<bool>,
    pub add_prefix_space: Option<bool>,
    pub trim_offsets: Option<bool>,
    pub unk_token: Option<SpecialToken>,
    pub pad_token: Option<SpecialToken>,
    pub cls_token: Option<SpecialToken>,
    pub sep_token: Option<SpecialToken>,
    pub bos_token: Option<SpecialToken>,
    pub eos_token: Option<SpecialToken>,
    pub mask_token: Option<SpecialToken>,
    pub additional_special_tokens: Option<Vec<SpecialToken>>,
}

/// A token as plain text, or with flags that `tokenizer.json` repeats.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum SpecialToken {
    Plain(String),
    Full { content: String },
}

impl TokenizerConfig {
    /// Parses `tokenizer_config.json`. Older exports keep the special tokens in
    /// `special_tokens_map.json`, which applies to fields that are missing or null.
    pub(crate) fn parse(folder: &Path, content: &str, special_tokens: &str) -> Result<Self, Error> {
        let path = folder.join("tokenizer_config.json");
        let mut fields: Map<String, Value> = parse_json(&folder.join("special_tokens_map.json"), special_tokens)?;
        fields.retain(|name, _| name.ends_with("_token") || name == "additional_special_tokens");
        let own: Map<String, Value> = parse_json(&path, content)?;
        fields.extend(own.into_iter().filter(|(_, value)| !value.is_null()));
        serde_json::from_value(Value::Object(fields)).map_err(|error| invalid_json(&path, &error))
    }
}

impl SpecialToken {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Full { content: text } => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_beyond_integers_is_read() {
        let parsed: TokenizerConfig = serde_json::from_str(
            r#"{"model_max_length": 1000000000000000019884624838656, "extra_special_tokens": {}, "pad_token": {"content": "[PAD]", "lstrip": false}}"#,
        )
        .unwrap();
        assert_eq!(parsed.model_max_length, Some(1e30));
        assert_eq!(parsed.pad_token.unwrap().text(), "[PAD]");
    }
}
