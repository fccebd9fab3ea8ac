//! Tokenizers of models that were trained on a vocabulary of their own: a list of words and their
//! numbers, and how a text is split into words.
//!
//! PyTorch and Keras models have no other tokenizer. `local-model.toml` describes it.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::Error;

/// The entries that stand for words outside the vocabulary, as PyTorch and Keras users name them.
const UNKNOWN: [&str; 5] = ["[UNK]", "<unk>", "<UNK>", "UNK", "unk"];
/// The punctuation that Keras's `TextVectorization` strips (Keras 3.15).
const PUNCTUATION: &str = r##"[!"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']"##;

/// The table `vocabulary` of `local-model.toml`, which describes `vocab.txt`: one entry a line,
/// numbered from 0.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Words {
    #[serde(default)]
    standardize: Standardize,
    #[serde(default)]
    split: Split,
    /// The entry for words outside the vocabulary, if it has none of the usual names.
    unknown: Option<String>,
    /// The entry that fills short texts; number 0 if there is none.
    pub padding: Option<String>,
    #[serde(default)]
    pub padding_side: Side,
    #[serde(default)]
    pub truncation_side: Side,
    /// Every text is padded or truncated to this many words.
    pub length: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Left,
    #[default]
    Right,
}

/// What happens to a text before it is split. The names are those of Keras.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Standardize {
    None,
    #[default]
    Lower,
    StripPunctuation,
    LowerAndStripPunctuation,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Split {
    #[default]
    Whitespace,
    /// Runs of letters and digits, and runs of other characters: `\w+|[^\w\s]+`.
    Words,
    Characters,
}

impl Words {
    /// Makes the `tokenizer.json` for a vocabulary.
    ///
    /// # Errors
    /// `EntryMissing` if no entry stands for words outside the vocabulary, or `padding` names
    /// none.
    pub(crate) fn tokenizer(&self, vocabulary: &str) -> Result<Value, Error> {
        // Keras has the empty word at number 0.
        let entries = vocabulary.lines().enumerate().map(|(number, word)| (word.to_owned(), json!(number)));
        let vocabulary: Map<String, Value> = entries.collect();
        let missing = |key, names: &[&str]| Error::EntryMissing {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            key,
        };
        let usual = || UNKNOWN.iter().copied().find(|name| vocabulary.contains_key(*name));
        let unknown = match &self.unknown {
            Some(name) => {
                vocabulary.contains_key(name).then_some(&**name).ok_or_else(|| missing("unknown", &[name]))?
            }
            None => usual().ok_or_else(|| missing("unknown", &UNKNOWN))?,
        };
        if let Some(name) = self.padding.as_ref().filter(|name| !vocabulary.contains_key(*name)) {
            return Err(missing("padding", &[name]));
        }
        let mut steps = Vec::new();
        if matches!(self.standardize, Standardize::Lower | Standardize::LowerAndStripPunctuation) {
            steps.push(json!({ "type": "Lowercase" }));
        }
        if matches!(self.standardize, Standardize::StripPunctuation | Standardize::LowerAndStripPunctuation) {
            steps.push(json!({ "type": "Replace", "pattern": { "Regex": PUNCTUATION }, "content": "" }));
        }
        let split = match self.split {
            Split::Whitespace => json!({ "type": "WhitespaceSplit" }),
            Split::Words => json!({ "type": "Whitespace" }),
            Split::Characters => {
                json!({ "type": "Split", "pattern": { "Regex": "(?s)." }, "behavior": "Isolated", "invert": false })
            }
        };
        Ok(json!({
            "version": "1.0",
            "added_tokens": [],
            "normalizer": { "type": "Sequence", "normalizers": steps },
            "pre_tokenizer": split,
            "model": { "type": "WordLevel", "unk_token": unknown, "vocab": vocabulary },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::parse_tokenizer;

    const VOCABULARY: &str = "\n[UNK]\ngood\nfilm\n!\né\ng\no";

    #[track_caller]
    fn check(settings: &str, text: &str, expected: &[u32]) {
        let words: Words = toml::from_str(settings).unwrap();
        let tokenizer = parse_tokenizer(words.tokenizer(VOCABULARY).unwrap().to_string().as_bytes()).unwrap();
        assert_eq!(tokenizer.encode(text, true).unwrap().get_ids(), expected, "{settings}");
    }

    #[test]
    fn texts_are_split_as_their_model_was_trained() {
        check("", "Good  FILM ! É", &[2, 3, 4, 5]);
        check("", "good! bad", &[1, 1]);
        check("standardize = \"none\"", "Good film", &[1, 3]);
        check("standardize = \"lower_and_strip_punctuation\"", "Good!! (film), - \\ '", &[2, 3]);
        check("standardize = \"strip_punctuation\"", "good_ Good", &[2, 1]);
        check("split = \"words\"", "good! film!?", &[2, 4, 3, 1]);
        check("split = \"characters\"", "go é", &[6, 7, 1, 5]);
        check("unknown = \"film\"", "nothing", &[3]);
    }

    #[test]
    fn entries_that_are_missing_are_named() {
        let error = |settings: &str, vocabulary: &str| {
            let words: Words = toml::from_str(settings).unwrap();
            words.tokenizer(vocabulary).unwrap_err().to_string()
        };
        assert!(error("", "a\nb").starts_with("`vocab.txt` has none of the entries `[UNK]`, `<unk>`"));
        assert!(error("padding = \"[PAD]\"", "[UNK]").starts_with("`vocab.txt` has none of the entries `[PAD]`; "));
        assert!(error("unknown = \"x\"", "[UNK]").contains("name the right one with `unknown` in"));
    }
}
