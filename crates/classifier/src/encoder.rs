//! Sentence encoders: a text becomes a vector of unit length, which heads are taught on.
//!
//! One session encodes one text at a time, without padding, so that a vector does not depend on the
//! texts around it. `encoder_pool` lends sessions to threads; `pooling` turns the numbers of tokens
//! into one vector.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cache_dir::facts::FactsCache;
use onnx_runtime::LibrarySettings;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::cancellation::Cancellation;
use crate::config::parse_json;
use crate::error::Error;
use crate::folder::{Folder, unreadable};
use crate::labeled::Truncation;
use crate::model_files::{Graph, ModelFiles};
use crate::pipeline::check_memory;
use crate::pooling::{Pooling, normalize};
use crate::prepared::Sessions;
use crate::session::Session;
use crate::settings::Overflow;
use crate::signature::{Output, Purpose};
use crate::tensors::{Feed, Rows};
use crate::tokenizer::{Encoded, Tokenizer};

/// Increment this whenever the same files give a different vector, so that heads taught on the
/// vectors of an earlier version are not used with others.
const RULES_VERSION: u32 = 1;
/// Tokens that are read of a text, special tokens included. all-MiniLM-L6-v2 was trained on at most
/// 128 and is used with 256 by sentence-transformers.
const MAX_TOKENS: usize = 256;

/// The location of an encoder's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncoderLocation {
    /// The sentence encoder inside the executable.
    #[cfg(feature = "builtin-model")]
    BuiltIn,
    /// The built-in sentiment model: the state from which it computes its scores.
    #[cfg(feature = "builtin-model")]
    SentimentState,
    /// A sentence encoder as Hugging Face's exporters write it.
    Folder(PathBuf),
    /// Another encoder with this graph, which has the same inputs and output and has all its
    /// weights inside.
    Tuned { base: Box<EncoderLocation>, graph: Arc<[u8]> },
}

impl EncoderLocation {
    /// Returns the encoder that was tuned, or this one.
    pub(crate) fn untuned(&self) -> &Self {
        match self {
            Self::Tuned { base, .. } => base.untuned(),
            other => other,
        }
    }
}

impl fmt::Display for EncoderLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "builtin-model")]
            Self::BuiltIn => formatter.write_str("built-in encoder"),
            #[cfg(feature = "builtin-model")]
            Self::SentimentState => formatter.write_str("built-in sentiment model"),
            Self::Folder(folder) => folder.display().fmt(formatter),
            Self::Tuned { base, .. } => write!(formatter, "{base}, tuned"),
        }
    }
}

/// A text as a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoding {
    /// As many numbers as the encoder has dimensions. The length is 1, or 0 if the encoder gives
    /// only zeros.
    pub vector: Vec<f32>,
    /// Tokens of the whole text, special tokens included.
    pub tokens: usize,
    /// Present if only part of the text was read.
    pub truncated: Option<Truncation>,
}

/// What training an encoder needs to know.
#[derive(Clone, Debug)]
pub struct EncoderSource {
    /// The ONNX file.
    pub graph: Vec<u8>,
    /// Heads of each layer; 0 if the configuration does not say.
    pub heads: usize,
}

/// `config.json`.
#[derive(Deserialize)]
struct Heads {
    #[serde(default)]
    num_attention_heads: usize,
}

/// The files of an encoder, and what they say about its use.
pub(crate) struct EncoderFiles {
    pub model: ModelFiles,
    pub purpose: Purpose,
    pub pooling: Pooling,
}

impl EncoderFiles {
    /// Reads the files. Large ones that have not changed are not read again if there is a cache
    /// directory.
    pub(crate) fn read(location: &EncoderLocation, cache_dir: Option<&Path>) -> Result<Self, Error> {
        let mut files = match location {
            EncoderLocation::Tuned { base, graph } => return Self::tuned(Self::read(base, cache_dir)?, graph),
            #[cfg(feature = "builtin-model")]
            EncoderLocation::BuiltIn => Self::built_in(&builtin_model::ENCODER, Purpose::Sentence)?,
            #[cfg(feature = "builtin-model")]
            EncoderLocation::SentimentState => Self::built_in(&builtin_model::SENTIMENT, Purpose::State)?,
            EncoderLocation::Folder(folder) => {
                let model = ModelFiles::read(folder, &FactsCache::new(cache_dir))?;
                Self { model, purpose: Purpose::Sentence, pooling: Pooling::read(folder)? }
            }
        };
        let settings = &mut files.model.settings;
        let limit = settings.max_tokens.unwrap_or(u64::MAX).min(MAX_TOKENS as u64);
        (settings.max_tokens, settings.overflow) = (Some(limit), Overflow::Head);
        Ok(files)
    }

    fn tuned(mut files: Self, graph: &Arc<[u8]>) -> Result<Self, Error> {
        files.model.graph.content = Graph::Tuned(Arc::clone(graph));
        files.model.graph.digest = Sha256::digest(graph).into();
        let digest = Sha256::new_with_prefix(files.model.digest).chain_update(files.model.graph.digest);
        files.model.digest = digest.finalize().into();
        Ok(files)
    }

    pub(crate) fn source(&self, location: &EncoderLocation) -> Result<EncoderSource, Error> {
        let config = match location.untuned() {
            EncoderLocation::Folder(folder) => Folder::open(folder)?.text("config.json")?.unwrap_or_default(),
            #[cfg(feature = "builtin-model")]
            _ => builtin_model::ENCODER.config.to_owned(),
            #[cfg(not(feature = "builtin-model"))]
            EncoderLocation::Tuned { .. } => String::new(),
        };
        let heads = parse_json::<Heads>(Path::new("config.json"), &config)?.num_attention_heads;
        Ok(EncoderSource { graph: self.graph_bytes()?.into_owned(), heads })
    }

    /// Returns the bytes of the graph.
    pub(crate) fn graph_bytes(&self) -> Result<Cow<'_, [u8]>, Error> {
        match &self.model.graph.content {
            Graph::Memory(bytes) => Ok(Cow::Borrowed(bytes)),
            Graph::Tuned(bytes) => Ok(Cow::Borrowed(bytes)),
            Graph::File(path) => fs::read(path).map(Cow::Owned).map_err(|error| unreadable(path, &error)),
        }
    }

    #[cfg(feature = "builtin-model")]
    fn built_in(model: &builtin_model::BuiltIn, purpose: Purpose) -> Result<Self, Error> {
        let model = crate::embedded::files(model)?;
        Ok(Self { model, purpose, pooling: Pooling::default() })
    }

    /// Returns SHA-256 of everything in the files that determines a vector.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new_with_prefix(RULES_VERSION.to_le_bytes());
        hasher.update(self.model.digest);
        hasher.update(format!("{:?} {:?}", self.purpose, self.pooling));
        hasher.finalize().into()
    }
}

/// An opened encoder, which makes sessions.
pub(crate) struct Encoder {
    name: String,
    pub files: EncoderFiles,
    /// The output of the graph that is read.
    pub output: Output,
    tokenizer: Tokenizer,
    sessions: Sessions,
    pub dimensions: usize,
    /// Whether sessions share their weights, so that a further one costs little memory.
    pub weights_shared: bool,
}

impl Encoder {
    /// Opens an encoder and its first session.
    pub(crate) fn open(location: &EncoderLocation, library: &LibrarySettings) -> Result<(Self, Session), Error> {
        let files = EncoderFiles::read(location, library.cache_dir.as_deref())?;
        let tokenizer = Tokenizer::new(&files.model)?;
        let environment = onnx_runtime::environment(library)?;
        let sessions = Sessions::new(environment, files.purpose, &files.model.graph, library.cache_dir.as_deref());
        let (mut session, weights_shared) = sessions.open(&files.model.graph, 1)?;
        let tokenizer = tokenizer.limited_to(session.fixed_length)?;
        let name = location.to_string();
        let dimensions = session.output_width().map_err(|error| Error::inference(&name, error.message()))?;
        let output = session.output().clone();
        Ok((Self { name, files, output, tokenizer, sessions, dimensions, weights_shared }, session))
    }

    /// Opens a further session, which computes on one thread.
    pub(crate) fn session(&self) -> Result<Session, Error> {
        Ok(self.sessions.open(&self.files.model.graph, 1)?.0)
    }

    pub(crate) fn max_tokens(&self) -> usize {
        self.tokenizer.max_tokens()
    }

    pub(crate) fn tokenize(&self, text: &str) -> Result<Encoded, Error> {
        check_memory(text.len())?;
        self.tokenizer.encode(text, None)
    }

    /// Runs a tokenized text. A cancelled run ends before or during the pass.
    pub(crate) fn run(
        &self,
        session: &mut Session,
        text: &Encoded,
        cancellation: &Cancellation,
    ) -> Result<Encoding, Error> {
        let tokens = &text.runs[0];
        let rows = session.rows(&self.name, Feed::Tokens(tokens, self.tokenizer.pad), cancellation)?;
        let vector = self.vector(&rows, tokens.ids.len());
        if vector.iter().any(|number| !number.is_finite()) {
            return Err(Error::inference(&self.name, "its output is not a number"));
        }
        let truncated = (text.tokens_read < text.tokens)
            .then_some(Truncation { tokens: text.tokens as u32, limit: text.tokens_read as u32 });
        Ok(Encoding { vector, tokens: text.tokens, truncated })
    }

    /// Makes one vector of unit length. The rows of padding, which follow those of `tokens`, are
    /// not read.
    fn vector(&self, rows: &Rows, tokens: usize) -> Vec<f32> {
        let vector = if self.output.rank == 2 { rows.row(0).to_vec() } else { self.files.pooling.pool(rows, tokens) };
        normalize(vector)
    }
}
