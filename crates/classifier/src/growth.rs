//! What a `tokenizer.json` may make of a text, looked at before the tokenizer is built: one that was made to hurt turns a short
//! text into gigabytes, or does not survive being built. What a sound one means is `vocabulary`'s and `tokenizer`'s business.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;

/// How many times longer a normalizer may make a text. Spaces become `▁` (3 bytes) in many, and one character of Unicode
/// stands for a sentence of 33 bytes.
const MAX_GROWTH: usize = 128;
/// Steps of a normalizer, a pre-tokenizer or a post-processor; each goes over the whole text.
const MAX_STEPS: usize = 64;
/// WordPiece tries every end of a word, so that the time of a long one goes with the square of this; BERT's own is 100.
const MAX_WORD_CHARS: u64 = 256;
/// The runtime of the tokenizer nests as deep as the longest piece of a Unigram vocabulary, and each of its bytes costs
/// hundreds in memory; 250,000 pieces in use have 2.5 MB.
const MAX_PIECE_BYTES: usize = 1024;
const MAX_PIECES_BYTES: usize = 4 << 20;
/// All added tokens together; they are looked for at once, at some hundred bytes for each of theirs.
const MAX_ADDED_BYTES: usize = 1 << 20;

/// The parts of a `tokenizer.json` that decide what it costs.
#[derive(Deserialize)]
pub(super) struct Head<'a> {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(borrow, default)]
    added_tokens: Vec<Added<'a>>,
    model: Option<Kind>,
}

#[derive(Deserialize)]
struct Added<'a> {
    #[serde(borrow, default)]
    content: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Kind {
    /// Files of old versions do not name the kind.
    #[serde(rename = "type")]
    name: Option<String>,
    max_input_chars_per_word: Option<u64>,
    #[serde(default)]
    vocab: Pieces,
}

/// Of a Unigram vocabulary, which is a list; others are maps and cost what they weigh.
#[derive(Default)]
struct Pieces {
    longest: usize,
    bytes: usize,
}

impl<'de> Deserialize<'de> for Pieces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Pieces;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a vocabulary")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Pieces, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Pieces::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Pieces, A::Error> {
                let mut pieces = Pieces::default();
                while let Some((piece, _)) = list.next_element::<(Text<'de>, IgnoredAny)>()? {
                    pieces.longest = pieces.longest.max(piece.0.len());
                    pieces.bytes += piece.0.len();
                }
                Ok(pieces)
            }
        }
        deserializer.deserialize_any(List)
    }
}

/// A string that is copied only where it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Head<'_> {
    pub(super) fn kind(&self) -> Option<&str> {
        self.model.as_ref()?.name.as_deref()
    }

    /// # Errors
    /// What was found and what is expected, as part of a sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        for (part, value) in [("pre_tokenizer", &self.pre_tokenizer), ("post_processor", &self.post_processor)] {
            at_most(&format!("the steps of its `{part}`"), steps(value), MAX_STEPS)?;
        }
        at_most("the steps of its `normalizer`", steps(&self.normalizer), MAX_STEPS)?;
        at_most("the growth of a text in its `normalizer`", growth(&self.normalizer)?, MAX_GROWTH)?;
        for (template, texts) in [("single", 1), ("pair", 2)] {
            let found = most_sequences(&self.post_processor, template);
            at_most(&format!("the places for a text in `{template}` of its `post_processor`"), found, texts)?;
        }
        let added = self.added_tokens.iter().map(|token| token.content.len()).sum();
        at_most("the bytes of its `added_tokens`", added, MAX_ADDED_BYTES)?;
        let Some(model) = &self.model else { return Ok(()) };
        let chars = model.max_input_chars_per_word.unwrap_or(0);
        at_most("its `max_input_chars_per_word`", chars, MAX_WORD_CHARS)?;
        at_most("the longest piece of its `vocab` in bytes", model.vocab.longest, MAX_PIECE_BYTES)?;
        at_most("the bytes of its `vocab`", model.vocab.bytes, MAX_PIECES_BYTES)
    }
}

fn at_most<N: PartialOrd + fmt::Display>(what: &str, found: N, limit: N) -> Result<(), String> {
    if found > limit { Err(format!("{what}: {found}, expected at most {limit}")) } else { Ok(()) }
}

/// The parts of a sequence, under whichever name it has them; serde's own limit bounds how deep they nest.
fn parts(value: &Value) -> impl Iterator<Item = &Value> {
    ["normalizers", "pretokenizers", "processors"].into_iter().filter_map(|key| value[key].as_array()).flatten()
}

fn steps(value: &Value) -> usize {
    1 + parts(value).map(steps).sum::<usize>()
}

/// How many times longer a normalizer can make a text of some length.
fn growth(value: &Value) -> Result<usize, String> {
    // By what they hold: files of old versions do not name the kind.
    if let Some(content) = value["content"].as_str() {
        return Ok(match value["pattern"]["String"].as_str() {
            // A pattern that matches nothing at all stands between all characters.
            None | Some("") => 1 + content.len(),
            Some(pattern) => content.len().div_ceil(pattern.len()).max(1),
        });
    }
    if let Some(prepended) = value["prepend"].as_str() {
        // Once a text, which may be short itself.
        return Ok(1 + prepended.len() / 64);
    }
    if let Some(table) = value["precompiled_charsmap"].as_str() {
        return precompiled(table);
    }
    parts(value).try_fold(1usize, |product, part| Ok(product.saturating_mul(growth(part)?)))
}

/// The growth by a table of replacements: four bytes with the size of the trie, the trie, and texts between zeros. Reading one
/// that is shorter than it says crashes in the tokenizer's own code.
fn precompiled(table: &str) -> Result<usize, String> {
    let malformed = || "its `precompiled_charsmap` is no table of characters".to_owned();
    let table = STANDARD.decode(table).map_err(|_| malformed())?;
    let (size, rest) = table.split_first_chunk().ok_or_else(malformed)?;
    let size = usize::try_from(u32::from_le_bytes(*size)).map_err(|_| malformed())?;
    let (trie, texts) = rest.split_at_checked(size).ok_or_else(malformed)?;
    let (units, rest) = trie.as_chunks();
    let units: Vec<u32> = units.iter().copied().map(u32::from_le_bytes).collect();
    let texts = std::str::from_utf8(texts).map_err(|_| malformed())?;
    if !rest.is_empty() || !stays_inside(&units, texts) {
        return Err(malformed());
    }
    let longest = texts.split('\0').map(str::len).max().unwrap_or(0);
    // Of a character of three bytes, which those are that stand for many.
    Ok(longest.div_ceil(3).max(1))
}

/// Whether no byte of any text leads out of the trie, and no leaf out of the texts. The trie is a double array: a unit's offset
/// and the next byte tell where the next unit stands, and that unit whether it belongs there.
fn stays_inside(units: &[u32], texts: &str) -> bool {
    let offset = |unit: u32| ((unit >> 10) << ((unit & 1 << 9) >> 6)) as usize;
    let Some(&root) = units.first() else { return false };
    let mut seen = vec![false; units.len()];
    let mut bases = vec![offset(root)];
    while let Some(base) = bases.pop() {
        for byte in 1..=u8::MAX {
            let place = base ^ usize::from(byte);
            let Some(&unit) = units.get(place) else { return false };
            if unit & (1 << 31 | 0xff) != u32::from(byte) {
                continue;
            }
            let next = place ^ offset(unit);
            let leaf = || units.get(next).map(|leaf| (leaf & !(1 << 31)) as usize);
            if unit >> 8 & 1 == 1 && !leaf().is_some_and(|text| texts.is_char_boundary(text)) {
                return false;
            }
            if !std::mem::replace(&mut seen[place], true) {
                bases.push(next);
            }
        }
    }
    true
}

/// How often a text is put into the template, at most.
fn most_sequences(value: &Value, template: &str) -> usize {
    let own = value[template].as_array().into_iter().flatten().filter(|piece| piece.get("Sequence").is_some()).count();
    parts(value).map(|part| most_sequences(part, template)).fold(own, usize::max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};
    use serde_json::json;

    use super::*;

    fn check(key: &str, value: Value) -> Result<(), String> {
        let mut file = json!({ "model": { "type": "WordPiece", "vocab": {} } });
        file[key] = value;
        serde_json::from_str::<Head<'_>>(&file.to_string()).unwrap().check()
    }

    #[test]
    fn what_tokenizers_in_use_say_is_fine() {
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

    /// A trie of one unit a byte, with offsets and leaves as they come.
    fn table() -> impl Strategy<Value = Vec<u8>> {
        let unit =
            prop_oneof![0u32..256, (0u32..4, 0u32..512).prop_map(|(offset, low)| offset << 10 | low), any::<u32>()];
        (prop::collection::vec(unit, 0..600), "[a-c\\x00é]{0,12}").prop_map(|(units, texts)| {
            let size = 4 * units.len() as u32;
            let trie = units.into_iter().flat_map(u32::to_le_bytes);
            size.to_le_bytes().into_iter().chain(trie).chain(texts.into_bytes()).collect()
        })
    }

    proptest! {
        #[test]
        fn a_table_that_is_let_through_crashes_on_no_text(table in table(), text in "[a-c\\x01-\\x7fé]{0,20}") {
            let table = STANDARD.encode(table);
            if precompiled(&table).is_ok() {
                let normalizer = json!({ "type": "Precompiled", "precompiled_charsmap": table });
                let normalizer: tokenizers::NormalizerWrapper = serde_json::from_value(normalizer).unwrap();
                let mut text = tokenizers::NormalizedString::from(text);
                let _ = tokenizers::Normalizer::normalize(&normalizer, &mut text);
            }
        }

        #[test]
        fn a_file_of_anything_is_refused_or_read(file in any::<Vec<u8>>(), cut in any::<prop::sample::Index>()) {
            let whole = br#"{"normalizer":{"type":"Replace","pattern":{"String":"a"},"content":"b"},"model":{"vocab":[["a",1]]}}"#;
            for file in [&file[..], &whole[..cut.index(whole.len())]] {
                if let Ok(head) = serde_json::from_slice::<Head<'_>>(file) {
                    let _ = head.check();
                }
            }
        }
    }
}
