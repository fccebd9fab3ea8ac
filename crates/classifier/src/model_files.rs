//! Reads all files of a model folder and computes the digests that identify the model.
//!
//! The graph is inspected here and opened by the runtime later. Paths are resolved in `folder`.

use std::fs;
use std::path::{Path, PathBuf};

use cache_dir::digest;
use cache_dir::facts::FactsCache;
use onnx_facts::GraphFacts;
use sha2::{Digest, Sha256};

use crate::config::{Config, Settings};
use crate::error::{EXPORT, Error};
use crate::folder::{Folder, Vocabulary, check_size, unreadable};
use crate::language::{Languages, card_languages};
use crate::tokenizer_config::TokenizerConfig;

/// Protobuf's limit. Larger models keep their weights in files next to the graph.
const MAX_GRAPH_BYTES: u64 = 2 << 30;
/// Limit for all weights next to a graph. They are read once for their digest, and a classifier
/// fast enough to use is far smaller.
const MAX_WEIGHTS_BYTES: u64 = 16 << 30;

/// The content of a model folder.
pub(crate) struct ModelFiles {
    pub graph: Graph,
    pub facts: GraphFacts,
    /// Why this graph was chosen, for people.
    pub graph_reason: &'static str,
    pub vocabulary: Vocabulary,
    pub config: Config,
    pub tokenizer_config: TokenizerConfig,
    pub settings: Settings,
    /// The languages that the settings name, otherwise the card.
    pub languages: Option<Languages>,
    /// The lines of `warmup.txt`.
    pub frequent_texts: Vec<String>,
    /// SHA-256 over the graph and its weights.
    pub graph_digest: [u8; 32],
    /// SHA-256 over all files that determine a prediction.
    pub digest: [u8; 32],
}

pub(crate) enum Graph {
    #[cfg_attr(not(feature = "builtin-model"), expect(dead_code, reason = "only the built-in model is in memory"))]
    Memory(&'static [u8]),
    File(PathBuf),
}

impl Graph {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Memory(_) => "built in".into(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

impl ModelFiles {
    /// Reads the folder at `path`. Large files that have not changed since the last start are found
    /// in `facts_cache` and not read again.
    pub(crate) fn read(path: &Path, facts_cache: &FactsCache) -> Result<Self, Error> {
        let folder = Folder::open(path)?;
        let settings_text = folder.text("local-model.toml")?.unwrap_or_default();
        let settings = Settings::parse(&path.join("local-model.toml"), &settings_text)?;
        let (graph, graph_reason) = folder.graph(settings.graph.as_deref())?;
        let (digest, facts) = facts_cache.get_or_compute(&graph, || inspect(&graph))?;
        let takes_text = facts.interface.takes_text;
        let has_words = settings.vocabulary.is_some();
        let vocabulary = if takes_text { Vocabulary::Text } else { folder.vocabulary(has_words)? };
        let is_optional = takes_text || has_words;
        let config = folder.text("config.json")?.or_else(|| is_optional.then(|| "{}".into()));
        let config = config.ok_or_else(|| folder.missing("config.json", EXPORT))?;
        let tokenizer_config = folder.text("tokenizer_config.json")?.unwrap_or_else(|| "{}".into());
        let special_tokens = folder.text("special_tokens_map.json")?.unwrap_or_else(|| "{}".into());

        let mut graph_digest = Sha256::new_with_prefix(digest);
        let mut weights_left = MAX_WEIGHTS_BYTES;
        for name in &facts.external_files {
            let weights = folder.weights(&graph, name)?;
            weights_left -= check_size(&weights, weights_left)?;
            let digest = || digest::of_file(&weights).map_err(|error| unreadable(&weights, &error));
            graph_digest.update(facts_cache.get_or_compute(&weights, digest)?);
        }
        let graph_digest: [u8; 32] = graph_digest.finalize().into();
        let texts = [&config, &tokenizer_config, &special_tokens, &settings_text].map(String::as_bytes);
        let digest = combine(&graph_digest, vocabulary.files().into_iter().chain(texts));
        Ok(Self {
            config: Config::parse(&path.join("config.json"), &config, &settings, &facts.interface.labels)?,
            tokenizer_config: TokenizerConfig::parse(path, &tokenizer_config, &special_tokens)?,
            graph: Graph::File(graph),
            facts,
            graph_reason,
            vocabulary,
            languages: match &settings.languages {
                Some(codes) => Languages::parse(codes.iter().map(String::as_str)),
                // A card is for people, so that one that cannot be read is no error.
                None => Languages::parse(card_languages(&folder.text("README.md").ok().flatten().unwrap_or_default())),
            },
            settings,
            frequent_texts: parse_warmup(&folder.text("warmup.txt")?.unwrap_or_default()),
            graph_digest,
            digest,
        })
    }
}

/// Returns what the configuration and the settings of the folder at `path` say.
pub(crate) fn read_config(path: &Path) -> Result<(Config, Settings), Error> {
    let folder = Folder::open(path)?;
    let settings = folder.text("local-model.toml")?.unwrap_or_default();
    let settings = Settings::parse(&path.join("local-model.toml"), &settings)?;
    let config = folder.text("config.json")?.ok_or_else(|| folder.missing("config.json", EXPORT))?;
    Ok((Config::parse(&path.join("config.json"), &config, &settings, &[])?, settings))
}

fn combine<'a>(first: &[u8; 32], files: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hasher = Sha256::new_with_prefix(first);
    files.for_each(|file| hasher.update(Sha256::digest(file)));
    hasher.finalize().into()
}

/// Returns the digest of a graph file and the facts that it declares.
fn inspect(graph: &Path) -> Result<([u8; 32], GraphFacts), Error> {
    check_size(graph, MAX_GRAPH_BYTES)?;
    let content = fs::read(graph).map_err(|error| unreadable(graph, &error))?;
    let invalid = |message| Error::FileInvalid { path: graph.into(), message, remedy: EXPORT.into() };
    let facts = GraphFacts::parse(&content).map_err(invalid)?;
    Ok((Sha256::digest(&content).into(), facts))
}

/// Returns the texts of a `warmup.txt`: one per line, without blank lines.
pub(crate) fn parse_warmup(content: &str) -> Vec<String> {
    content.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}
