//! From text to token ids: the folder's tokenizer, and the treatment of texts over the limit.
//!
//! `vocabulary` reads the tokenizer; `session` turns the ids into tensors.

use std::collections::BTreeMap;

use tokenizers::utils::truncation::{TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings};
use tokenizers::{AddedToken, Encoding, ModelWrapper, PostProcessor, Tokenizer as HfTokenizer};

use crate::config::Overflow;
use crate::error::Error;
use crate::folder::Vocabulary;
use crate::model_files::{Graph, ModelFiles};
use crate::overflow::{self, Window};
use crate::special_tokens::{SpecialTokens, TokenIds};
use crate::token_limit;
use crate::tokenizer_config::SpecialToken;
use crate::vocabulary;
use crate::words::{Side, Words};

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
    /// Builds the tokenizer of a folder.
    pub(crate) fn new(files: &ModelFiles) -> Result<Self, Error> {
        let settings = &files.tokenizer_config;
        let invalid = |message: String| invalid_tokenizer(files, message);
        // Texts are short and come from several threads, so a thread pool inside each call would
        // only add overhead.
        tokenizers::utils::parallelism::set_parallelism(false);
        let mut inner = read(files)?.map_err(|error| invalid(error.to_string()))?;
        // The lengths in the file stem from the last call before it was saved, and pipelines ignore
        // them. The truncation side and the padding token count if `tokenizer_config.json` does not
        // name them.
        let left_over = inner.get_truncation().map(|truncation| truncation.direction);
        let padding = inner.get_padding().map(|padding| i64::from(padding.pad_id));
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| invalid(error.to_string()))?;
        vocabulary::override_settings(&mut inner, settings).map_err(|error| invalid(error.to_string()))?;
        let additional = settings.additional_special_tokens.iter().flatten();
        let missing: Vec<AddedToken> = additional
            .filter(|token| inner.token_to_id(token.text()).is_none())
            .map(|token| AddedToken::from(token.text(), true))
            .collect();
        inner.add_special_tokens(&missing);
        token_limit::check_vocabulary(&inner, &files.config)?;
        let id = |token: &Option<SpecialToken>| token.as_ref().and_then(|token| inner.token_to_id(token.text()));
        let (marks_continuation, unknown) = word_marks(&inner);
        let words = files.settings.vocabulary.as_ref();
        let pad_of_words = words.and_then(|words| inner.token_to_id(words.padding.as_ref()?)).map(i64::from);
        let pad_in_config = || files.config.pad_token_id.and_then(|id| i64::try_from(id).ok());
        Ok(Self {
            special_tokens: SpecialTokens::from_tokenizer(&inner).map_err(invalid)?,
            max_tokens: token_limit::max_tokens(files),
            direction: match settings.truncation_side.as_deref() {
                _ if words.is_some_and(|words| words.truncation_side == Side::Left) => TruncationDirection::Left,
                Some("left") => TruncationDirection::Left,
                Some(_) => TruncationDirection::Right,
                None => left_over.unwrap_or(TruncationDirection::Right),
            },
            overflow: files.settings.overflow,
            unknown: id(&settings.unk_token).or(unknown),
            marks_continuation,
            named: [
                ("cls_token", &settings.cls_token),
                ("sep_token", &settings.sep_token),
                ("mask_token", &settings.mask_token),
            ]
            .into_iter()
            .filter_map(|(name, token)| Some((name, token.as_ref()?.text().to_owned())))
            .collect(),
            pad: id(&settings.pad_token)
                .map(i64::from)
                .or(padding)
                .or(pad_of_words)
                .or_else(pad_in_config)
                .unwrap_or(0),
            left_padded_to: match words {
                Some(Words { padding_side: Side::Left, length: Some(length), .. }) => *length,
                _ => 0,
            },
            inner,
        })
    }

    /// Applies the graph's own fixed length as a further limit.
    ///
    /// # Errors
    /// `TokenLimitTooLow` if no token of a text fits.
    pub(crate) fn limited_to(mut self, fixed_length: Option<usize>) -> Result<Self, Error> {
        self.max_tokens = self.max_tokens.min(fixed_length.unwrap_or(usize::MAX));
        let special = self.special_tokens.len();
        if self.max_tokens <= special {
            return Err(Error::TokenLimitTooLow { limit: self.max_tokens, special });
        }
        Ok(self)
    }

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

fn read(files: &ModelFiles) -> Result<tokenizers::Result<HfTokenizer>, Error> {
    let parse = |json: serde_json::Value| vocabulary::parse_tokenizer(json.to_string().as_bytes());
    let settings = &files.tokenizer_config;
    Ok(match &files.vocabulary {
        Vocabulary::Tokenizer(bytes) => vocabulary::parse_tokenizer(bytes),
        Vocabulary::WordPiece(vocab) => parse(vocabulary::word_piece(vocab, settings)?),
        Vocabulary::Words(vocab) => match &files.settings.vocabulary {
            Some(words) => parse(words.tokenizer(vocab)?),
            None => return Err(Error::InputIdsMissing),
        },
        // Encoders take tokens.
        Vocabulary::Text => return Err(Error::InputIdsMissing),
        Vocabulary::ByteLevelBpe { vocab, merges } => {
            parse(vocabulary::byte_level_bpe(vocab, merges, &files.config, settings)?)
        }
    })
}

/// Returns whether tokens that continue a word carry a mark, and the id of the unknown token.
fn word_marks(tokenizer: &HfTokenizer) -> (bool, Option<u32>) {
    let id = |token: &str| tokenizer.token_to_id(token);
    match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => (!model.continuing_subword_prefix.is_empty(), id(&model.unk_token)),
        ModelWrapper::BPE(model) => (
            model.continuing_subword_prefix.as_ref().is_some_and(|mark| !mark.is_empty()),
            model.unk_token.as_deref().and_then(id),
        ),
        ModelWrapper::WordLevel(model) => (false, id(&model.unk_token)),
        ModelWrapper::Unigram(_) => (false, id("<unk>")),
    }
}

fn invalid_tokenizer(files: &ModelFiles, message: String) -> Error {
    Error::FileInvalid {
        path: match &files.graph.content {
            Graph::File(graph) => graph.with_file_name("tokenizer.json"),
            Graph::Memory(_) | Graph::Tuned(_) => "tokenizer.json".into(),
        },
        message,
        remedy: "write it again with `AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)` in Python".into(),
    }
}

fn token_ids(encoding: &Encoding) -> TokenIds {
    let wide = |row: &[u32]| row.iter().map(|&id| i64::from(id)).collect();
    TokenIds { ids: wide(encoding.get_ids()), type_ids: wide(encoding.get_type_ids()) }
}

fn tokenization(error: tokenizers::Error) -> Error {
    Error::Tokenization { message: error.to_string() }
}
