//! Reading a model folder: which files are there, and what they say. No file of the folder is executed.
//!
//! The layout is Hugging Face's export; what the texts and numbers in it mean is decided in `tokenizer` and `activation`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::error::Error;

const EXPORT: &str = "export the model again with `optimum-cli export onnx --model YOUR_MODEL FOLDER`";

/// Everything that a model is made of.
pub(super) struct ModelFiles {
    pub graph: Graph,
    pub precision: &'static str,
    /// `tokenizer.json`.
    pub tokenizer: Cow<'static, [u8]>,
    pub config: Config,
    pub tokenizer_config: TokenizerConfig,
    pub settings: Settings,
    /// The lines of `warmup.txt`.
    pub frequent_texts: Vec<String>,
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

/// What `config.json` says that matters here.
pub(super) struct Config {
    pub labels: Vec<Arc<str>>,
    pub problem_type: Option<String>,
    pub model_type: Option<String>,
    pub max_position_embeddings: Option<u64>,
    pub pad_token_id: Option<u64>,
}

#[derive(Deserialize)]
struct RawConfig {
    id2label: Option<BTreeMap<String, String>>,
    num_labels: Option<usize>,
    problem_type: Option<String>,
    model_type: Option<String>,
    max_position_embeddings: Option<u64>,
    pad_token_id: Option<u64>,
}

/// What `tokenizer_config.json` says that matters here.
#[derive(Default, Deserialize)]
pub(super) struct TokenizerConfig {
    /// 10^30 stands for "no limit" in files that transformers wrote, which no integer type holds.
    pub model_max_length: Option<f64>,
    pub truncation_side: Option<String>,
}

/// `local-model.toml`: what the owner of the folder adds to the export.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub description: Option<String>,
    /// The graph file, where the folder has several.
    pub graph: Option<String>,
    pub threshold: Option<f32>,
    #[serde(default)]
    pub overflow: Overflow,
}

/// What happens to a text that is longer than the model's limit.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Overflow {
    /// The beginning is read, as transformers does with `truncation=True`; the answer says so.
    #[default]
    Head,
    /// The text is refused.
    Error,
}

/// Reads everything but the graph's own content.
pub(super) fn read(folder: &Path) -> Result<ModelFiles, Error> {
    if !folder.is_dir() {
        return Err(Error::FolderMissing { folder: folder.into() });
    }
    let settings: Settings = match text(&folder.join("local-model.toml"))? {
        Some(content) => toml::from_str(&content).map_err(|error| Error::FileInvalid {
            path: folder.join("local-model.toml"),
            message: error.message().into(),
            remedy: "see models/README.md for its keys".into(),
        })?,
        None => Settings::default(),
    };
    let graph = graph(folder, settings.graph.as_deref())?;
    let missing = |file: &str, remedy: &str| Error::FileMissing {
        folder: folder.into(),
        file: file.into(),
        remedy: remedy.into(),
    };
    let tokenizer = text(&folder.join("tokenizer.json"))?.ok_or_else(|| {
        missing("tokenizer.json", "write it with `AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)` in Python")
    })?;
    let config = text(&folder.join("config.json"))?.ok_or_else(|| missing("config.json", EXPORT))?;
    let tokenizer_config = text(&folder.join("tokenizer_config.json"))?.unwrap_or_else(|| "{}".into());
    let warmup = text(&folder.join("warmup.txt"))?.unwrap_or_default();

    let content = content(&graph)?;
    let digest = digest(&[&content, tokenizer.as_bytes(), config.as_bytes(), tokenizer_config.as_bytes()], &settings);
    Ok(ModelFiles {
        precision: precision(&content),
        graph: Graph::File(graph),
        tokenizer: Cow::Owned(tokenizer.into_bytes()),
        config: parse_config(&folder.join("config.json"), &config)?,
        tokenizer_config: parse(&folder.join("tokenizer_config.json"), &tokenizer_config)?,
        settings,
        frequent_texts: lines(&warmup),
        digest,
    })
}

/// The graph file: the one that the settings name, `model.onnx`, `onnx/model.onnx`, or the only other one there is.
fn graph(folder: &Path, named: Option<&str>) -> Result<PathBuf, Error> {
    let missing = |file: &str| Error::FileMissing { folder: folder.into(), file: file.into(), remedy: EXPORT.into() };
    if let Some(name) = named {
        let path = folder.join(name);
        let inside = Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        return if inside && path.is_file() { Ok(path) } else { Err(missing(name)) };
    }
    for name in ["model.onnx", "onnx/model.onnx"] {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    let mut found: Vec<PathBuf> = [folder.to_owned(), folder.join("onnx")]
        .iter()
        .filter_map(|place| fs::read_dir(place).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx") && path.is_file())
        .collect();
    found.sort();
    match found.len() {
        0 => Err(missing("model.onnx")),
        1 => Ok(found.remove(0)),
        _ => Err(Error::GraphAmbiguous {
            folder: folder.into(),
            found: found.iter().map(|path| path.strip_prefix(folder).unwrap_or(path).display().to_string()).collect(),
        }),
    }
}

fn content(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| Error::FileUnreadable { path: path.into(), message: error.to_string() })
}

/// The text of a file, or `None` where there is none.
fn text(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::FileUnreadable { path: path.into(), message: error.to_string() }),
    }
}

pub(super) fn parse<T: DeserializeOwned>(path: &Path, content: &str) -> Result<T, Error> {
    serde_json::from_str(content).map_err(|error| Error::FileInvalid {
        path: path.into(),
        message: error.to_string(),
        remedy: EXPORT.into(),
    })
}

pub(super) fn parse_config(path: &Path, content: &str) -> Result<Config, Error> {
    let raw: RawConfig = parse(path, content)?;
    let invalid = |message: String| Error::FileInvalid {
        path: path.into(),
        message,
        remedy: "correct `id2label`, which maps each score's number to its name".into(),
    };
    let labels: Vec<Arc<str>> = match raw.id2label {
        // transformers' own default where the file says nothing is two labels.
        None => (0..raw.num_labels.unwrap_or(2)).map(|number| format!("LABEL_{number}").into()).collect(),
        Some(names) => {
            let mut numbered = BTreeMap::new();
            for (number, name) in names {
                let parsed: usize = number.parse().map_err(|_| invalid(format!("label number `{number}`")))?;
                numbered.insert(parsed, name);
            }
            if numbered.is_empty() || numbered.keys().copied().ne(0..numbered.len()) {
                return Err(invalid("`id2label` is empty or skips a number".into()));
            }
            numbered.into_values().map(Arc::from).collect()
        }
    };
    Ok(Config {
        labels,
        problem_type: raw.problem_type,
        model_type: raw.model_type,
        max_position_embeddings: raw.max_position_embeddings,
        pad_token_id: raw.pad_token_id,
    })
}

/// Texts of a `warmup.txt`: one a line, blank lines left out.
pub(super) fn lines(content: &str) -> Vec<String> {
    content.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// SHA-256 over each part with its length, so that no two different sets of parts look the same.
pub(super) fn digest(parts: &[&[u8]], settings: &Settings) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.update([settings.overflow as u8]);
    hasher.finalize().into()
}

/// What the weights are, by the names of operators and types that only such graphs contain.
pub(super) fn precision(graph: &[u8]) -> &'static str {
    let has = |name: &[u8]| memchr::memmem::find(graph, name).is_some();
    if has(b"DynamicQuantizeLinear") || has(b"MatMulInteger") || has(b"QLinearMatMul") { "int8" } else { "fp32" }
}
