//! Everything that can go wrong between a model folder and a prediction.
//!
//! Variants hold facts; `Display` says what was found, what was expected, and what to do.

use std::path::PathBuf;

/// A failure. Cheap to clone, because one failed load answers many calls.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error(
        "text has {tokens} tokens but the model takes at most {limit} and is set to refuse longer ones; shorten the text or split it"
    )]
    TextTooLong { tokens: usize, limit: usize },
    #[error(
        "`text_pair` was given but model `{model}` reads one text here, as taggers do and NLI models with `labels`; leave it out"
    )]
    PairNotTaken { model: String },
    #[error(
        "`labels` was given but model `{model}` has its own; leave it out, or use an NLI model (one with a label that begins with `entail`)"
    )]
    LabelsNotTaken { model: String },
    #[error("there is not enough memory for a text of {bytes} bytes; send a shorter one, or close other programs")]
    NoMemory { bytes: usize },
    #[error(
        "model `{model}` could not run this text: {message}; other texts are still answered, and `local-model-mcp check` shows whether the model is sound"
    )]
    Inference { model: String, message: String },
    #[error(
        "the text could not be tokenized: {message}; send it without unusual characters, or check `tokenizer.json`"
    )]
    Tokenization { message: String },
    #[error("model folder `{folder}` does not exist; check the path given with `--model`")]
    FolderMissing { folder: PathBuf },
    #[error("`{path}` is a file, expected a model folder; give `--model` the folder that holds it")]
    FolderIsFile { path: PathBuf },
    #[error(
        "model folder `{folder}` names `{file}`, which lies outside it, and nothing outside is read; copy the file into the folder (`cp -rL` follows links)"
    )]
    FileOutside { folder: PathBuf, file: String },
    #[error("model folder `{folder}` has no `{file}`; {remedy}")]
    FileMissing { folder: PathBuf, file: String, remedy: String },
    #[error(
        "model folder `{folder}` has several graphs and none called `model.onnx`: {}; name one with `graph = \"…\"` in `local-model.toml`",
        list(found)
    )]
    GraphAmbiguous { folder: PathBuf, found: Vec<String> },
    #[error("`{path}` cannot be read: {message}; check its permissions, and that it is text in UTF-8 if it should be")]
    FileUnreadable { path: PathBuf, message: String },
    #[error("`{path}` is not what it should be: {message}; {remedy}")]
    FileInvalid { path: PathBuf, message: String, remedy: String },
    #[error(
        "the graph's input is `{input}`; expected input_ids, attention_mask, token_type_ids and position_ids, each [batch, tokens] of int64 or int32: export the model for text-classification or token-classification"
    )]
    InputUnknown { input: String },
    #[error(
        "the graph's outputs are {}; expected `logits`, or a single one, of shape [batch, labels] or [batch, tokens, labels] in fp32 or fp16: export the model for text-classification or token-classification",
        list(found)
    )]
    LogitsMissing { found: Vec<String> },
    #[error(
        "`config.json` says the model is a `{architecture}`; expected one for sequence classification or token classification whose graph was exported for that task: fine-tune or choose such a model, and export it with the matching `--task`"
    )]
    OtherTask { architecture: String },
    #[error(
        "the model's limit is {limit} tokens but {special} special ones go around every text; raise `max_tokens` in `local-model.toml`, or export the graph for longer texts"
    )]
    NoRoom { limit: usize, special: usize },
    #[error(
        "the tokenizer has {tokens} tokens but the model embeds {embedded} (`vocab_size`); tokenizer and graph belong to different models, export both again"
    )]
    TokenizerLarger { tokens: usize, embedded: usize },
    #[error(
        "{named} labels are named but the graph gives {given} scores; correct `id2label`, or name all with `labels = […]` in `local-model.toml`"
    )]
    LabelCount { named: usize, given: usize },
    #[error("`{path}` cannot be written: {message}; what was there before is untouched")]
    NotWritten { path: PathBuf, message: String },
    #[error("no operating system thread could be started: {message}; lower `--workers` or close other programs")]
    Thread { message: String },
    #[error("the call was cancelled")]
    Cancelled,
    #[error(transparent)]
    Runtime(#[from] onnx_runtime::Error),
}

/// Names in backticks, separated by commas.
fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
