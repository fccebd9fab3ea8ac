//! All errors between a model folder and a prediction.
//!
//! Variants hold facts. `Display` says what was found, what was expected, and what to do about it.

use std::path::PathBuf;

/// A failure. Cheap to clone, because one failed load answers many calls.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error(
        "the text has {}, expected at most {limit}; shorten or split it, or change `overflow` in `local-model.toml`",
        count(*tokens, "token")
    )]
    TextTooLong { tokens: usize, limit: usize },
    #[error(
        "`text_pair` is set, but model `{model}` reads a single text, as taggers and NLI models with `labels` do; leave it out"
    )]
    PairNotTaken { model: String },
    #[error(
        "`labels` is set, but model `{model}` has its own; leave it out, or use an NLI model (one with a label that begins with `entail`)"
    )]
    LabelsNotTaken { model: String },
    #[error(
        "{} only for decision models, and model `{model}` is none; leave it out",
        if arguments.len() == 1 { format!("{} is", arguments[0]) } else { format!("{} are", arguments.join(" and ")) }
    )]
    QuestionNotTaken { model: String, arguments: Vec<&'static str> },
    #[error("model `{model}` is a decision model: {message}")]
    QuestionUnfit { model: String, message: String },
    #[error("not enough memory for a text of {bytes} bytes; send a shorter one, or close other programs")]
    NoMemory { bytes: usize },
    #[error("model `{model}` could not run this text: {message}; try another text, or check the model")]
    Inference { model: String, message: String },
    #[error("the text cannot be tokenized: {message}; remove unusual characters, or check `tokenizer.json`")]
    Tokenization { message: String },
    #[error("the call was cancelled")]
    Cancelled,

    #[error("model folder `{folder}` does not exist; check the path")]
    FolderMissing { folder: PathBuf },
    #[error("`{path}` is a file, expected a model folder; give the folder that contains it")]
    FolderIsFile { path: PathBuf },
    #[error(
        "model folder `{folder}` names `{file}`, which lies outside it; copy the file into the folder (`cp -rL` follows links)"
    )]
    FileOutside { folder: PathBuf, file: String },
    #[error("model folder `{folder}` has no `{file}`; {remedy}")]
    FileMissing { folder: PathBuf, file: String, remedy: String },
    #[error(
        "model folder `{folder}` has several graphs and no `model.onnx`: {}; name one with `graph = \"…\"` in `local-model.toml`",
        list(found)
    )]
    GraphAmbiguous { folder: PathBuf, found: Vec<String> },
    #[error("cannot read `{path}`: {message}; check its permissions, and that text files are UTF-8")]
    FileUnreadable { path: PathBuf, message: String },
    #[error("`{path}` is invalid: {message}; {remedy}")]
    FileInvalid { path: PathBuf, message: String, remedy: String },
    #[error("cannot write `{path}`: {message}; the previous content is unchanged")]
    NotWritten { path: PathBuf, message: String },
    #[error("the graph of `{folder}` cannot be optimized: {reason}")]
    NotOptimizable { folder: PathBuf, reason: String },

    #[error(
        "the graph has the {}, expected {expected} of a decision model; export it again with the exporter of its package",
        list(found)
    )]
    DecisionGraph { found: Vec<String>, expected: &'static str },
    #[error("the graph has no input `input_ids`; {EXPORT_TASK}")]
    InputIdsMissing,
    #[error(
        "the graph has the input `{input}`; expected input_ids, attention_mask, token_type_ids and position_ids, each [batch, tokens] of int64 or int32; {EXPORT_TASK}, or say what it is with `inputs = {{ NAME = \"input_ids\" }}` in `local-model.toml`"
    )]
    InputUnknown { input: String },
    #[error(
        "`vocab.txt` has none of the entries {}; name the right one with `{key}` in the table `vocabulary` of `local-model.toml`",
        list(names)
    )]
    EntryMissing { names: Vec<String>, key: &'static str },
    #[error(
        "the graph's input `{input}` has a fixed batch of {batch}, expected any size or 1; export it with `dynamic_axes={{\"{input}\": {{0: \"batch\", 1: \"tokens\"}}}}` in `torch.onnx.export`, for each input"
    )]
    BatchFixed { input: String, batch: i64 },
    #[error(
        "the graph has the inputs {}; expected one of strings, of shape [texts] or [texts, 1]; export it with `initial_types=[(\"text\", StringTensorType([None, 1]))]`",
        list(found)
    )]
    TextInputUnknown { found: Vec<String> },
    #[error(
        "the graph has the outputs {}; expected `logits`, or a single one, of shape [batch, labels] or [batch, tokens, labels] in fp32 or fp16; {EXPORT_TASK}",
        list(found)
    )]
    LogitsMissing { found: Vec<String> },
    #[error(
        "the graph has the outputs {}; expected `sentence_embedding`, `last_hidden_state`, or a single one, of shape [batch, numbers] or [batch, tokens, numbers] in fp32 or fp16; {EXPORT_ENCODER}",
        list(found)
    )]
    VectorMissing { found: Vec<String> },
    #[error(
        "`config.json` declares a `{architecture}`; expected sequence or token classification, and a graph exported for the same task; choose or fine-tune such a model, and export it with the matching `--task`"
    )]
    OtherTask { architecture: String },
    #[error(
        "`config.json` declares a `{architecture}`, which has no head, so the exporter added a random one; fine-tune it for classification first; if the graph has a head that you trained, remove `architectures` from `config.json`"
    )]
    HeadUntrained { architecture: String },
    #[error(
        "the model reads at most {}, but every text is surrounded by {}; raise `max_tokens` in `local-model.toml`, or export the graph for longer texts",
        count(*limit, "token"), count(*special, "special token")
    )]
    TokenLimitTooLow { limit: usize, special: usize },
    #[error(
        "the tokenizer has {} but the model embeds {embedded} (`vocab_size`); they belong to different models: export both again",
        count(*tokens, "token")
    )]
    TokenizerLarger { tokens: usize, embedded: usize },
    #[error(
        "the folder names {}, but the graph gives {}; correct `id2label`, or name every label with `labels = […]` in `local-model.toml`",
        count(*named, "label"), count(*given, "score")
    )]
    LabelCount { named: usize, given: usize },

    #[error(
        "the graph answers a text with `{chosen}`, but gives another label the highest score; export it again, with its scores in the order of its labels"
    )]
    LabelOrder { chosen: String },

    #[error(
        "the head has {} of {}, but the encoders need {labels} of {width}; fit it on their vectors alone, without words and characters",
        count(*rows, "row"), count(*found, "number")
    )]
    HeadUnfit { rows: usize, found: usize, labels: usize, width: usize },
    #[error("the encoders and the head cannot become one graph: {message}; fit the head on another encoder")]
    NotOneGraph { message: String },

    #[error("cannot start a thread: {message}; close other programs")]
    Thread { message: String },
    #[error(transparent)]
    Runtime(#[from] onnx_runtime::Error),
}

impl Error {
    pub(crate) fn inference(model: &str, message: &str) -> Self {
        Self::Inference { model: model.to_owned(), message: message.trim().to_owned() }
    }
}

/// The remedy for folders whose export is incomplete or damaged.
pub(crate) const EXPORT: &str = "export the model again with `optimum-cli export onnx --model YOUR_MODEL --task text-classification FOLDER` \
     (or token-classification)";
/// The remedy for folders without a usable tokenizer.
pub(crate) const SAVE_TOKENIZER: &str = "write it with `python -c \"from transformers import AutoTokenizer as T; T.from_pretrained('DIR').save_pretrained('DIR')\"`";
const EXPORT_TASK: &str = "export the model for text-classification or token-classification";
const EXPORT_ENCODER: &str =
    "export a sentence encoder with `optimum-cli export onnx --model YOUR_MODEL --task feature-extraction FOLDER`";

/// Lists names in backticks.
fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One error of each variant.
    fn every_error() -> Vec<Error> {
        let text = || "x".to_owned();
        let path = || PathBuf::from("/m");
        vec![
            Error::TextTooLong { tokens: 1, limit: 1 },
            Error::PairNotTaken { model: text() },
            Error::QuestionNotTaken { model: text(), arguments: vec!["`kind`"] },
            Error::QuestionUnfit { model: text(), message: text() },
            Error::LabelsNotTaken { model: text() },
            Error::NoMemory { bytes: 1 },
            Error::Inference { model: text(), message: text() },
            Error::Tokenization { message: text() },
            Error::Cancelled,
            Error::FolderMissing { folder: path() },
            Error::FolderIsFile { path: path() },
            Error::FileOutside { folder: path(), file: text() },
            Error::FileMissing { folder: path(), file: text(), remedy: text() },
            Error::GraphAmbiguous { folder: path(), found: vec![text(), text()] },
            Error::FileUnreadable { path: path(), message: text() },
            Error::FileInvalid { path: path(), message: text(), remedy: text() },
            Error::NotWritten { path: path(), message: text() },
            Error::NotOptimizable { folder: path(), reason: text() },
            Error::InputIdsMissing,
            Error::InputUnknown { input: text() },
            Error::EntryMissing { names: vec![text()], key: "unknown" },
            Error::BatchFixed { input: text(), batch: 2 },
            Error::TextInputUnknown { found: vec![text()] },
            Error::LogitsMissing { found: vec![text()] },
            Error::VectorMissing { found: vec![text()] },
            Error::OtherTask { architecture: text() },
            Error::HeadUntrained { architecture: text() },
            Error::LabelOrder { chosen: text() },
            Error::TokenLimitTooLow { limit: 1, special: 2 },
            Error::TokenizerLarger { tokens: 2, embedded: 1 },
            Error::LabelCount { named: 1, given: 3 },
            Error::HeadUnfit { rows: 2, found: 3, labels: 2, width: 4 },
            Error::NotOneGraph { message: text() },
            Error::Thread { message: text() },
        ]
    }

    #[test]
    fn every_text_is_short_lower_case_and_without_a_final_stop() {
        for text in every_error().iter().map(Error::to_string) {
            assert!(!text.ends_with('.') && !text.starts_with(char::is_uppercase), "{text}");
            let found = text.split(';').next().unwrap();
            assert!(found.split_whitespace().count() <= 20, "{found}");
        }
    }

    #[test]
    fn counts_have_the_right_plural() {
        let text = Error::LabelCount { named: 1, given: 3 }.to_string();
        assert!(text.starts_with("the folder names 1 label, but the graph gives 3 scores; "), "{text}");
        let text = Error::TextTooLong { tokens: 1, limit: 1 }.to_string();
        assert!(text.starts_with("the text has 1 token, expected at most 1; "), "{text}");
    }
}
