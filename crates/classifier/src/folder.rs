//! Finding and reading a model's files. Nothing in a folder is executed, and nothing outside it is read because it says so.
//!
//! What the files say is in `config` and `graph`; what tokenizer files mean, in `vocabulary` and `tokenizer`.

use std::borrow::Cow;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::config::{Config, Settings, TokenizerConfig, json};
use crate::error::Error;
use cache_dir::digest;
use cache_dir::facts::FactsCache;
use onnx_facts::{self as graph, GraphFacts};

pub(super) const EXPORT: &str = "export the model again with `optimum-cli export onnx --model YOUR_MODEL --task text-classification FOLDER` \
     (or token-classification)";
const SAVE_TOKENIZER: &str = "write it with `python -c \"from transformers import AutoTokenizer as T; T.from_pretrained('DIR').save_pretrained('DIR')\"`";
/// Larger than any tokenizer that is in use (33 MB for 256,000 pieces), smaller than what a machine would feel.
const MAX_TOKENIZER_BYTES: u64 = 64 << 20;
/// The most labels that are taken, named twice over, need less.
const MAX_CONFIG_BYTES: u64 = 16 << 20;
/// What the folder's owner wrote by hand.
const MAX_OWN_BYTES: u64 = 1 << 20;
/// What protobuf can hold; larger models keep their weights beside the graph.
const MAX_GRAPH_BYTES: u64 = 2 << 30;
/// Of all weights beside a graph. They are read once to be known again, and to answer in time a classifier is far smaller.
const MAX_WEIGHTS_BYTES: u64 = 16 << 30;

/// Everything that a model is made of.
pub(super) struct ModelFiles {
    pub graph: Graph,
    pub facts: GraphFacts,
    /// Why this graph and not another.
    pub graph_reason: &'static str,
    pub vocabulary: Vocabulary,
    pub config: Config,
    pub tokenizer_config: TokenizerConfig,
    pub settings: Settings,
    /// The lines of `warmup.txt`.
    pub frequent_texts: Vec<String>,
    /// SHA-256 over the graph and its weights.
    pub graph_digest: [u8; 32],
    /// SHA-256 over the files that decide an answer.
    pub digest: [u8; 32],
}

pub(super) enum Graph {
    Memory(&'static [u8]),
    File(PathBuf),
}

impl Graph {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Memory(_) => "built in".into(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// Where the tokenizer comes from, in order of preference.
pub(super) enum Vocabulary {
    /// `tokenizer.json`: everything.
    Tokenizer(Cow<'static, [u8]>),
    /// `vocab.txt` of a BERT model.
    WordPiece(String),
    /// `vocab.json` and `merges.txt` of a GPT-2 or RoBERTa model.
    ByteLevelBpe { vocab: String, merges: String },
}

/// Reads the whole folder; the graph is only looked into, and opened by the runtime later.
pub(super) fn read(path: &Path, recall: &FactsCache) -> Result<ModelFiles, Error> {
    let folder = Folder::open(path)?;
    let settings_text = folder.text("local-model.toml")?.unwrap_or_default();
    let settings = Settings::parse(&path.join("local-model.toml"), &settings_text)?;
    let (graph, graph_reason) = folder.graph(settings.graph.as_deref())?;
    let vocabulary = folder.vocabulary()?;
    let config = folder.text("config.json")?.ok_or_else(|| folder.missing("config.json", EXPORT))?;
    let tokenizer_config = folder.text("tokenizer_config.json")?.unwrap_or_else(|| "{}".into());
    let special_tokens = folder.text("special_tokens_map.json")?.unwrap_or_else(|| "{}".into());

    let (digest, facts) = recall.get_or_compute(&graph, || inspect(&graph))?;
    let mut graph_digest = Sha256::new_with_prefix(digest);
    let mut room = MAX_WEIGHTS_BYTES;
    for name in &facts.external_files {
        let path = folder.weights(&graph, name)?;
        room -= check_size(&path, room)?;
        graph_digest.update(
            recall.get_or_compute(&path, || digest::of_file(&path).map_err(|error| unreadable(&path, &error)))?,
        );
    }
    let graph_digest: [u8; 32] = graph_digest.finalize().into();
    let texts = match &vocabulary {
        Vocabulary::Tokenizer(bytes) => vec![&**bytes],
        Vocabulary::WordPiece(vocab) => vec![vocab.as_bytes()],
        Vocabulary::ByteLevelBpe { vocab, merges } => vec![vocab.as_bytes(), merges.as_bytes()],
    };
    let others = [&config, &tokenizer_config, &special_tokens, &settings_text].map(String::as_bytes);
    let digests = texts.into_iter().chain(others).map(Sha256::digest);
    let parts: Vec<_> = std::iter::once(graph_digest.into()).chain(digests).collect();
    let mut tokenizer_config: TokenizerConfig = json(&path.join("tokenizer_config.json"), &tokenizer_config)?;
    tokenizer_config.complete(json(&path.join("special_tokens_map.json"), &special_tokens)?);
    Ok(ModelFiles {
        config: Config::parse(&path.join("config.json"), &config, &settings)?,
        tokenizer_config,
        graph: Graph::File(graph),
        facts,
        graph_reason,
        vocabulary,
        settings,
        frequent_texts: lines(&folder.text("warmup.txt")?.unwrap_or_default()),
        graph_digest,
        digest: Sha256::digest(parts.concat()).into(),
    })
}

/// Digest of a graph file and what it says of itself.
fn inspect(graph: &Path) -> Result<([u8; 32], GraphFacts), Error> {
    check_size(graph, MAX_GRAPH_BYTES)?;
    let content = fs::read(graph).map_err(|error| unreadable(graph, &error))?;
    let invalid = |message| Error::FileInvalid { path: graph.into(), message, remedy: EXPORT.into() };
    let facts = graph::read(&content).map_err(invalid)?;
    Ok((Sha256::digest(&content).into(), facts))
}

struct Folder<'a> {
    path: &'a Path,
    /// Without links, to compare with.
    real: PathBuf,
}

impl<'a> Folder<'a> {
    fn open(path: &'a Path) -> Result<Self, Error> {
        match fs::canonicalize(path) {
            Ok(real) if real.is_dir() => Ok(Self { path, real }),
            Ok(_) => Err(Error::FolderIsFile { path: path.into() }),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::FolderMissing { folder: path.into() }),
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    fn missing(&self, file: &str, remedy: &str) -> Error {
        Error::FileMissing { folder: self.path.into(), file: file.into(), remedy: remedy.into() }
    }

    /// Path of a file that is there; `None` where it is not.
    ///
    /// # Errors
    /// `FileOutside` for a link that leads out of the folder.
    fn file(&self, name: impl AsRef<Path>) -> Result<Option<PathBuf>, Error> {
        let path = self.path.join(name);
        match fs::canonicalize(&path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(unreadable(&path, &error)),
            Ok(real) if !real.starts_with(&self.real) => {
                Err(Error::FileOutside { folder: self.path.into(), file: path.display().to_string() })
            }
            Ok(real) => Ok(real.is_file().then_some(path)),
        }
    }

    /// The text of a file, or `None` where there is none.
    fn text(&self, name: &str) -> Result<Option<String>, Error> {
        let Some(path) = self.file(name)? else { return Ok(None) };
        let limit = match name {
            "tokenizer.json" | "vocab.txt" | "vocab.json" | "merges.txt" => MAX_TOKENIZER_BYTES,
            "local-model.toml" | "warmup.txt" => MAX_OWN_BYTES,
            _ => MAX_CONFIG_BYTES,
        };
        check_size(&path, limit)?;
        fs::read_to_string(&path).map(Some).map_err(|error| unreadable(&path, &error))
    }

    /// The graph file and why it was chosen: the one that the settings name, the usual names, or the only one there is.
    fn graph(&self, named: Option<&str>) -> Result<(PathBuf, &'static str), Error> {
        if let Some(name) = named {
            if !inside(Path::new(name)) {
                return Err(Error::FileOutside { folder: self.path.into(), file: name.into() });
            }
            let path = self.file(name)?.ok_or_else(|| self.missing(name, "correct `graph` in `local-model.toml`"))?;
            return Ok((path, "named in local-model.toml"));
        }
        for name in ["model.onnx", "onnx/model.onnx"] {
            if let Some(path) = self.file(name)? {
                return Ok((path, "the usual name"));
            }
        }
        let mut found: Vec<String> = ["", "onnx"]
            .iter()
            .filter_map(|place| Some((place, fs::read_dir(self.path.join(place)).ok()?)))
            .flat_map(|(place, entries)| entries.flatten().map(move |entry| Path::new(place).join(entry.file_name())))
            .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
            .map(|path| path.display().to_string())
            .collect();
        found.sort();
        match found.as_slice() {
            [] => Err(self.missing("model.onnx", EXPORT)),
            [only] => {
                let path = self.file(only)?.ok_or_else(|| self.missing(only, EXPORT))?;
                Ok((path, "the only graph in the folder"))
            }
            _ => Err(Error::GraphAmbiguous { folder: self.path.into(), found }),
        }
    }

    /// A file of weights that the graph names, checked before the runtime would follow the name.
    fn weights(&self, graph: &Path, name: &str) -> Result<PathBuf, Error> {
        let outside = || Error::FileOutside { folder: self.path.into(), file: name.into() };
        let beside = graph.parent().and_then(|parent| parent.strip_prefix(self.path).ok()).ok_or_else(outside)?;
        // The runtime takes this name for an address in memory.
        if !inside(Path::new(name)) || name.contains("_ORT_MEM_ADDR_") {
            return Err(outside());
        }
        self.file(beside.join(name))?.ok_or_else(|| {
            self.missing(
                &beside.join(name).display().to_string(),
                "copy the graph's weights beside it; they belong together",
            )
        })
    }

    fn vocabulary(&self) -> Result<Vocabulary, Error> {
        if let Some(tokenizer) = self.text("tokenizer.json")? {
            return Ok(Vocabulary::Tokenizer(Cow::Owned(tokenizer.into_bytes())));
        }
        if let Some(vocab) = self.text("vocab.txt")? {
            return Ok(Vocabulary::WordPiece(vocab));
        }
        if let (Some(vocab), Some(merges)) = (self.text("vocab.json")?, self.text("merges.txt")?) {
            return Ok(Vocabulary::ByteLevelBpe { vocab, merges });
        }
        for name in ["spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "spm.model"] {
            if self.file(name)?.is_some() {
                return Err(self.missing("tokenizer.json", &format!("`{name}` alone cannot be read; {SAVE_TOKENIZER}")));
            }
        }
        Err(self.missing("tokenizer.json", SAVE_TOKENIZER))
    }
}

/// The size of a file that has at most `limit` bytes; asked before any of it is read.
fn check_size(path: &Path, limit: u64) -> Result<u64, Error> {
    let bytes = fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
    if bytes > limit {
        let message = format!("it has {bytes} bytes, expected at most {limit}");
        return Err(Error::FileInvalid {
            path: path.into(),
            message,
            remedy: "put in the file that belongs there".into(),
        });
    }
    Ok(bytes)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::FileUnreadable { path: path.into(), message: error.to_string() }
}

/// Whether a path names something below, without leaving on the way.
fn inside(path: &Path) -> bool {
    path.components().count() > 0 && path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// Texts of a `warmup.txt`: one a line, blank lines left out.
pub(super) fn lines(content: &str) -> Vec<String> {
    content.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}
