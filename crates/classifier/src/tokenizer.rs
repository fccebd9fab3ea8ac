//! From text to token ids: the folder's tokenizer as it is, minus what the pipelines do not use of it, and what happens to
//! texts over the limit.
//!
//! Which tensors the ids become is `session`'s business.

use tokenizers::utils::truncation::{TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings};
use tokenizers::{AddedToken, Encoding, Model, ModelWrapper, PostProcessor, Tokenizer as HfTokenizer};

use crate::config::{Config, Overflow, SpecialToken};
use crate::error::Error;
use crate::folder::{Graph, ModelFiles, Vocabulary};
use crate::frame::{Chunk, Frame};
use crate::overflow::{self, Window};
use crate::vocabulary;

/// Where neither the tokenizer nor the configuration names a limit; the length that BERT was trained with.
const DEFAULT_MAX_TOKENS: u64 = 512;
/// Larger limits stand for "none" (transformers writes 10^30).
const LARGEST_SANE_LIMIT: u64 = 1 << 20;
/// Attention costs the square of the length: one text of 8,192 tokens takes gigabytes. Longer limits have to be asked for
/// with `max_tokens` in `local-model.toml`.
const LARGEST_DEFAULT_LIMIT: u64 = 4096;
/// Models whose position numbers begin behind the padding id, so that many positions are never used.
const POSITIONS_AFTER_PADDING: [&str; 13] = [
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "roberta-prelayernorm",
    "camembert",
    "longformer",
    "mpnet",
    "data2vec-text",
    "ibert",
    "xmod",
    "lilt",
    "luke",
    "esm",
];

pub(super) struct Tokenizer {
    inner: HfTokenizer,
    frame: Frame,
    max_tokens: usize,
    direction: TruncationDirection,
    overflow: Overflow,
    unknown: Option<u32>,
    /// Whether tokens that continue a word carry a mark (WordPiece's `##`).
    marked: bool,
    /// Whether it has patterns of its own, which may take any time on a short text.
    pub patterned: bool,
    pub pad: i64,
}

/// An input in one run or several, and how much of it they read, in tokens with the special ones.
pub(super) struct Encoded {
    pub chunks: Vec<Chunk>,
    pub tokens: usize,
    pub tokens_read: usize,
}

/// One token of a text for a tagger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub id: u32,
    /// Code points.
    pub start: usize,
    pub end: usize,
    pub continues: bool,
}

impl Tokenizer {
    pub(super) fn new(files: &ModelFiles) -> Result<Self, Error> {
        let settings = &files.tokenizer_config;
        let invalid = |message: String| Error::FileInvalid {
            path: match &files.graph {
                Graph::File(graph) => graph.with_file_name("tokenizer.json"),
                Graph::Memory(_) => "tokenizer.json".into(),
            },
            message,
            remedy: "write it again with `AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)` in Python".into(),
        };
        // Texts of an assistant are short and come from several threads; a pool inside each call would only be in the way.
        tokenizers::utils::parallelism::set_parallelism(false);
        let mut inner = match &files.vocabulary {
            Vocabulary::Tokenizer(bytes) => vocabulary::tokenizer(bytes),
            Vocabulary::WordPiece(vocab) => vocabulary::word_piece(vocab, settings).map(rebuilt)?,
            Vocabulary::ByteLevelBpe { vocab, merges } => {
                vocabulary::byte_level_bpe(vocab, merges, &files.config, settings).map(rebuilt)?
            }
        }
        .map_err(|error| invalid(error.to_string()))?;
        // Lengths in them are leftovers of the last call before the file was saved, which the pipelines never use; the side
        // to cut on and the padding token count where `tokenizer_config.json` does not name them.
        let left_over = inner.get_truncation().map(|truncation| truncation.direction);
        let padding = inner.get_padding().map(|padding| i64::from(padding.pad_id));
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| invalid(error.to_string()))?;
        vocabulary::override_settings(&mut inner, settings).map_err(|error| invalid(error.to_string()))?;
        let missing: Vec<AddedToken> = settings
            .additional_special_tokens
            .iter()
            .flatten()
            .filter(|token| inner.token_to_id(token.text()).is_none())
            .map(|token| AddedToken::from(token.text(), true))
            .collect();
        inner.add_special_tokens(&missing);
        check_size(&inner, &files.config)?;
        let id = |token: &Option<SpecialToken>| token.as_ref().and_then(|token| inner.token_to_id(token.text()));
        let named = |token: &str| inner.token_to_id(token);
        let (marked, unknown) = match inner.get_model() {
            ModelWrapper::WordPiece(model) => (!model.continuing_subword_prefix.is_empty(), named(&model.unk_token)),
            ModelWrapper::BPE(model) => (
                model.continuing_subword_prefix.as_ref().is_some_and(|mark| !mark.is_empty()),
                model.unk_token.as_deref().and_then(named),
            ),
            ModelWrapper::WordLevel(model) => (false, named(&model.unk_token)),
            ModelWrapper::Unigram(_) => (false, named("<unk>")),
        };
        let frame = Frame::of(&inner).map_err(invalid)?;
        Ok(Self {
            frame,
            max_tokens: max_tokens(files),
            direction: match settings.truncation_side.as_deref() {
                Some("left") => TruncationDirection::Left,
                Some(_) => TruncationDirection::Right,
                None => left_over.unwrap_or(TruncationDirection::Right),
            },
            overflow: files.settings.overflow,
            unknown: id(&settings.unk_token).or(unknown),
            marked,
            patterned: patterned(&inner),
            pad: id(&settings.pad_token)
                .map(i64::from)
                .or(padding)
                .or(files.config.pad_token_id.and_then(|id| i64::try_from(id).ok()))
                .unwrap_or(0),
            inner,
        })
    }

    /// With the graph's own length, where it has one, as a further limit.
    pub(super) fn limited_to(mut self, fixed: Option<usize>) -> Result<Self, Error> {
        self.max_tokens = self.max_tokens.min(fixed.unwrap_or(usize::MAX));
        if self.max_tokens <= self.frame.len() {
            return Err(Error::NoRoom { limit: self.max_tokens, special: self.frame.len() });
        }
        Ok(self)
    }

    pub(super) fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Encodes a text, or a pair, with its special tokens; what is over the limit goes by the folder's rule.
    pub(super) fn encode(&self, text: &str, pair: Option<&str>) -> Result<Encoded, Error> {
        // transformers takes an empty second text for none.
        let pair = pair.filter(|pair| !pair.is_empty());
        let whole = match pair {
            Some(pair) => self.inner.encode_fast((text, pair), true),
            None => self.inner.encode_fast(text, true),
        }
        .map_err(unusable)?;
        let tokens = whole.len();
        if tokens <= self.max_tokens {
            return Ok(Encoded { chunks: vec![chunk(&whole)], tokens, tokens_read: tokens });
        }
        if self.overflow == Overflow::Error {
            return Err(Error::TextTooLong { tokens, limit: self.max_tokens });
        }
        if let Some(pair) = pair {
            let cut = chunk(&self.cut_pair(text, pair, TruncationStrategy::LongestFirst)?);
            return Ok(Encoded { tokens, tokens_read: cut.ids.len(), chunks: vec![cut] });
        }
        let content = self.inner.encode_fast(text, false).map_err(unusable)?;
        let ids = content.get_ids();
        let windows = self.windows(ids.len());
        let read = overflow::covered(&windows) + self.frame.len();
        let chunks = windows.iter().map(|ranges| self.frame.around(ranges.iter().cloned().flatten().map(|i| ids[i])));
        Ok(Encoded { chunks: chunks.collect(), tokens, tokens_read: read })
    }

    /// Encodes a text and a hypothesis about it; only the text is cut.
    pub(super) fn encode_hypothesis(&self, text: &str, hypothesis: &str) -> Result<Encoded, Error> {
        let whole = self.inner.encode_fast((text, hypothesis), true).map_err(unusable)?;
        let tokens = whole.len();
        if tokens <= self.max_tokens {
            return Ok(Encoded { chunks: vec![chunk(&whole)], tokens, tokens_read: tokens });
        }
        if self.overflow == Overflow::Error {
            return Err(Error::TextTooLong { tokens, limit: self.max_tokens });
        }
        // A hypothesis that leaves no room is run whole, as transformers does; most models refuse it then.
        let cut = self.cut_pair(text, hypothesis, TruncationStrategy::OnlyFirst).unwrap_or(whole);
        Ok(Encoded { tokens, tokens_read: cut.len(), chunks: vec![chunk(&cut)] })
    }

    /// What `truncation=…` gives for a pair.
    fn cut_pair(&self, text: &str, pair: &str, strategy: TruncationStrategy) -> Result<Encoding, Error> {
        let first = self.inner.encode_fast(text, false).map_err(unusable)?;
        let mut second = self.inner.encode_fast(pair, false).map_err(unusable)?;
        // Encoded by itself it counts as a first text, and not every post-processor sets that right.
        second.set_type_ids(vec![1; second.len()]);
        let added = self.inner.get_post_processor().map_or(0, |special| special.added_tokens(true));
        let max_length = self.max_tokens.saturating_sub(added);
        let params = TruncationParams { max_length, strategy, stride: 0, direction: self.direction };
        let (first, second) = truncate_encodings(first, Some(second), &params).map_err(unusable)?;
        self.inner.post_process(first, second, true).map_err(unusable)
    }

    /// The tokens of a text for a tagger, special ones left out.
    pub(super) fn pieces(&self, text: &str) -> Result<Vec<Piece>, Error> {
        let characters: Vec<char> = text.chars().collect();
        let content = self.inner.encode_char_offsets(text, false).map_err(unusable)?;
        let pieces = content.get_ids().iter().zip(content.get_tokens()).zip(content.get_offsets());
        let continues = |id: u32, token: &str, start: usize, end: usize| {
            if Some(id) == self.unknown {
                false
            } else if self.marked {
                // By length, as transformers does it: the mark makes the token longer than its slice of the text.
                token.chars().count() != end - start
            } else {
                start > 0 && !characters[start - 1..characters.len().min(start + 1)].contains(&' ')
            }
        };
        Ok(pieces
            .map(|((&id, token), &(start, end))| Piece { id, start, end, continues: continues(id, token, start, end) })
            .collect())
    }

    /// Runs for a tagger: which pieces each reads, and its rows.
    pub(super) fn tagger_runs(&self, pieces: &[Piece]) -> Result<Vec<(Window, Chunk)>, Error> {
        let tokens = pieces.len() + self.frame.len();
        if tokens > self.max_tokens && self.overflow == Overflow::Error {
            return Err(Error::TextTooLong { tokens, limit: self.max_tokens });
        }
        let windows = self.windows(pieces.len()).into_iter();
        Ok(windows
            .map(|ranges| {
                let chunk = self.frame.around(ranges.iter().cloned().flatten().map(|i| pieces[i].id));
                (ranges, chunk)
            })
            .collect())
    }

    /// Number of special tokens before a single text.
    pub(super) fn offset(&self) -> usize {
        self.frame.before.len()
    }

    pub(super) fn special_tokens(&self) -> usize {
        self.frame.len()
    }

    /// Which of a text's tokens each run reads.
    fn windows(&self, length: usize) -> Vec<Window> {
        overflow::windows(length, self.max_tokens - self.frame.len(), self.overflow, self.direction)
    }
}

fn patterned(tokenizer: &HfTokenizer) -> bool {
    let steps =
        [serde_json::to_string(&tokenizer.get_normalizer()), serde_json::to_string(&tokenizer.get_pre_tokenizer())];
    // Many tokenizers of Unigram kind merge spaces with this one, which goes through a text once.
    let own = |steps: &String| steps.replace(r#"{"Regex":" {2,}"}"#, "").contains(r#""Regex""#);
    steps.iter().any(|steps| steps.as_ref().map_or(true, own))
}

fn rebuilt(tokenizer: serde_json::Value) -> tokenizers::Result<HfTokenizer> {
    vocabulary::tokenizer(tokenizer.to_string().as_bytes())
}

fn chunk(encoding: &Encoding) -> Chunk {
    let wide = |row: &[u32]| row.iter().map(|&id| i64::from(id)).collect();
    Chunk { ids: wide(encoding.get_ids()), type_ids: wide(encoding.get_type_ids()) }
}

fn unusable(error: tokenizers::Error) -> Error {
    Error::Tokenization { message: error.to_string() }
}

/// Ids beyond the embedding would fail one day, on the first text that has such a token.
fn check_size(tokenizer: &HfTokenizer, config: &Config) -> Result<(), Error> {
    let added = tokenizer.get_added_tokens_decoder().into_keys().max().map_or(0, |id| id as usize + 1);
    let size = tokenizer.get_vocab_size(false);
    let model = tokenizer.get_model();
    // Few vocabularies skip numbers, and finding the largest one of those costs a copy of all tokens.
    let gapless = (0..size as u32).all(|id| model.id_to_token(id).is_some());
    let own = if gapless { size } else { model.get_vocab().into_values().max().map_or(0, |id| id as usize + 1) };
    let tokens = added.max(own);
    match config.vocab_size {
        Some(embedded) if tokens > embedded => Err(Error::TokenizerLarger { tokens, embedded }),
        _ => Ok(()),
    }
}

/// The smallest sane limit that the folder names.
fn max_tokens(files: &ModelFiles) -> usize {
    let config = &files.config;
    let unused = match &config.model_type {
        Some(kind) if POSITIONS_AFTER_PADDING.contains(&kind.as_str()) => {
            config.pad_token_id.unwrap_or(1).saturating_add(1)
        }
        _ => 0,
    };
    let positions = config.max_position_embeddings.map(|positions| positions.saturating_sub(unused));
    // `as` turns 10^30 into the largest u64, which the filter then drops.
    let written = files.tokenizer_config.model_max_length.map(|length| length as u64);
    let named = [positions, written].into_iter().flatten().filter(|&limit| limit > 0 && limit < LARGEST_SANE_LIMIT);
    let own = named.min();
    let wanted = match files.settings.max_tokens {
        Some(wanted) => wanted.min(own.unwrap_or(u64::MAX)),
        None => own.unwrap_or(DEFAULT_MAX_TOKENS).min(LARGEST_DEFAULT_LIMIT),
    };
    wanted as usize
}
