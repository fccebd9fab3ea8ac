//! From text to token ids: the folder's tokenizer, and the treatment of texts over the limit.
//!
//! `read` and `vocabulary` build the tokenizer; `session` turns the ids into tensors.

mod read;

use std::collections::BTreeMap;

use tokenizers::utils::truncation::{TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings};
use tokenizers::{Encoding, PostProcessor, Tokenizer as HfTokenizer};

use crate::error::Error;
use crate::overflow::{self, Window};
use crate::settings::Overflow;
use crate::special_tokens::{SpecialTokens, TokenIds};

pub(crate) struct Tokenizer {
    inner: HfTokenizer,
    special_tokens: SpecialTokens,
    max_tokens: usize,
    direction: TruncationDirection,
    overflow: Overflow,
    unknown: Option<u32>,
    /// Whether tokens that continue a word carry a mark, such as WordPiece's `##`.
    marks_continuation: bool,
    pub pad: i64,
    /// The length to which short texts are padded on the left. On the right, the session does it.
    left_padded_to: usize,
    /// The special tokens that `tokenizer_config.json` names.
    named: BTreeMap<&'static str, String>,
}

/// An input as one or several runs.
pub(crate) struct Encoded {
    pub runs: Vec<TokenIds>,
    /// Tokens of the whole input, special tokens included.
    pub tokens: usize,
    /// Tokens that the runs read, special tokens included.
    pub tokens_read: usize,
}

/// A token of a text, for taggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextToken {
    pub id: u32,
    /// Code points.
    pub start: usize,
    pub end: usize,
    /// Whether it continues the previous token's word.
    pub continues: bool,
}

impl Tokenizer {
    pub(crate) fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    pub(crate) fn special_tokens(&self) -> &SpecialTokens {
        &self.special_tokens
    }

    /// Returns the tokens of a text without special tokens.
    pub(crate) fn plain_ids(&self, text: &str) -> Result<Vec<i64>, Error> {
        Ok(token_ids(&self.inner.encode_fast(text, false).map_err(tokenization)?).ids)
    }

    /// Returns the number of tokens of a text, special tokens included.
    pub(crate) fn count(&self, text: &str) -> Result<usize, Error> {
        Ok(self.inner.encode_fast(text, true).map_err(tokenization)?.len())
    }

    /// Encodes a text with special tokens, cut to `limit` tokens as `truncation=True` does in
    /// transformers. Returns the number of tokens before the cut too.
    pub(crate) fn cut_to(&self, text: &str, limit: usize) -> Result<(TokenIds, usize), Error> {
        let whole = self.inner.encode_fast(text, true).map_err(tokenization)?;
        if whole.len() <= limit {
            return Ok((token_ids(&whole), whole.len()));
        }
        let ids = self.special_tokens.strip(whole.get_ids());
        let room = limit.saturating_sub(self.special_tokens.len());
        let ids = match self.direction {
            TruncationDirection::Left => &ids[ids.len() - room..],
            TruncationDirection::Right => &ids[..room],
        };
        Ok((self.special_tokens.surround(ids.iter().copied()), whole.len()))
    }

    /// Returns a special token that `tokenizer_config.json` names, such as `mask_token`, and its id.
    pub(crate) fn special(&self, name: &str) -> Option<(String, i64)> {
        let token = self.named.get(name)?;
        Some((token.clone(), i64::from(self.inner.token_to_id(token)?)))
    }

    pub(crate) fn direction(&self) -> TruncationDirection {
        self.direction
    }

    /// Encodes a text, or a pair, with special tokens. The folder's overflow rule applies to texts
    /// over the limit.
    pub(crate) fn encode(&self, text: &str, pair: Option<&str>) -> Result<Encoded, Error> {
        let mut encoded = self.encode_runs(text, pair)?;
        // No graph takes an empty row. A text without words has one if there are no special tokens.
        let length = self.left_padded_to.max(1);
        for run in encoded.runs.iter_mut().filter(|run| run.ids.len() < length) {
            let missing = length - run.ids.len();
            run.ids.splice(..0, std::iter::repeat_n(self.pad, missing));
            run.type_ids.splice(..0, std::iter::repeat_n(0, missing));
        }
        Ok(encoded)
    }

    fn encode_runs(&self, text: &str, pair: Option<&str>) -> Result<Encoded, Error> {
        // transformers treats an empty second text as absent.
        let pair = pair.filter(|pair| !pair.is_empty());
        let whole = match pair {
            Some(pair) => self.inner.encode_fast((text, pair), true),
            None => self.inner.encode_fast(text, true),
        }
        .map_err(tokenization)?;
        let tokens = whole.len();
        if tokens <= self.max_tokens {
            return Ok(Encoded { runs: vec![token_ids(&whole)], tokens, tokens_read: tokens });
        }
        self.check_overflow(tokens)?;
        if let Some(pair) = pair {
            let cut = token_ids(&self.truncate_pair(text, pair, TruncationStrategy::LongestFirst)?);
            return Ok(Encoded { tokens, tokens_read: cut.ids.len(), runs: vec![cut] });
        }
        let ids = self.special_tokens.strip(whole.get_ids());
        let windows = self.windows(ids.len());
        let tokens_read = overflow::covered(&windows) + self.special_tokens.len();
        let runs = windows.iter().map(|window| self.surround(window, |number| ids[number])).collect();
        Ok(Encoded { runs, tokens, tokens_read })
    }

    /// Encodes a text and a hypothesis about it. Only the text is truncated.
    pub(crate) fn encode_hypothesis(&self, text: &str, hypothesis: &str) -> Result<Encoded, Error> {
        let whole = self.inner.encode_fast((text, hypothesis), true).map_err(tokenization)?;
        let tokens = whole.len();
        if tokens <= self.max_tokens {
            return Ok(Encoded { runs: vec![token_ids(&whole)], tokens, tokens_read: tokens });
        }
        self.check_overflow(tokens)?;
        // A hypothesis that alone fills the limit is not truncated, as in transformers. Most graphs
        // fail on it.
        let cut = self.truncate_pair(text, hypothesis, TruncationStrategy::OnlyFirst).unwrap_or(whole);
        Ok(Encoded { tokens, tokens_read: cut.len(), runs: vec![token_ids(&cut)] })
    }

    /// Returns the tokens of a text for a tagger, without special tokens.
    pub(crate) fn text_tokens(&self, text: &str) -> Result<Vec<TextToken>, Error> {
        let characters: Vec<char> = text.chars().collect();
        let content = self.inner.encode_char_offsets(text, false).map_err(tokenization)?;
        let tokens = content.get_ids().iter().zip(content.get_tokens()).zip(content.get_offsets());
        let continues = |id: u32, token: &str, start: usize, end: usize| {
            if Some(id) == self.unknown {
                false
            } else if self.marks_continuation {
                // Decided by length, as in transformers: the mark makes the token longer than its
                // text.
                token.chars().count() != end - start
            } else {
                start > 0 && !characters[start - 1..characters.len().min(start + 1)].contains(&' ')
            }
        };
        let tokens = tokens.map(|((&id, token), &(start, end))| TextToken {
            id,
            start,
            end,
            continues: continues(id, token, start, end),
        });
        Ok(tokens.collect())
    }

    /// Returns the runs of a tagger: the tokens that each reads, and its ids.
    pub(crate) fn tagger_runs(&self, tokens: &[TextToken]) -> Result<Vec<(Window, TokenIds)>, Error> {
        let length = tokens.len() + self.special_tokens.len();
        if length > self.max_tokens {
            self.check_overflow(length)?;
        }
        let windows = self.windows(tokens.len()).into_iter();
        let runs = windows.map(|window| {
            let ids = self.surround(&window, |number| tokens[number].id);
            (window, ids)
        });
        Ok(runs.collect())
    }

    /// Truncates a pair as `truncation=…` does in transformers.
    fn truncate_pair(&self, text: &str, pair: &str, strategy: TruncationStrategy) -> Result<Encoding, Error> {
        let first = self.inner.encode_fast(text, false).map_err(tokenization)?;
        let mut second = self.inner.encode_fast(pair, false).map_err(tokenization)?;
        // Encoded alone, it has the type of a first text, and not every post-processor corrects
        // that.
        second.set_type_ids(vec![1; second.len()]);
        let added = self.inner.get_post_processor().map_or(0, |special| special.added_tokens(true));
        let max_length = self.max_tokens.saturating_sub(added);
        let params = TruncationParams { max_length, strategy, stride: 0, direction: self.direction };
        let (first, second) = truncate_encodings(first, Some(second), &params).map_err(tokenization)?;
        self.inner.post_process(first, second, true).map_err(tokenization)
    }

    fn check_overflow(&self, tokens: usize) -> Result<(), Error> {
        match self.overflow {
            Overflow::Error => Err(Error::TextTooLong { tokens, limit: self.max_tokens }),
            Overflow::Head | Overflow::HeadTail | Overflow::Windows => Ok(()),
        }
    }

    fn windows(&self, length: usize) -> Vec<Window> {
        let limit = self.max_tokens - self.special_tokens.len();
        overflow::windows(length, limit, self.overflow, self.direction)
    }

    fn surround(&self, window: &Window, id: impl Fn(usize) -> u32) -> TokenIds {
        self.special_tokens.surround(window.iter().cloned().flatten().map(id))
    }
}

fn token_ids(encoding: &Encoding) -> TokenIds {
    let wide = |row: &[u32]| row.iter().map(|&id| i64::from(id)).collect();
    TokenIds { ids: wide(encoding.get_ids()), type_ids: wide(encoding.get_type_ids()) }
}

fn tokenization(error: tokenizers::Error) -> Error {
    Error::Tokenization { message: error.to_string() }
}
