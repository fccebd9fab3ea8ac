//! Parses `local-model.toml`: the settings that the owner of a model folder adds to the export.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::activation::Activation;
use crate::calibration::CalibrationTable;
use crate::entities::Aggregation;
use crate::error::Error;
use crate::question::{Labels, QuestionKind};
use crate::signature::INPUTS;
use crate::words::Words;
use crate::zero_shot::{self, Template};

/// More words than any text that fits into memory is padded to.
const MAX_LENGTH: usize = 1 << 16;

/// The content of the file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub description: Option<String>,
    /// Whether pairs of texts are taken. A graph does not tell whether it was trained on them.
    pub pairs: Option<bool>,
    /// The function from the graph's numbers to scores, instead of the usual one.
    pub activation: Option<Activation>,
    /// The graph file, if the folder has several.
    pub graph: Option<String>,
    /// The usual names of inputs that the graph calls otherwise.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// The tokenizer of a model that was trained on a vocabulary of its own.
    pub vocabulary: Option<Words>,
    /// Label names in the order of the scores, instead of those in `config.json`. Decision models:
    /// the labels of calls that send none, perhaps with descriptions.
    pub labels: Option<Labels>,
    /// Decision models: the question of calls that send none.
    pub question: Option<String>,
    /// Decision models: the kind of that question.
    pub kind: Option<QuestionKind>,
    pub threshold: Option<f32>,
    /// Languages of the model, instead of those in the card; empty: texts in any are taken.
    pub languages: Option<Vec<String>>,
    pub calibration: Option<CalibrationTable>,
    /// A token limit below the model's own.
    pub max_tokens: Option<u64>,
    #[serde(default)]
    pub overflow: Overflow,
    /// Taggers: how tokens become entities.
    #[serde(default)]
    pub aggregation: Aggregation,
    /// NLI models with candidate labels.
    #[serde(default)]
    pub hypothesis_template: HypothesisTemplate,
    /// NLI models: whether candidate labels are scored independently.
    #[serde(default)]
    pub multi_label: bool,
}

/// The treatment of texts over the token limit.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Overflow {
    /// Reads what transformers' `truncation=True` reads: the beginning, or the end if the tokenizer
    /// truncates on the left.
    #[default]
    Head,
    /// Reads the beginning and the end, half of each.
    HeadTail,
    /// Reads all of it, in overlapping windows.
    Windows,
    /// Refuses the text.
    Error,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct HypothesisTemplate(pub Template);

impl TryFrom<String> for HypothesisTemplate {
    type Error = String;

    fn try_from(template: String) -> Result<Self, String> {
        Template::parse(&template).map(Self)
    }
}

impl Default for HypothesisTemplate {
    fn default() -> Self {
        Self(Template::parse(zero_shot::DEFAULT_TEMPLATE).expect("the default template has a placeholder"))
    }
}

impl Settings {
    pub(crate) fn parse(path: &Path, content: &str) -> Result<Self, Error> {
        let invalid = |message: String| Error::FileInvalid {
            path: path.into(),
            message,
            remedy: "models/README.md in the source lists its keys".into(),
        };
        let settings: Self = toml::from_str(content).map_err(|error| invalid(error.message().into()))?;
        if let Some(threshold) = settings.threshold.filter(|threshold| !(0.0..=1.0).contains(threshold)) {
            return Err(invalid(format!("`threshold` is {threshold}, expected 0 to 1")));
        }
        let invalid_table = settings.calibration.as_ref().filter(|table| !table.is_valid());
        if let Some(CalibrationTable { temperature, .. }) = invalid_table {
            return Err(invalid(format!("`temperature` is {temperature}, expected more than 0 and at most 100")));
        }
        if let Some(name) = settings.inputs.values().find(|name| !INPUTS.contains(&name.as_str())) {
            return Err(invalid(format!("`inputs` has `{name}`, expected one of {}", INPUTS.join(", "))));
        }
        if settings
            .vocabulary
            .as_ref()
            .and_then(|words| words.length)
            .is_some_and(|length| !(1..=MAX_LENGTH).contains(&length))
        {
            return Err(invalid(format!("`length` in `vocabulary` is out of range, expected 1 to {MAX_LENGTH}")));
        }
        if settings.max_tokens == Some(0) || settings.labels.as_ref().is_some_and(|labels| labels.names.is_empty()) {
            return Err(invalid("`max_tokens` is 0 or `labels` is empty, expected at least one".into()));
        }
        Ok(settings)
    }
}
