//! Reads the built-in models, which are part of the executable.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use builtin_model::{BuiltIn, TOKENIZER, TOKENIZER_CONFIG};
use sha2::{Digest, Sha256};

use crate::config::{Config, parse_json};
use crate::error::Error;
use crate::folder::Vocabulary;
use crate::language::Languages;
use crate::model_files::{Graph, GraphFiles, ModelFiles, parse_warmup};
use crate::settings::Settings;

/// Returns the files in the executable that are seldom read once the cache directory has what is made
/// of them: the runtime's library and the graphs of the built-in models.
#[must_use]
pub fn large_files() -> [&'static [u8]; 3] {
    [onnx_runtime::built_in(), builtin_model::SENTIMENT.graph, builtin_model::ENCODER.graph]
}

/// Returns what reading the model's folder would return, without touching the disk.
pub(crate) fn files(model: &BuiltIn) -> Result<ModelFiles, Error> {
    let folder = Path::new(model.folder);
    let (config, settings) = config(model)?;
    let facts = parse_json(&folder.join("model.onnx"), model.graph_facts)?;
    let texts = [model.graph_sha256, TOKENIZER, model.config, TOKENIZER_CONFIG, model.settings].map(str::as_bytes);
    let digests: Vec<_> = texts.into_iter().map(Sha256::digest).collect();
    Ok(ModelFiles {
        graph: GraphFiles {
            content: Graph::Memory(model.graph),
            digest: Sha256::digest(model.graph_sha256).into(),
            facts,
            names: BTreeMap::new(),
            length: None,
        },
        decision: None,
        graph_reason: "no --model given",
        vocabulary: Vocabulary::Tokenizer(Cow::Borrowed(TOKENIZER.as_bytes())),
        config,
        tokenizer_config: parse_json(&folder.join("tokenizer_config.json"), TOKENIZER_CONFIG)?,
        languages: Languages::parse(settings.languages.iter().flatten().map(String::as_str)),
        settings,
        frequent_texts: parse_warmup(model.warmup),
        digest: Sha256::digest(digests.concat()).into(),
    })
}

/// Returns what the model's configuration and its settings say.
pub(crate) fn config(model: &BuiltIn) -> Result<(Config, Settings), Error> {
    let folder = Path::new(model.folder);
    let settings = Settings::parse(&folder.join("local-model.toml"), model.settings)?;
    Ok((Config::parse(&folder.join("config.json"), model.config, &settings, &[])?, settings))
}
