//! What the JSON and TOML files of a model folder say, as far as it matters here. Finding and reading them is `folder`'s.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::calibration::Fitted;
use crate::entities::Aggregation;
use crate::error::Error;
use crate::zero_shot::{self, Template};

/// `config.json`.
pub(super) struct Config {
    pub labels: Vec<Arc<str>>,
    /// Number of the label that says "follows from" in an NLI model.
    pub entailment: Option<usize>,
    pub problem_type: Option<String>,
    pub model_type: Option<String>,
    /// First of `architectures`.
    pub architecture: Option<String>,
    pub vocab_size: Option<usize>,
    pub max_position_embeddings: Option<u64>,
    pub pad_token_id: Option<u64>,
}

/// Parsed loosely: exporters of ten years wrote these files, and only what is read has to fit.
#[derive(Deserialize)]
struct RawConfig {
    id2label: Option<BTreeMap<String, Value>>,
    /// In the order of the file, which decides between several labels that mean entailment.
    label2id: Option<Map<String, Value>>,
    num_labels: Option<usize>,
    problem_type: Option<String>,
    model_type: Option<String>,
    architectures: Option<Vec<String>>,
    vocab_size: Option<usize>,
    /// Some files write -1 for none.
    max_position_embeddings: Option<i64>,
    n_positions: Option<i64>,
    pad_token_id: Option<i64>,
}

/// More labels than any classifier has; a file that names more was made to fill memory.
const MAX_LABELS: usize = 1 << 16;

/// `tokenizer_config.json`.
#[derive(Default, Deserialize)]
pub(super) struct TokenizerConfig {
    /// 10^30 stands for "no limit" in files that transformers wrote, which no integer type holds.
    pub model_max_length: Option<f64>,
    pub truncation_side: Option<String>,
    pub tokenizer_class: Option<String>,
    pub do_lower_case: Option<bool>,
    pub strip_accents: Option<bool>,
    pub tokenize_chinese_chars: Option<bool>,
    pub add_prefix_space: Option<bool>,
    pub trim_offsets: Option<bool>,
    pub unk_token: Option<SpecialToken>,
    pub pad_token: Option<SpecialToken>,
    pub cls_token: Option<SpecialToken>,
    pub sep_token: Option<SpecialToken>,
    pub bos_token: Option<SpecialToken>,
    pub eos_token: Option<SpecialToken>,
    pub mask_token: Option<SpecialToken>,
    pub additional_special_tokens: Option<Vec<SpecialToken>>,
}

/// A token, as plain text or with the flags that `tokenizer.json` repeats.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum SpecialToken {
    Plain(String),
    Full { content: String },
}

impl TokenizerConfig {
    /// Takes what is not named here from `special_tokens_map.json`, which older files keep beside.
    pub(super) fn complete(&mut self, map: Self) {
        let fields = [
            (&mut self.unk_token, map.unk_token),
            (&mut self.pad_token, map.pad_token),
            (&mut self.cls_token, map.cls_token),
            (&mut self.sep_token, map.sep_token),
            (&mut self.bos_token, map.bos_token),
            (&mut self.eos_token, map.eos_token),
            (&mut self.mask_token, map.mask_token),
        ];
        for (own, other) in fields {
            *own = own.take().or(other);
        }
        self.additional_special_tokens = self.additional_special_tokens.take().or(map.additional_special_tokens);
    }
}

impl SpecialToken {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Full { content: text } => text,
        }
    }
}

/// `local-model.toml`: what the owner of the folder adds to the export.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub description: Option<String>,
    /// The graph file, where the folder has several.
    pub graph: Option<String>,
    /// Names in the order of the scores, instead of those in `config.json`.
    pub labels: Option<Vec<Arc<str>>>,
    pub threshold: Option<f32>,
    pub calibration: Option<Fitted>,
    /// A lower token limit than the model's own.
    pub max_tokens: Option<u64>,
    #[serde(default)]
    pub overflow: Overflow,
    /// Taggers.
    #[serde(default)]
    pub aggregation: Aggregation,
    /// NLI models that are given labels.
    #[serde(default)]
    pub hypothesis_template: HypothesisTemplate,
    #[serde(default)]
    pub multi_label: bool,
}

/// What happens to a text that is longer than the model's limit.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Overflow {
    /// What transformers' `truncation=True` reads: the beginning, or the end where the tokenizer is set to cut on the left.
    #[default]
    Head,
    /// The beginning and the end, half of each.
    HeadTail,
    /// All of it, in overlapping windows.
    Windows,
    /// The text is refused.
    Error,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct HypothesisTemplate(pub Template);

impl TryFrom<String> for HypothesisTemplate {
    type Error = String;

    fn try_from(template: String) -> Result<Self, String> {
        Template::parse(&template).map(Self)
    }
}

impl Default for HypothesisTemplate {
    fn default() -> Self {
        Self(Template::parse(zero_shot::TEMPLATE).expect("the default template has its place"))
    }
}

impl Settings {
    pub(super) fn parse(path: &Path, content: &str) -> Result<Self, Error> {
        let invalid = |message: String| Error::FileInvalid {
            path: path.into(),
            message,
            remedy: "models/README.md in the source lists its keys".into(),
        };
        let settings: Self = toml::from_str(content).map_err(|error| invalid(error.message().into()))?;
        if let Some(threshold) = settings.threshold.filter(|threshold| !(0.0..=1.0).contains(threshold)) {
            return Err(invalid(format!("`threshold` is {threshold}, expected 0 to 1")));
        }
        if let Some(Fitted { temperature, .. }) = settings.calibration.as_ref().filter(|fitted| !fitted.usable()) {
            return Err(invalid(format!("`temperature` is {temperature}, expected more than 0 and at most 100")));
        }
        if settings.max_tokens == Some(0) || settings.labels.as_ref().is_some_and(Vec::is_empty) {
            return Err(invalid("`max_tokens` is 0 or `labels` is empty".into()));
        }
        Ok(settings)
    }
}

impl Config {
    pub(super) fn parse(path: &Path, content: &str, settings: &Settings) -> Result<Self, Error> {
        let raw: RawConfig = json(path, content)?;
        let labels = match &settings.labels {
            Some(labels) => labels.clone(),
            None => labels(&raw).map_err(|message| Error::FileInvalid {
                path: path.into(),
                message,
                remedy: "correct `id2label`, which maps each score's number to its name, or name all labels with \
                         `labels = […]` in `local-model.toml`"
                    .into(),
            })?,
        };
        Ok(Self {
            entailment: entailment(&raw, settings, &labels),
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
        // transformers' own default where the file says nothing is two labels.
        let count = raw.num_labels.unwrap_or(2);
        if !(1..=MAX_LABELS).contains(&count) {
            return Err(format!("`num_labels` is {count}, expected 1 to {MAX_LABELS}"));
        }
        return Ok((0..count).map(|number| format!("LABEL_{number}").into()).collect());
    };
    if names.len() > MAX_LABELS {
        return Err(format!("`id2label` names {} labels, expected at most {MAX_LABELS}", names.len()));
    }
    // The keys are strings, so that "10" comes before "2" in the file's own order.
    let mut numbered: BTreeMap<usize, Arc<str>> = BTreeMap::new();
    for (key, name) in names {
        let number = key.parse().map_err(|_| format!("`id2label` has the key `{key}`, which is no number"))?;
        let name = name.as_str().map_or_else(|| name.to_string().into(), Arc::from);
        numbered.insert(number, name);
    }
    if numbered.is_empty() || numbered.keys().copied().ne(0..numbered.len()) {
        return Err("`id2label` is empty or skips a number".into());
    }
    Ok(numbered.into_values().collect())
}

/// A number that is not negative, which stands for none.
fn natural(number: Option<i64>) -> Option<u64> {
    number.and_then(|number| u64::try_from(number).ok())
}

/// The first name that starts with `entail`, in any case; `label2id` is asked, as transformers does, where there is one and
/// the owner named no labels.
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

pub(super) fn json<T: DeserializeOwned>(path: &Path, content: &str) -> Result<T, Error> {
    serde_json::from_str(content).map_err(|error| Error::FileInvalid {
        path: path.into(),
        message: error.to_string(),
        remedy: super::folder::EXPORT.into(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn config(content: &str) -> Result<Config, Error> {
        Config::parse(Path::new("config.json"), content, &Settings::default())
    }

    #[test]
    fn label_numbers_are_sorted_as_numbers() {
        let names: Vec<String> = (0..12).map(|number| format!("\"{number}\": \"l{number}\"")).collect();
        let labels = config(&format!("{{\"id2label\": {{{}}}}}", names.join(","))).unwrap().labels;
        assert_eq!((&*labels[2], &*labels[10]), ("l2", "l10"));
    }

    #[test]
    fn nothing_said_means_two_labels() {
        assert_eq!(config("{}").unwrap().labels, ["LABEL_0", "LABEL_1"].map(Arc::from));
    }

    #[test]
    fn more_labels_than_memory_are_refused() {
        let error = config(r#"{"id2label": null, "num_labels": 1000000000000}"#).err().unwrap().to_string();
        assert!(error.contains("`num_labels` is 1000000000000, expected 1 to 65536"), "{error}");
    }

    #[test]
    fn minus_one_stands_for_none() {
        let config = config(r#"{"max_position_embeddings": -1, "n_positions": 5, "pad_token_id": -1}"#).unwrap();
        assert_eq!((config.max_position_embeddings, config.pad_token_id), (None, None));
    }

    #[test]
    fn settings_override_label_names() {
        let settings = Settings::parse(Path::new("x"), "labels = [\"good\", \"bad\"]").unwrap();
        assert_eq!(Config::parse(Path::new("x"), "{}", &settings).unwrap().labels, ["good", "bad"].map(Arc::from));
    }

    #[test]
    fn entailment_is_found_by_its_beginning() {
        let config =
            config(r#"{"id2label": {"0": "a", "1": "b"}, "label2id": {"x": 0, "entails": 1, "ENTAILMENT": 0}}"#);
        assert_eq!(config.unwrap().entailment, Some(1));
    }

    #[test]
    fn a_limit_beyond_all_integers_is_read() {
        let parsed: TokenizerConfig = serde_json::from_str(
            r#"{"model_max_length": 1000000000000000019884624838656, "extra_special_tokens": {}, "pad_token": {"content": "[PAD]", "lstrip": false}}"#,
        )
        .unwrap();
        assert_eq!(parsed.model_max_length, Some(1e30));
        assert_eq!(parsed.pad_token.unwrap().text(), "[PAD]");
    }

    /// JSON of any kind, some of it under names that are read.
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
                let _ = json::<TokenizerConfig>(path, content);
                let _ = Settings::parse(path, content);
                if let Ok(read) = config(content) {
                    prop_assert!((1..=MAX_LABELS).contains(&read.labels.len()));
                    prop_assert!(read.entailment.is_none_or(|number| number < read.labels.len()));
                }
            }
        }

        #[test]
        fn labels_stand_where_their_numbers_say(names in prop::collection::vec("[a-z]{1,5}", 1..40), turn in any::<usize>()) {
            let mut fields: Vec<_> = names.iter().enumerate().map(|(number, name)| (number.to_string(), Value::from(&**name))).collect();
            fields.rotate_left(turn % names.len());
            let written = serde_json::json!({ "id2label": Value::Object(fields.into_iter().collect()) });
            prop_assert_eq!(config(&written.to_string()).unwrap().labels, names.iter().map(|name| Arc::from(&**name)).collect::<Vec<Arc<str>>>());
        }
    }
}
