//! From text to token ids: `tokenizer.json` as it is, minus what the pipelines do not use of it.
//!
//! Which tensors the ids become is `session`'s business.

use tokenizers::utils::truncation::{TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings};
use tokenizers::{Encoding, PostProcessor, Tokenizer as HfTokenizer};

use crate::error::Error;
use crate::model::folder::{ModelFiles, Overflow};
use crate::prediction::Input;

/// Where neither the tokenizer nor the configuration names a limit; the length that BERT was trained with.
const DEFAULT_MAX_TOKENS: u64 = 512;
/// Larger limits stand for "none" (transformers writes 10^30).
const LARGEST_SANE_LIMIT: u64 = 1 << 20;
/// Models whose position numbers begin behind the padding id, so that many positions are never used.
const POSITIONS_AFTER_PADDING: [&str; 6] =
    ["roberta", "xlm-roberta", "camembert", "roberta-prelayernorm", "xlm-roberta-xl", "longformer"];

pub(super) struct Tokenizer {
    inner: HfTokenizer,
    max_tokens: usize,
    direction: TruncationDirection,
    overflow: Overflow,
}

/// One input as the graph takes it: three rows of equal length.
pub(super) struct Tokens {
    pub ids: Vec<i64>,
    pub type_ids: Vec<i64>,
    /// Length before anything was cut, special tokens included.
    pub whole_length: usize,
}

impl Tokenizer {
    pub(super) fn new(files: &ModelFiles) -> Result<Self, Error> {
        let invalid = |message: String| Error::FileInvalid {
            path: "tokenizer.json".into(),
            message,
            remedy: "write it again with `AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)` in Python".into(),
        };
        // Texts of an assistant are short and come from several threads; a pool inside each call would only be in the way.
        tokenizers::utils::parallelism::set_parallelism(false);
        let mut inner = HfTokenizer::from_bytes(&files.tokenizer).map_err(|error| invalid(error.to_string()))?;
        // Both are leftovers of the last call before the file was saved; the pipelines never use them.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| invalid(error.to_string()))?;
        let direction = match files.tokenizer_config.truncation_side.as_deref() {
            Some("left") => TruncationDirection::Left,
            _ => TruncationDirection::Right,
        };
        Ok(Self { inner, max_tokens: max_tokens(files), direction, overflow: files.settings.overflow })
    }

    pub(super) fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Encodes one input with its special tokens, cut to the model's limit where the folder's settings say so.
    pub(super) fn encode(&self, input: &Input) -> Result<Tokens, Error> {
        // transformers takes an empty second text for none.
        let pair = input.text_pair.as_deref().filter(|pair| !pair.is_empty());
        let whole = match pair {
            Some(pair) => self.inner.encode_fast((input.text.as_str(), pair), true),
            None => self.inner.encode_fast(input.text.as_str(), true),
        }
        .map_err(unusable)?;
        let whole_length = whole.len();
        let read = if whole_length <= self.max_tokens {
            whole
        } else if self.overflow == Overflow::Error {
            return Err(Error::TextTooLong { tokens: whole_length, limit: self.max_tokens });
        } else {
            self.truncated(&input.text, pair)?
        };
        Ok(Tokens {
            ids: read.get_ids().iter().map(|&id| i64::from(id)).collect(),
            type_ids: read.get_type_ids().iter().map(|&id| i64::from(id)).collect(),
            whole_length,
        })
    }

    /// What `truncation=True` gives: of a pair the longer text is cut first.
    fn truncated(&self, text: &str, pair: Option<&str>) -> Result<Encoding, Error> {
        let first = self.inner.encode_fast(text, false).map_err(unusable)?;
        let second = pair.map(|pair| self.inner.encode_fast(pair, false)).transpose().map_err(unusable)?;
        let added = self.inner.get_post_processor().map_or(0, |special| special.added_tokens(second.is_some()));
        let params = TruncationParams {
            max_length: self.max_tokens.saturating_sub(added),
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
            direction: self.direction,
        };
        let (first, second) = truncate_encodings(first, second, &params).map_err(unusable)?;
        self.inner.post_process(first, second, true).map_err(unusable)
    }
}

fn unusable(error: tokenizers::Error) -> Error {
    Error::Tokenization { message: error.to_string() }
}

/// The smallest sane limit that the folder names.
fn max_tokens(files: &ModelFiles) -> usize {
    let config = &files.config;
    let unused = match &config.model_type {
        Some(kind) if POSITIONS_AFTER_PADDING.contains(&kind.as_str()) => config.pad_token_id.unwrap_or(1) + 1,
        _ => 0,
    };
    let positions = config.max_position_embeddings.map(|positions| positions.saturating_sub(unused));
    // `as` turns 10^30 into the largest u64, which the filter then drops.
    let written = files.tokenizer_config.model_max_length.map(|length| length as u64);
    [positions, written]
        .into_iter()
        .flatten()
        .filter(|&limit| limit > 0 && limit < LARGEST_SANE_LIMIT)
        .min()
        .unwrap_or(DEFAULT_MAX_TOKENS) as usize
}
