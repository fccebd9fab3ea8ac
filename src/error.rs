//! Every way in which this program can fail, and the words for it.
//!
//! Variants hold facts; `Display` holds the text: what was found, what was expected, the way out. The protocol's view of
//! an error (tool error or protocol error) is decided in `mcp`, the exit status in `cli`.

use std::path::PathBuf;
use std::sync::Arc;

/// Whose problem an error is, for the `outcome` field of the log and for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The caller asked for something that cannot be answered as asked.
    Caller,
    /// The model, its folder or the runtime library cannot be used.
    Model,
    /// There was no time or no room left for this call.
    Overload,
    /// The caller withdrew the call.
    Cancelled,
    /// A defect, ours or the runtime's.
    Internal,
}

/// A failure. Cheap to clone, because one failed load answers many calls.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("`text` is empty or blank; send the text to classify")]
    TextBlank,
    #[error(
        "text, pair and labels have {bytes} bytes together but the server takes at most {limit}; send a part of it, or split it into several calls"
    )]
    TextTooLarge { bytes: usize, limit: usize },
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
    #[error("`explain` was given but model `{model}` is a tagger: its entities show what it went by; leave it out")]
    ExplainNotTaken { model: String },
    #[error("`labels` has {found} entries, {blank} of them blank; expected 1 to {limit}, none blank")]
    Labels { found: usize, blank: usize, limit: usize },
    #[error("no model is called `{name}`; known: {}", list(known))]
    UnknownModel { name: String, known: Vec<String> },
    #[error("`top_k` is {found} but model `{model}` has {labels} labels; use 1 to {labels}")]
    TopK { model: String, found: usize, labels: usize },
    #[error("the arguments do not fit the tool: {problem}; it takes {takes}")]
    Arguments { problem: String, takes: String },
    #[error(
        "`texts` has {found} entries; expected 1 to {limit}; for more put them into a file and use local_model_predict_file"
    )]
    Batch { found: usize, limit: usize },

    #[error(transparent)]
    Tables(#[from] tables::Error),
    #[error("`{path}` changed at row {row} while or since it was classified; run it again with `overwrite`")]
    FileChanged { path: PathBuf, row: u64 },
    #[error(
        "the file has {} that the model does not know: {}; it knows {}; rename those in the file, or the model's with `labels` in local-model.toml",
        count(unknown.len(), "label"), shown(unknown), shown(known)
    )]
    LabelsUnknown { unknown: Vec<String>, known: Vec<String> },
    #[error("the right answer is {found}; expected {expected}")]
    BadGold { found: String, expected: String },
    #[error("no row has a right answer in column `{column}`; name the column that has them with `--label-column`")]
    NothingLabelled { column: String },
    #[error(
        "the file has columns of the name `{name}` already, as an output of this program has; classify the file it was made from"
    )]
    OutputColumns { name: String },
    #[error("`{path}` cannot be written: {message}; what was there before is untouched")]
    NotWritten { path: PathBuf, message: String },
    #[error("`{path}` was begun with another model or other arguments; use the same, or start again with `overwrite`")]
    ResumeOther { path: PathBuf },
    #[error("there is no output `{path}` to work on; classify the file first")]
    OutputMissing { path: PathBuf },
    #[error("`{path}` has no column `prediction`; expected an output that this program wrote")]
    NotAnOutput { path: PathBuf },
    #[error("row {row} cannot be corrected: {found}; expected {expected}")]
    Correction { row: String, found: String, expected: String },
    #[error("the file could not be worked on: {message}; please report this with the kind of file")]
    JobFailed { message: String },

    #[error(
        "model `{model}` is still loading and this call's {deadline_ms} ms are over; call again, or raise `--deadline-ms`"
    )]
    StillLoading { model: String, deadline_ms: u64 },
    #[error("model `{model}` did not answer within {deadline_ms} ms; send a shorter text, or raise `--deadline-ms`")]
    Deadline { model: String, deadline_ms: u64 },
    #[error("{limit} texts are waiting for model `{model}` already; send fewer at a time, or call again in a moment")]
    Overloaded { model: String, limit: usize },
    #[error(
        "model `{model}` is still making tokens of {left} texts that nobody waits for any more; call again in a moment; if it stays so, look at the patterns in `tokenizer.json`"
    )]
    StillBusy { model: String, left: usize },
    #[error("there is not enough memory for a text of {bytes} bytes; send a shorter one, or close other programs")]
    NoMemory { bytes: usize },
    #[error("the call was cancelled")]
    Cancelled,
    #[error("model `{model}` cannot be used: {cause}")]
    ModelFailed { model: String, cause: Arc<Error> },
    #[error(
        "it failed on {failures} calls in a row and was taken out of service, the last time so: {last}; call again to have it loaded anew"
    )]
    OutOfService { failures: u32, last: Box<Error> },
    #[error(
        "model `{model}` crashed on this text ({message}); other texts are still answered; please report this with the model"
    )]
    Panicked { model: String, message: String },
    #[error(
        "loading model `{model}` crashed ({message}); check its files with `local-model-mcp check`, and please report this with the model"
    )]
    LoadPanicked { model: String, message: String },
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

    #[error(
        "ONNX Runtime cannot be opened from `{path}`: {message}; expected a library of version 1.22 or newer for this system; correct `ORT_DYLIB_PATH`, or leave it out to use the built-in one"
    )]
    LibraryUnusable { path: PathBuf, message: String },
    #[error(
        "the built-in ONNX Runtime can neither be unpacked into `{cache_dir}` ({file}) nor opened from memory ({memory}); point `--cache-dir` at a directory that you can write to, or set `ORT_DYLIB_PATH`"
    )]
    LibraryNowhere { cache_dir: PathBuf, file: String, memory: String },
    #[error("no operating system thread could be started: {message}; lower `--workers` or close other programs")]
    Thread { message: String },
}

impl Error {
    /// Whose problem it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Tables(_)
            | Self::TextBlank
            | Self::TextTooLarge { .. }
            | Self::TextTooLong { .. }
            | Self::PairNotTaken { .. }
            | Self::LabelsNotTaken { .. }
            | Self::ExplainNotTaken { .. }
            | Self::Labels { .. }
            | Self::UnknownModel { .. }
            | Self::TopK { .. }
            | Self::Arguments { .. }
            | Self::Batch { .. }
            | Self::FileChanged { .. }
            | Self::LabelsUnknown { .. }
            | Self::BadGold { .. }
            | Self::NothingLabelled { .. }
            | Self::OutputColumns { .. }
            | Self::NotWritten { .. }
            | Self::ResumeOther { .. }
            | Self::OutputMissing { .. }
            | Self::NotAnOutput { .. }
            | Self::Correction { .. } => Kind::Caller,
            Self::StillLoading { .. }
            | Self::Deadline { .. }
            | Self::Overloaded { .. }
            | Self::StillBusy { .. }
            | Self::NoMemory { .. } => Kind::Overload,
            Self::Cancelled => Kind::Cancelled,
            Self::Panicked { .. }
            | Self::Inference { .. }
            | Self::Tokenization { .. }
            | Self::JobFailed { .. }
            | Self::Thread { .. } => Kind::Internal,
            Self::ModelFailed { .. }
            | Self::OutOfService { .. }
            | Self::LoadPanicked { .. }
            | Self::FolderMissing { .. }
            | Self::FolderIsFile { .. }
            | Self::FileOutside { .. }
            | Self::FileMissing { .. }
            | Self::GraphAmbiguous { .. }
            | Self::FileUnreadable { .. }
            | Self::FileInvalid { .. }
            | Self::InputUnknown { .. }
            | Self::LogitsMissing { .. }
            | Self::OtherTask { .. }
            | Self::TokenizerLarger { .. }
            | Self::NoRoom { .. }
            | Self::LabelCount { .. }
            | Self::LibraryUnusable { .. }
            | Self::LibraryNowhere { .. } => Kind::Model,
        }
    }
}

impl Kind {
    /// The word for it in logs and counters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller_error",
            Self::Model => "model_error",
            Self::Overload => "overload",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal_error",
        }
    }
}

/// Names in backticks, comma between.
fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Names that a person or an assistant can read; of very many, the first.
fn shown(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let more = names.len().saturating_sub(SHOWN);
    let first = list(&names[..names.len() - more]);
    if more > 0 { format!("{first} and {more} more") } else { first }
}

fn count(number: usize, name: &str) -> String {
    if number == 1 { format!("1 {name}") } else { format!("{number} {name}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_lower_case_without_a_final_stop() {
        let all = [
            Error::TextBlank,
            Error::UnknownModel { name: "tone".into(), known: vec!["sentiment".into(), "topic".into()] },
            Error::Overloaded { model: "sentiment".into(), limit: 8 },
            Error::LabelCount { named: 2, given: 3 },
        ];
        for text in all.map(|error| error.to_string()) {
            assert!(!text.ends_with('.') && !text.starts_with(|c: char| c.is_uppercase()), "{text}");
        }
    }

    #[test]
    fn an_unknown_model_lists_the_known_ones() {
        let error = Error::UnknownModel { name: "tone".into(), known: vec!["sentiment".into(), "topic".into()] };
        assert_eq!(error.to_string(), "no model is called `tone`; known: `sentiment`, `topic`");
    }

    #[test]
    fn a_failed_model_carries_its_cause_to_the_caller() {
        let cause = Arc::new(Error::FolderMissing { folder: "/m".into() });
        let text = Error::ModelFailed { model: "mine".into(), cause }.to_string();
        assert_eq!(
            text,
            "model `mine` cannot be used: model folder `/m` does not exist; check the path given with `--model`"
        );
    }
}
