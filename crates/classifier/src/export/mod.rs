//! Writes encoders and a linear head as one folder in the layout of Hugging Face's exporters. This
//! crate reads it, and so do transformers with optimum and any ONNX runtime.

mod graph;

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::config::parse_json;
use crate::encoder::{Encoder, EncoderLocation};
use crate::encoder_pool::EncoderPool;
use crate::error::Error;
use crate::folder::{Folder, Vocabulary};
use crate::model_files::Graph;
use crate::new_folder::NewFolder;
use graph::EncoderGraph;

/// Encoders that turn this text into the same tokens read every text alike, if they also have the
/// same vocabulary.
const PROBE: &str = "Ünïcode CAFÉ, 日本 [SEP] don't\tx\u{301}";

/// A linear classifier of texts' vectors.
#[derive(Clone, Debug)]
pub struct LinearHead {
    /// One row per label, as wide as the vectors of all encoders together.
    pub weights: Vec<Vec<f32>>,
    /// One number per label.
    pub bias: Vec<f32>,
    /// The names of the labels.
    pub labels: Vec<String>,
    /// Answers with a lower confidence are marked uncertain.
    pub threshold: Option<f32>,
    /// One or two sentences about the model.
    pub description: String,
}

/// Writes the folder of a classifier that computes softmax(weights · v + bias), where v has the
/// vectors of all `encoders`, one after the other. A temperature is applied by dividing weights and
/// bias by it.
///
/// The graph takes padded batches. In dynamic int8, the scores of a text in a batch differ slightly
/// from those of the text alone.
///
/// # Errors
/// `HeadUnfit` if the head does not fit the encoders, `NotOneGraph` if the encoders have
/// different tokenizers or an unusual graph, `NotWritten` if `out` has content or cannot be written,
/// any error of the encoders.
pub fn export_with_head(encoders: &[&EncoderPool], head: &LinearHead, out: &Path) -> Result<(), Error> {
    let LinearHead { weights, bias, labels, .. } = head;
    let opened = encoders.iter().map(|pool| pool.encoder()).collect::<Result<Vec<_>, _>>()?;
    let apart = |message: &str| Error::NotOneGraph { message: message.to_owned() };
    let first = opened.first().ok_or_else(|| apart("there are none"))?;
    let width = opened.iter().map(|encoder| encoder.dimensions).sum();
    let shape = (labels.len(), bias.len());
    if shape != (weights.len(), weights.len()) || weights.iter().any(|row| row.len() != width) {
        let found = weights.first().map_or(0, Vec::len);
        return Err(Error::HeadUnfit { rows: weights.len(), found, labels: labels.len(), width });
    }
    for encoder in &opened[1..] {
        let same = first.files.model.vocabulary.files() == encoder.files.model.vocabulary.files();
        if !same || first.tokenize(PROBE)?.runs != encoder.tokenize(PROBE)?.runs {
            return Err(apart("they have different tokenizers"));
        }
    }
    let sources = opened.iter().map(|encoder| encoder.files.graph_bytes()).collect::<Result<Vec<_>, _>>()?;
    let graphs = encoders.iter().zip(&opened).zip(&sources);
    let graphs: Vec<EncoderGraph<'_>> =
        graphs.map(|((pool, encoder), model)| encoder_graph(pool.location(), encoder, model)).collect();
    let graph = graph::join(&graphs, weights, bias).map_err(|message| Error::NotOneGraph { message })?;
    let mut texts = texts(encoders[0].location(), first, labels)?;
    texts.push(("local-model.toml", settings(head).into_bytes()));
    let weights = opened.iter().flat_map(|encoder| external(encoder));
    let folder = NewFolder::create(out)?;
    folder.write("model.onnx", graph)?;
    texts.iter().try_for_each(|(name, text)| folder.write(name, text))?;
    weights.into_iter().try_for_each(|from| folder.copy(&from, from.file_name().unwrap_or_default()))?;
    folder.publish()
}

fn encoder_graph<'a>(location: &EncoderLocation, encoder: &Encoder, model: &'a [u8]) -> EncoderGraph<'a> {
    EncoderGraph {
        model,
        output: encoder.output.clone(),
        pooling: encoder.files.pooling,
        // The sentiment model's own output is called `logits` too.
        prefix: if encoder.output.name == "state" { "state/" } else { "" },
        // Texts run alone here, so attention in the built-in graphs needs no mask.
        add_mask: !matches!(location.untuned(), EncoderLocation::Folder(_)),
    }
}

/// Returns the files of weights next to an encoder's graph.
fn external(encoder: &Encoder) -> impl Iterator<Item = std::path::PathBuf> {
    let files = &encoder.files.model;
    let names = files.graph.facts.external_files.iter();
    names.filter_map(|name| match &files.graph.content {
        Graph::File(graph) => Some(graph.with_file_name(name)),
        Graph::Memory(_) | Graph::Tuned(_) => None,
    })
}

/// Returns the settings that only this program reads.
fn settings(head: &LinearHead) -> String {
    let mut settings = toml_edit::DocumentMut::new();
    settings["description"] = toml_edit::value(&head.description);
    if let Some(threshold) = head.threshold {
        settings["threshold"] = toml_edit::value(f64::from(threshold));
    }
    settings.to_string()
}

/// Returns the configuration and the tokenizer's files, by name.
fn texts(
    location: &EncoderLocation,
    encoder: &Encoder,
    labels: &[String],
) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
    let (folder, config, tokenizer_config, special_tokens) = match location.untuned() {
        #[cfg(feature = "builtin-model")]
        EncoderLocation::BuiltIn | EncoderLocation::SentimentState => (
            Path::new(builtin_model::ENCODER.folder),
            Some(builtin_model::ENCODER.config.to_owned()),
            Some(builtin_model::TOKENIZER_CONFIG.to_owned()),
            None,
        ),
        EncoderLocation::Folder(path) => {
            let folder = Folder::open(path)?;
            let text = |name| folder.text(name);
            (path.as_path(), text("config.json")?, text("tokenizer_config.json")?, text("special_tokens_map.json")?)
        }
        EncoderLocation::Tuned { .. } => return Ok(Vec::new()),
    };
    let object = |name: &str, text: Option<String>| -> Result<Map<String, Value>, Error> {
        parse_json(&folder.join(name), text.as_deref().unwrap_or("{}"))
    };
    let mut config = object("config.json", config)?;
    if let Some(name) = config.get("architectures").and_then(|names| names[0].as_str()) {
        let kind = name.strip_suffix("ForMaskedLM").or_else(|| name.strip_suffix("Model")).unwrap_or("");
        let name = if kind.is_empty() { name.to_owned() } else { format!("{kind}ForSequenceClassification") };
        config.insert("architectures".into(), json!([name]));
    }
    let numbered = labels.iter().enumerate();
    let names: Map<_, _> = numbered.clone().map(|(number, label)| (number.to_string(), json!(label))).collect();
    let numbers: Map<_, _> = numbered.map(|(number, label)| (label.clone(), json!(number))).collect();
    config.insert("id2label".into(), names.into());
    config.insert("label2id".into(), numbers.into());
    config.insert("problem_type".into(), json!("single_label_classification"));
    let mut tokenizer_config = object("tokenizer_config.json", tokenizer_config)?;
    tokenizer_config.insert("model_max_length".into(), json!(encoder.max_tokens()));

    let pretty = |object: Map<_, _>| format!("{:#}\n", Value::Object(object)).into_bytes();
    let mut texts = vec![("config.json", pretty(config)), ("tokenizer_config.json", pretty(tokenizer_config))];
    texts.extend(special_tokens.map(|text| ("special_tokens_map.json", text.into_bytes())));
    match &encoder.files.model.vocabulary {
        Vocabulary::Tokenizer(file) => texts.push(("tokenizer.json", file.to_vec())),
        Vocabulary::WordPiece(vocab) => texts.push(("vocab.txt", vocab.clone().into_bytes())),
        Vocabulary::ByteLevelBpe { vocab, merges } => {
            texts.push(("vocab.json", vocab.clone().into_bytes()));
            texts.push(("merges.txt", merges.clone().into_bytes()));
        }
        Vocabulary::Words(_) | Vocabulary::Text => {}
    }
    Ok(texts)
}
