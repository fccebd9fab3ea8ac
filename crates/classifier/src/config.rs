//! Parses `config.json`.
//!
//! `folder` finds and reads the files; `vocabulary` interprets the tokenizer files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{EXPORT, Error};
use crate::settings::Settings;

/// `config.json`.
#[derive(Default)]
pub(crate) struct Config {
    pub labels: Vec<Arc<str>>,
    /// Whether a file names the labels.
    pub is_named: bool,
    /// Position of the entailment label of an NLI model.
    pub entailment: Option<usize>,
    pub problem_type: Option<String>,
    pub model_type: Option<String>,
    /// First of `architectures`.
    pub architecture: Option<String>,
    pub vocab_size: Option<usize>,
    pub max_position_embeddings: Option<u64>,
    pub pad_token_id: Option<u64>,
}

/// Parsed leniently: these files come from ten years of exporters, and only the fields that are
/// used must fit.
#[derive(Deserialize)]
struct RawConfig {
    id2label: Option<BTreeMap<String, Value>>,
    /// In file order, which decides between several entailment labels.
    label2id: Option<Map<String, Value>>,
    num_labels: Option<usize>,
    problem_type: Option<String>,
    model_type: Option<String>,
    architectures: Option<Vec<String>>,
    vocab_size: Option<usize>,
    /// Some files write -1 for "none".
    max_position_embeddings: Option<i64>,
    n_positions: Option<i64>,
    pad_token_id: Option<i64>,
}

/// More labels than any classifier has. A larger number would only waste memory.
const MAX_LABELS: usize = 1 << 16;

/// Longer names are no labels. Each answer repeats one, and the assistant reads it.
const MAX_LABEL_BYTES: usize = 256;

impl Config {
    /// Returns what a folder says that needs no `config.json`: a decision model's, whose labels come
    /// with each call or from the settings.
    pub(crate) fn of_decisions(settings: &Settings) -> Self {
        let names = settings.labels.iter().flat_map(|labels| &labels.names);
        Self { labels: names.map(|label| label.as_str().into()).collect(), is_named: true, ..Self::default() }
    }

    /// Parses `config.json`. The labels that the graph names apply if no file names any.
    pub(crate) fn parse(
        path: &Path,
        content: &str,
        settings: &Settings,
        graph_labels: &[String],
    ) -> Result<Self, Error> {
        let raw: RawConfig = parse_json(path, content)?;
        let labels = match &settings.labels {
            Some(labels) => Ok(labels.names.iter().map(|label| label.as_str().into()).collect()),
            None if raw.id2label.is_none() && !graph_labels.is_empty() => {
                Ok(graph_labels.iter().map(|label| label.as_str().into()).collect())
            }
            None => labels(&raw),
        };
        let labels = labels.and_then(check_lengths).map_err(|message| Error::FileInvalid {
            path: path.into(),
            message,
            remedy: "correct `id2label`, which maps each score's position to its name, or name every label with \
                     `labels = […]` in `local-model.toml`"
                .into(),
        })?;
        Ok(Self {
            entailment: entailment(&raw, settings, &labels),
            is_named: settings.labels.is_some() || raw.id2label.is_some(),
            labels,
            problem_type: raw.problem_type,
            model_type: raw.model_type,
            architecture: raw.architectures.and_then(|names| names.into_iter().next()),
            vocab_size: raw.vocab_size,
            max_position_embeddings: natural(raw.max_position_embeddings.or(raw.n_positions)),
            pad_token_id: natural(raw.pad_token_id),
        })
    }
}

fn labels(raw: &RawConfig) -> Result<Vec<Arc<str>>, String> {
    let Some(names) = &raw.id2label else {
        // transformers assumes two labels if the file names none.
        let count = raw.num_labels.unwrap_or(2);
        if !(1..=MAX_LABELS).contains(&count) {
            return Err(format!("`num_labels` is {count}, expected 1 to {MAX_LABELS}"));
        }
        return Ok((0..count).map(|number| format!("LABEL_{number}").into()).collect());
    };
    if names.len() > MAX_LABELS {
        return Err(format!("`id2label` names {} labels, expected at most {MAX_LABELS}", names.len()));
    }
    // The keys are strings, and "10" sorts before "2".
    let mut numbered: BTreeMap<usize, Arc<str>> = BTreeMap::new();
    for (key, name) in names {
        let number = key.parse().map_err(|_| format!("`id2label` has the key `{key}`, which is not a number"))?;
        let name = name.as_str().map_or_else(|| name.to_string().into(), Arc::from);
        numbered.insert(number, name);
    }
    if numbered.is_empty() || numbered.keys().copied().ne(0..numbered.len()) {
        return Err("`id2label` is empty or skips a number".into());
    }
    Ok(numbered.into_values().collect())
}

fn check_lengths(labels: Vec<Arc<str>>) -> Result<Vec<Arc<str>>, String> {
    match labels.iter().position(|label| label.len() > MAX_LABEL_BYTES) {
        Some(number) => {
            Err(format!("label {number} has {} bytes, expected at most {MAX_LABEL_BYTES}", labels[number].len()))
        }
        None => Ok(labels),
    }
}

/// Returns the number, or `None` if it is negative.
fn natural(number: Option<i64>) -> Option<u64> {
    number.and_then(|number| u64::try_from(number).ok())
}

/// Returns the position of the first label whose name starts with `entail`, ignoring case.
///
/// Like transformers, it looks in `label2id` if there is one, unless the owner named the labels.
fn entailment(raw: &RawConfig, settings: &Settings, labels: &[Arc<str>]) -> Option<usize> {
    let entails = |name: &str| name.to_lowercase().starts_with("entail");
    let number = match &raw.label2id {
        Some(numbers) if settings.labels.is_none() => {
            let (_, number) = numbers.iter().find(|(name, _)| entails(name))?;
            usize::try_from(number.as_u64()?).ok()?
        }
        _ => labels.iter().position(|name| entails(name))?,
    };
    (number < labels.len()).then_some(number)
}

/// Parses JSON, with an error that names the file.
pub(crate) fn parse_json<T: DeserializeOwned>(path: &Path, content: &str) -> Result<T, Error> {
    serde_json::from_str(content).map_err(|error| invalid_json(path, &error))
}

pub(crate) fn invalid_json(path: &Path, error: &serde_json::Error) -> Error {
    Error::FileInvalid { path: path.into(), message: error.to_string(), remedy: EXPORT.into() }
}

#[cfg(test)]
mod tests {
    use crate::tokenizer_config::TokenizerConfig;
    use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn config(content: &str) -> Result<Config, Error> {
        Config::parse(Path::new("config.json"), content, &Settings::default(), &[])
    }

    #[test]
    fn label_numbers_are_sorted_as_numbers() {
        let names: Vec<String> = (0..12).map(|number| format!("\"{number}\": \"l{number}\"")).collect();
        let labels = config(&format!("{{\"id2label\": {{{}}}}}", names.join(","))).unwrap().labels;
        assert_eq!((&*labels[2], &*labels[10]), ("l2", "l10"));
    }

    #[test]
    fn two_labels_are_the_default() {
        assert_eq!(config("{}").unwrap().labels, ["LABEL_0", "LABEL_1"].map(Arc::from));
    }

    #[test]
    fn huge_label_counts_are_refused() {
        let error = config(r#"{"id2label": null, "num_labels": 1000000000000}"#).err().unwrap().to_string();
        assert!(error.contains("`num_labels` is 1000000000000, expected 1 to 65536"), "{error}");
    }

    #[test]
    fn a_label_is_a_name_and_not_a_text() {
        let content = format!(r#"{{"id2label": {{"0": "short", "1": "{}"}}}}"#, "x".repeat(257));
        let error = config(&content).err().unwrap().to_string();
        assert!(error.contains("label 1 has 257 bytes, expected at most 256; correct `id2label`"), "{error}");
        let settings = Settings::parse(Path::new("x"), &format!("labels = [\"{}\"]", "x".repeat(257))).unwrap();
        assert!(Config::parse(Path::new("x"), "{}", &settings, &[]).is_err());
        assert_eq!(config(&content.replace("xx", "x")).unwrap().labels.len(), 2);
    }

    #[test]
    fn minus_one_means_none() {
        let config = config(r#"{"max_position_embeddings": -1, "n_positions": 5, "pad_token_id": -1}"#).unwrap();
        assert_eq!((config.max_position_embeddings, config.pad_token_id), (None, None));
    }

    #[test]
    fn settings_override_label_names() {
        let settings = Settings::parse(Path::new("x"), "labels = [\"good\", \"bad\"]").unwrap();
        let config = Config::parse(Path::new("x"), "{}", &settings, &["0".into(), "1".into()]).unwrap();
        assert_eq!(config.labels, ["good", "bad"].map(Arc::from));
    }

    #[test]
    fn labels_of_the_graph_apply_if_no_file_names_any() {
        let graph = ["no".to_owned(), "yes".into()];
        let labels = |content| Config::parse(Path::new("x"), content, &Settings::default(), &graph).unwrap().labels;
        assert_eq!(labels("{}"), ["no", "yes"].map(Arc::from));
        assert_eq!(labels(r#"{"id2label": {"0": "a", "1": "b"}}"#), ["a", "b"].map(Arc::from));
    }

    #[test]
    fn entailment_is_found_by_its_prefix() {
        let config =
            config(r#"{"id2label": {"0": "a", "1": "b"}, "label2id": {"x": 0, "entails": 1, "ENTAILMENT": 0}}"#);
        assert_eq!(config.unwrap().entailment, Some(1));
    }

    /// Arbitrary JSON, some of it under names that are used.
    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z0-9]{0,6}".prop_map(Value::from),
        ];
        let name = "id2label|label2id|num_labels|architectures|vocab_size|n_positions|unk_token|content|[0-9]";
        leaf.prop_recursive(3, 24, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((name, inner), 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_configuration_is_read_or_refused(value in json_value(), text in any::<String>()) {
            let path = Path::new("x");
            for content in [&value.to_string(), &text] {
                let _ = parse_json::<TokenizerConfig>(path, content);
                let _ = Settings::parse(path, content);
                if let Ok(read) = config(content) {
                    prop_assert!((1..=MAX_LABELS).contains(&read.labels.len()));
                    prop_assert!(read.entailment.is_none_or(|number| number < read.labels.len()));
                }
            }
        }

        #[test]
        fn labels_are_ordered_by_their_numbers(names in prop::collection::vec("[a-z]{1,5}", 1..40), turn in any::<usize>()) {
            let mut fields: Vec<_> = names.iter().enumerate().map(|(number, name)| (number.to_string(), Value::from(&**name))).collect();
            fields.rotate_left(turn % names.len());
            let written = serde_json::json!({ "id2label": Value::Object(fields.into_iter().collect()) });
            prop_assert_eq!(config(&written.to_string()).unwrap().labels, names.iter().map(|name| Arc::from(&**name)).collect::<Vec<Arc<str>>>());
        }
    }
}
