//! Builds the tokenizer of a folder from its files and settings.

use tokenizers::utils::truncation::TruncationDirection;
use tokenizers::{AddedToken, ModelWrapper, Tokenizer as HfTokenizer};

use super::Tokenizer;
use crate::error::Error;
use crate::folder::Vocabulary;
use crate::model_files::{Graph, ModelFiles};
use crate::special_tokens::SpecialTokens;
use crate::token_limit;
use crate::tokenizer_config::SpecialToken;
use crate::vocabulary;
use crate::words::{Side, Words};

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
