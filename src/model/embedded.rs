//! The default model, `models/sentiment`, inside the executable.

use std::borrow::Cow;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::model::config::{Config, Settings, json};
use crate::model::folder::{self, Graph, ModelFiles, Vocabulary};

macro_rules! sentiment {
    ($file:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/models/sentiment/", $file)
    };
}

static GRAPH: &[u8] = include_bytes!(sentiment!("model.onnx"));
/// Learnt by the build: reading the graph here would bring 10 MB of the executable into memory, for nothing where a
/// prepared one is used.
const GRAPH_SHA256: &str = env!("BUILT_IN_GRAPH_SHA256");
const GRAPH_FACTS: &str = env!("BUILT_IN_GRAPH_FACTS");
static TOKENIZER: &str = include_str!(sentiment!("tokenizer.json"));
static CONFIG: &str = include_str!(sentiment!("config.json"));
static TOKENIZER_CONFIG: &str = include_str!(sentiment!("tokenizer_config.json"));
static SETTINGS: &str = include_str!(sentiment!("local-model.toml"));
static WARMUP: &str = include_str!(sentiment!("warmup.txt"));

/// The same as reading the folder gives, without a disk.
pub(super) fn files() -> Result<ModelFiles, Error> {
    let folder = Path::new("models/sentiment");
    let settings = Settings::parse(&folder.join("local-model.toml"), SETTINGS)?;
    let facts = json(&folder.join("model.onnx"), GRAPH_FACTS)?;
    let texts = [GRAPH_SHA256, TOKENIZER, CONFIG, TOKENIZER_CONFIG, SETTINGS].map(str::as_bytes);
    let digests: Vec<_> = texts.into_iter().map(Sha256::digest).collect();
    Ok(ModelFiles {
        graph: Graph::Memory(GRAPH),
        graph_digest: Sha256::digest(GRAPH_SHA256).into(),
        facts,
        graph_reason: "no --model given",
        vocabulary: Vocabulary::Tokenizer(Cow::Borrowed(TOKENIZER.as_bytes())),
        config: Config::parse(&folder.join("config.json"), CONFIG, &settings)?,
        tokenizer_config: json(&folder.join("tokenizer_config.json"), TOKENIZER_CONFIG)?,
        settings,
        frequent_texts: folder::lines(WARMUP),
        digest: Sha256::digest(digests.concat()).into(),
    })
}
