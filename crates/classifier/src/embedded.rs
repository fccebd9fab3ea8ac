//! Reads the built-in model, which is part of the executable.

use std::borrow::Cow;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::config::{Config, Settings, parse_json};
use crate::error::Error;
use crate::folder::Vocabulary;
use crate::model_files::{Graph, ModelFiles, parse_warmup};

/// Returns what reading the folder would return, without touching the disk.
pub(crate) fn files() -> Result<ModelFiles, Error> {
    use builtin_model::{CONFIG, GRAPH, GRAPH_FACTS, GRAPH_SHA256, SETTINGS, TOKENIZER, TOKENIZER_CONFIG, WARMUP};
    let folder = Path::new("models/sentiment");
    let settings = Settings::parse(&folder.join("local-model.toml"), SETTINGS)?;
    let facts = parse_json(&folder.join("model.onnx"), GRAPH_FACTS)?;
    let texts = [GRAPH_SHA256, TOKENIZER, CONFIG, TOKENIZER_CONFIG, SETTINGS].map(str::as_bytes);
    let digests: Vec<_> = texts.into_iter().map(Sha256::digest).collect();
    Ok(ModelFiles {
        graph: Graph::Memory(GRAPH),
        graph_digest: Sha256::digest(GRAPH_SHA256).into(),
        facts,
        graph_reason: "no --model given",
        vocabulary: Vocabulary::Tokenizer(Cow::Borrowed(TOKENIZER.as_bytes())),
        config: Config::parse(&folder.join("config.json"), CONFIG, &settings)?,
        tokenizer_config: parse_json(&folder.join("tokenizer_config.json"), TOKENIZER_CONFIG)?,
        settings,
        frequent_texts: parse_warmup(WARMUP),
        digest: Sha256::digest(digests.concat()).into(),
    })
}
