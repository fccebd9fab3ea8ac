//! Limits on what a `tokenizer.json` may cost, checked before the tokenizer is built.
//!
//! A malicious file can expand a short text to gigabytes, or overflow the stack while the tokenizer
//! is built. `vocabulary` and `tokenizer` read valid files.

use std::borrow::Cow;
use std::fmt::Display;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

/// How many times longer a normalizer may make a text. Many replace a space by `▁` (3 bytes), and
/// one Unicode character expands to 33 bytes.
const MAX_GROWTH: usize = 128;
/// Steps of a normalizer, a pre-tokenizer or a post-processor. Each reads the whole text.
const MAX_STEPS: usize = 64;
/// WordPiece tries every end of a word, so its time grows with the square of this. BERT uses 100.
const MAX_WORD_CHARS: u64 = 256;
/// Tokenizers recurse as deep as the longest piece of a Unigram vocabulary. Each byte of a piece
/// takes hundreds of bytes in memory; the 250,000 pieces of XLM-RoBERTa total 2.5 MB.
const MAX_PIECE_BYTES: usize = 1024;
const MAX_PIECES_BYTES: usize = 4 << 20;
/// Limit for all added tokens together. Searching for them takes about a hundred bytes of memory
/// per byte.
const MAX_ADDED_BYTES: usize = 1 << 20;

/// The parts of a `tokenizer.json` that decide its cost.
#[derive(Deserialize)]
pub(crate) struct TokenizerSummary<'a> {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(borrow, default)]
    added_tokens: Vec<AddedToken<'a>>,
    model: Option<ModelSection<'a>>,
}

#[derive(Deserialize)]
struct AddedToken<'a> {
    #[serde(borrow, default)]
    content: Cow<'a, str>,
}

#[derive(Deserialize)]
struct ModelSection<'a> {
    /// Absent in files of old versions.
    #[serde(rename = "type")]
    kind: Option<String>,
    max_input_chars_per_word: Option<u64>,
    #[serde(borrow)]
    vocab: Option<&'a RawValue>,
}

/// A string that is copied only if it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl TokenizerSummary<'_> {
    /// Returns the kind of the tokenizer's model, if the file names it.
    pub(crate) fn kind(&self) -> Option<&str> {
        self.model.as_ref()?.kind.as_deref()
    }

    /// Checks every limit.
    ///
    /// # Errors
    /// Says what was found and what is expected, as part of a sentence.
    pub(crate) fn check(&self) -> Result<(), String> {
        let parts = [
            ("pre_tokenizer", &self.pre_tokenizer),
            ("post_processor", &self.post_processor),
            ("normalizer", &self.normalizer),
        ];
        for (part, value) in parts {
            at_most(&format!("the steps of its `{part}`"), steps(value), MAX_STEPS)?;
        }
        at_most("the growth of a text in its `normalizer`", growth(&self.normalizer)?, MAX_GROWTH)?;
        for (template, texts) in [("single", 1), ("pair", 2)] {
            let found = max_sequences(&self.post_processor, template);
            at_most(&format!("the texts in `{template}` of its `post_processor`"), found, texts)?;
        }
        let added = self.added_tokens.iter().map(|token| token.content.len()).sum();
        at_most("the bytes of its `added_tokens`", added, MAX_ADDED_BYTES)?;
        let Some(model) = &self.model else { return Ok(()) };
        let chars = model.max_input_chars_per_word.unwrap_or(0);
        at_most("its `max_input_chars_per_word`", chars, MAX_WORD_CHARS)?;
        let (longest, total) = model.piece_bytes().map_err(|error| error.to_string())?;
        at_most("the longest piece of its `vocab` in bytes", longest, MAX_PIECE_BYTES)?;
        at_most("the bytes of its `vocab`", total, MAX_PIECES_BYTES)
    }
}

impl ModelSection<'_> {
    /// Returns the sizes of the longest piece and of all pieces of a Unigram vocabulary, which is a
    /// list. Other vocabularies are maps, and take no more memory than they take space in the file.
    fn piece_bytes(&self) -> serde_json::Result<(usize, usize)> {
        let Some(list) = self.vocab.map(RawValue::get).filter(|vocab| vocab.starts_with('[')) else {
            return Ok((0, 0));
        };
        let pieces: Vec<(Text<'_>, IgnoredAny)> = serde_json::from_str(list)?;
        let lengths = || pieces.iter().map(|(piece, _)| piece.0.len());
        Ok((lengths().max().unwrap_or(0), lengths().sum()))
    }
}

fn at_most<N: PartialOrd + Display>(what: &str, found: N, limit: N) -> Result<(), String> {
    if found > limit { Err(format!("{what}: {found}, expected at most {limit}")) } else { Ok(()) }
}

/// Returns the parts of a sequence, whichever name it gives them. serde_json limits the nesting.
fn parts(value: &Value) -> impl Iterator<Item = &Value> {
    ["normalizers", "pretokenizers", "processors"].into_iter().filter_map(|key| value[key].as_array()).flatten()
}

fn steps(value: &Value) -> usize {
    1 + parts(value).map(steps).sum::<usize>()
}

/// Returns how many times longer a normalizer can make a text.
///
/// Normalizers are recognized by their fields, because files of old versions do not name the kind.
fn growth(value: &Value) -> Result<usize, String> {
    if let Some(content) = value["content"].as_str() {
        return Ok(match value["pattern"]["String"].as_str() {
            // An empty pattern matches between any two characters.
            None | Some("") => 1 + content.len(),
            Some(pattern) => content.len().div_ceil(pattern.len()).max(1),
        });
    }
    if let Some(prefix) = value["prepend"].as_str() {
        // It is added once, but the text may be shorter than it.
        return Ok(1 + prefix.len() / 64);
    }
    if let Some(table) = value["precompiled_charsmap"].as_str() {
        return charsmap_growth(table);
    }
    parts(value).try_fold(1usize, |product, part| Ok(product.saturating_mul(growth(part)?)))
}

/// Returns the growth by a table of replacements: four bytes with the size of a trie, the trie, and
/// the replacements, separated by zeros.
fn charsmap_growth(table: &str) -> Result<usize, String> {
    let invalid = || "its `precompiled_charsmap` is not a table of characters".to_owned();
    let table = STANDARD.decode(table).map_err(|_| invalid())?;
    let (size, rest) = table.split_first_chunk().ok_or_else(invalid)?;
    let size = usize::try_from(u32::from_le_bytes(*size)).map_err(|_| invalid())?;
    let (trie, texts) = rest.split_at_checked(size).ok_or_else(invalid)?;
    if trie.is_empty() || trie.len() % 4 != 0 {
        return Err(invalid());
    }
    let longest = texts.split(|&byte| byte == 0).map(<[u8]>::len).max().unwrap_or(0);
    // Characters with long replacements take three bytes themselves.
    Ok(longest.div_ceil(3).max(1))
}

/// Returns how often one step puts a text into the template, at most.
fn max_sequences(value: &Value, template: &str) -> usize {
    let pieces = value[template].as_array().into_iter().flatten();
    let own = pieces.filter(|piece| piece.get("Sequence").is_some()).count();
    parts(value).map(|part| max_sequences(part, template)).fold(own, usize::max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};
    use serde_json::json;

    use super::*;

    fn check(key: &str, value: Value) -> Result<(), String> {
        let mut file = json!({ "model": { "type": "WordPiece", "vocab": {} } });
        file[key] = value;
        serde_json::from_str::<TokenizerSummary<'_>>(&file.to_string()).unwrap().check()
    }

    #[test]
    fn tokenizers_in_use_are_within_the_limits() {
        let spaces = json!({ "type": "Sequence", "normalizers": [
            { "type": "Replace", "pattern": { "String": "``" }, "content": "\"" }, { "type": "NFKD" },
            { "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": "▁" }, { "type": "Prepend", "prepend": "▁" } ] });
        check("normalizer", spaces).unwrap();
        check("normalizer", Value::Null).unwrap();
        check("model", json!({ "vocab": [["▁the", -3.5], ["\u{e9}", -4]], "unk_id": 0 })).unwrap();
    }

    #[test]
    fn growth_multiplies_along_a_sequence() {
        let step = json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "aaaaaaaaaaaa" });
        let twice = json!({ "type": "Sequence", "normalizers": [step, step] });
        let expected = "the growth of a text in its `normalizer`: 144, expected at most 128";
        assert_eq!(check("normalizer", twice).unwrap_err(), expected);
        check("normalizer", step).unwrap();
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(file in any::<Vec<u8>>(), cut in any::<prop::sample::Index>()) {
            let whole = br#"{"normalizer":{"type":"Replace","pattern":{"String":"a"},"content":"b"},"model":{"vocab":[["a",1]]}}"#;
            for file in [&file[..], &whole[..cut.index(whole.len())]] {
                if let Ok(head) = serde_json::from_slice::<TokenizerSummary<'_>>(file) {
                    let _ = head.check();
                }
            }
        }
    }
}
