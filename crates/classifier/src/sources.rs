//! Where each fact about a model comes from, for people who wonder why a folder is read as it is.

use crate::activation::Activation;
use crate::folder::Vocabulary;
use crate::model_files::ModelFiles;
use crate::prediction::Task;
use crate::scoring::Scoring;

/// A fact, and the file or the rule that it comes from.
pub type Source = (&'static str, &'static str);

/// Returns the sources of a classifier or a tagger that reads at most `max_tokens`.
pub(crate) fn sources(files: &ModelFiles, scoring: &Scoring, max_tokens: Option<usize>) -> Vec<Source> {
    let mut sources = vec![("labels_from", labels(files)), ("task_from", task(files, scoring))];
    sources.push(("tokenizer", tokenizer(&files.vocabulary)));
    sources.extend(max_tokens.map(|limit| ("max_tokens_from", limit_source(files, limit as u64))));
    if files.languages.is_some() {
        let is_set = files.settings.languages.is_some();
        let source = if is_set { "`languages` in local-model.toml" } else { "`language` in README.md" };
        sources.push(("languages_from", source));
    }
    sources
}

fn labels(files: &ModelFiles) -> &'static str {
    if files.settings.labels.is_some() {
        "`labels` in local-model.toml"
    } else if files.config.is_named {
        "`id2label` in config.json"
    } else if files.graph.facts.interface.labels.is_empty() {
        "no file: they are numbered"
    } else {
        "the graph"
    }
}

fn task(files: &ModelFiles, scoring: &Scoring) -> &'static str {
    match scoring.task {
        Task::Tagging => "the graph gives a row for each token",
        _ if scoring.binary.is_some() => "the graph gives one number for two labels",
        _ if files.config.problem_type.is_some() => "`problem_type` in config.json",
        Task::MultiLabel if files.settings.activation == Some(Activation::Sigmoid) => {
            "`activation` in local-model.toml"
        }
        Task::MultiLabel if files.config.labels.len() == 1 => "a single label has its own probability",
        Task::MultiLabel => "the graph's scores are independent",
        Task::Regression => "the graph gives one number and no label",
        Task::SingleLabel => "of several labels one applies",
    }
}

fn tokenizer(vocabulary: &Vocabulary) -> &'static str {
    match vocabulary {
        Vocabulary::Tokenizer(_) => "tokenizer.json",
        Vocabulary::WordPiece(_) => "vocab.txt, read as BERT's WordPiece",
        Vocabulary::ByteLevelBpe { .. } => "vocab.json and merges.txt, read as byte-level BPE",
        Vocabulary::Words(_) => "vocab.txt, read as words, as local-model.toml says",
        Vocabulary::Text => "none, because the graph takes the text",
    }
}

fn limit_source(files: &ModelFiles, limit: u64) -> &'static str {
    let written = files.tokenizer_config.model_max_length.map(|length| length as u64);
    if files.settings.max_tokens == Some(limit) {
        "`max_tokens` in local-model.toml"
    } else if files.graph.length.is_some_and(|length| length as u64 == limit) {
        "`length` in local-model.toml"
    } else if written == Some(limit) {
        "`model_max_length` in tokenizer_config.json"
    } else if files.config.max_position_embeddings.is_some_and(|positions| positions >= limit) {
        "`max_position_embeddings` in config.json, or the graph"
    } else {
        "the graph, or the default"
    }
}
