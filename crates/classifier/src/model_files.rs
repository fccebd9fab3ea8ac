//! Reads all files of a model folder and computes the digests that identify the model.
//!
//! The graph is inspected here and opened by the runtime later. Paths are resolved in `folder`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cache_dir::digest;
use cache_dir::facts::FactsCache;
use onnx_facts::GraphFacts;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::decision::{DecisionFiles, Family};
use crate::error::{EXPORT, Error};
use crate::folder::{Folder, Vocabulary, check_size, unreadable};
use crate::language::{Languages, card_languages};
use crate::settings::Settings;
use crate::tokenizer_config::TokenizerConfig;

/// Protobuf's limit. Larger models keep their weights in files next to the graph.
pub(crate) const MAX_GRAPH_BYTES: u64 = 2 << 30;
/// Limit for all weights next to a graph. They are read once for their digest, and a classifier
/// fast enough to use is far smaller.
const MAX_WEIGHTS_BYTES: u64 = 16 << 30;

/// The names that a graph usually has.
pub(crate) const USUAL_GRAPHS: [&str; 2] = ["model.onnx", "onnx/model.onnx"];

/// The content of a model folder.
pub(crate) struct ModelFiles {
    pub graph: GraphFiles,
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
    /// What makes it a decision model, if it is one.
    pub decision: Option<DecisionFiles>,
    /// SHA-256 over all files that determine a prediction.
    pub digest: [u8; 32],
}

/// A graph, and what it declares.
pub(crate) struct GraphFiles {
    pub content: Graph,
    pub facts: GraphFacts,
    /// SHA-256 over the graph and its weights.
    pub digest: [u8; 32],
    /// The usual names of inputs that the graph calls otherwise.
    pub names: BTreeMap<String, String>,
    /// The length to which texts are padded, if the settings name one.
    pub length: Option<usize>,
}

pub(crate) enum Graph {
    #[cfg_attr(not(feature = "builtin-model"), expect(dead_code, reason = "only the built-in model is in memory"))]
    Memory(&'static [u8]),
    /// A copy of a graph in memory with other weights.
    Tuned(Arc<[u8]>),
    File(PathBuf),
}

impl Graph {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Memory(_) => "built in".into(),
            Self::Tuned(_) => "tuned".into(),
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
        let family = Family::of(&folder)?;
        check_settings(path, &settings, family.is_some())?;
        let named = settings.graph.as_deref();
        let (graph, graph_reason) = match &family {
            Some(family) => family.graph(&folder, named)?,
            None => folder.graph(named, &USUAL_GRAPHS)?,
        };
        let graph = GraphFiles {
            names: settings.inputs.clone(),
            length: settings.vocabulary.as_ref().and_then(|words| words.length),
            ..GraphFiles::read(&folder, graph, facts_cache)?
        };
        let has_words = settings.vocabulary.is_some();
        let takes_text = graph.facts.interface.takes_text;
        let subfolder = family.as_ref().and_then(|_| folder.subfolder("tokenizer"));
        let tokenizer_folder = subfolder.as_ref().unwrap_or(&folder);
        let vocabulary = if takes_text { Vocabulary::Text } else { tokenizer_folder.vocabulary(has_words)? };
        let tokenizer_config = tokenizer_folder.text("tokenizer_config.json")?.unwrap_or_else(|| "{}".into());
        let special_tokens = tokenizer_folder.text("special_tokens_map.json")?.unwrap_or_else(|| "{}".into());
        let (config_text, config) = match &family {
            Some(family) => (family.content.clone(), Config::of_decisions(&settings)),
            None => {
                let is_optional = takes_text || has_words;
                let text = folder.text("config.json")?.or_else(|| is_optional.then(|| "{}".into()));
                let text = text.ok_or_else(|| folder.missing("config.json", EXPORT))?;
                let labels = &graph.facts.interface.labels;
                let config = Config::parse(&path.join("config.json"), &text, &settings, labels)?;
                (text, config)
            }
        };
        let decision = family.map(|family| DecisionFiles::read(&folder, family, &settings, facts_cache)).transpose()?;
        let scorer = decision.iter().flat_map(|decision| &decision.scorer).map(|scorer| scorer.digest.as_slice());
        let texts = [&config_text, &tokenizer_config, &special_tokens, &settings_text].map(String::as_bytes);
        let digest = combine(&graph.digest, vocabulary.files().into_iter().chain(texts).chain(scorer));
        Ok(Self {
            tokenizer_config: TokenizerConfig::parse(tokenizer_folder.path(), &tokenizer_config, &special_tokens)?,
            config,
            graph,
            graph_reason,
            vocabulary,
            languages: match &settings.languages {
                Some(codes) => Languages::parse(codes.iter().map(String::as_str)),
                // A card is for people, so that one that cannot be read is no error.
                None => Languages::parse(card_languages(&folder.text("README.md").ok().flatten().unwrap_or_default())),
            },
            settings,
            frequent_texts: parse_warmup(&folder.text("warmup.txt")?.unwrap_or_default()),
            decision,
            digest,
        })
    }
}

impl GraphFiles {
    /// Reads the declarations of a graph in a model folder, and its digest and that of its weights.
    pub(crate) fn read(folder: &Folder<'_>, graph: PathBuf, facts_cache: &FactsCache) -> Result<Self, Error> {
        let (digest, facts) = facts_cache.get_or_compute(&graph, || inspect(&graph))?;
        let mut hasher = Sha256::new_with_prefix(digest);
        let mut weights_left = MAX_WEIGHTS_BYTES;
        for name in &facts.external_files {
            let weights = folder.weights(&graph, name)?;
            weights_left -= check_size(&weights, weights_left)?;
            let digest = || digest::of_file(&weights).map_err(|error| unreadable(&weights, &error));
            hasher.update(facts_cache.get_or_compute(&weights, digest)?);
        }
        let (content, digest) = (Graph::File(graph), hasher.finalize().into());
        Ok(Self { content, facts, digest, names: BTreeMap::new(), length: None })
    }
}

/// Refuses settings for decision models in other folders.
fn check_settings(path: &Path, settings: &Settings, is_decision: bool) -> Result<(), Error> {
    let described = settings.labels.as_ref().is_some_and(|labels| !labels.descriptions.is_empty());
    let set = [("question", settings.question.is_some()), ("kind", settings.kind.is_some()), ("labels", described)];
    match set.into_iter().find(|(_, is_set)| *is_set && !is_decision) {
        Some((key, _)) => Err(Error::FileInvalid {
            path: path.join("local-model.toml"),
            message: format!("`{key}` is for decision models (`labels` as a table too), and this folder has none"),
            remedy: "leave it out".into(),
        }),
        None => Ok(()),
    }
}

/// Returns what the configuration and the settings of the folder at `path` say.
pub(crate) fn read_config(path: &Path) -> Result<(Config, Settings), Error> {
    let folder = Folder::open(path)?;
    let settings = folder.text("local-model.toml")?.unwrap_or_default();
    let settings = Settings::parse(&path.join("local-model.toml"), &settings)?;
    if Family::of(&folder)?.is_some() {
        return Ok((Config::of_decisions(&settings), settings));
    }
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
