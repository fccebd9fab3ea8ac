//! The default model, `models/sentiment`, inside the executable.

use std::borrow::Cow;
use std::path::Path;

use crate::error::Error;
use crate::model::folder::{self, Graph, ModelFiles, Settings};

macro_rules! sentiment {
    ($file:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/models/sentiment/", $file)
    };
}

static GRAPH: &[u8] = include_bytes!(sentiment!("model.onnx"));
static TOKENIZER: &str = include_str!(sentiment!("tokenizer.json"));
static CONFIG: &str = include_str!(sentiment!("config.json"));
static TOKENIZER_CONFIG: &str = include_str!(sentiment!("tokenizer_config.json"));
static SETTINGS: &str = include_str!(sentiment!("local-model.toml"));
static WARMUP: &str = include_str!(sentiment!("warmup.txt"));

/// The same as reading the folder gives, without a disk.
pub(super) fn files() -> Result<ModelFiles, Error> {
    let settings: Settings = toml::from_str(SETTINGS).map_err(|error| Error::FileInvalid {
        path: "models/sentiment/local-model.toml".into(),
        message: error.message().into(),
        remedy: "build the program again".into(),
    })?;
    Ok(ModelFiles {
        graph: Graph::Memory(GRAPH),
        precision: folder::precision(GRAPH),
        tokenizer: Cow::Borrowed(TOKENIZER.as_bytes()),
        config: folder::parse_config(Path::new("models/sentiment/config.json"), CONFIG)?,
        tokenizer_config: folder::parse(Path::new("models/sentiment/tokenizer_config.json"), TOKENIZER_CONFIG)?,
        digest: folder::digest(
            &[GRAPH, TOKENIZER.as_bytes(), CONFIG.as_bytes(), TOKENIZER_CONFIG.as_bytes()],
            &settings,
        ),
        settings,
        frequent_texts: folder::lines(WARMUP),
    })
}
