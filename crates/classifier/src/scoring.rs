//! What the numbers of a graph mean: the task, and the function that turns them into scores.
//!
//! Both are told to people with their reason, because a wrong function gives plausible numbers.

use crate::activation::{self, Activation};
use crate::error::Error;
use crate::model_files::ModelFiles;
use crate::prediction::Task;
use crate::session::Session;
use crate::tensors::Rows;

/// How far probabilities of single precision may miss their sum or their range.
const ROUNDING: f32 = 1e-3;
/// The pattern of words that scikit-learn's exporter writes unless it is told another.
const ASCII_WORDS: &str = "[a-zA-Z0-9_]+";

/// The meaning of one number for two labels: it belongs to the second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Probability,
    /// The sigmoid of it is the probability, which is the softmax of 0 and it.
    Logit,
}

/// The meaning of a graph's numbers.
#[derive(Clone)]
pub(crate) struct Scoring {
    pub task: Task,
    pub activation: Activation,
    /// Set if the graph gives one number for two labels.
    pub binary: Option<Binary>,
    /// Why this function was chosen.
    reason: &'static str,
    /// What the owner of the folder should know.
    pub warnings: Vec<String>,
}

impl Scoring {
    /// Decides by the folder, the graph and the numbers of its first run.
    ///
    /// # Errors
    /// `OtherTask` and `HeadUntrained` if `config.json` says that the numbers mean something else,
    /// `LabelCount` and `LabelOrder` if the labels do not fit, `Inference` if the graph cannot run.
    pub(crate) fn new(name: &str, files: &ModelFiles, session: &mut Session) -> Result<Self, Error> {
        let rank = session.output().rank;
        check_architecture(files, rank)?;
        let producer = files.graph.facts.interface.producers.get(&session.output().name).map(String::as_str);
        let is_classifier = session.signature.label.is_some();
        let fixed_length = session.fixed_length;
        let first = session.first_run().map_err(|error| Error::inference(name, error.message()))?;
        let binary = Binary::of(files, rank, first.rows.width, producer);
        if binary.is_none() {
            check_labels(files, &first.rows)?;
        }
        let is_multi_label = first.rows.labels.len() > 1;
        let task = match (rank, producer) {
            (3, _) => Task::Tagging,
            _ if binary.is_some() => Task::SingleLabel,
            _ if files.config.problem_type.is_none() && files.config.labels.len() > 1 && is_multi_label => {
                Task::MultiLabel
            }
            _ if files.config.problem_type.is_none() => task_of(files, producer, is_classifier),
            _ => activation::task(files.config.problem_type.as_deref(), files.config.labels.len()),
        };
        let is_probability =
            is_probability(&first.rows, task) || binary.is_some() && are_probabilities(first.rows.row(0));
        let (activation, reason) = match (files.settings.activation, producer) {
            _ if binary == Some(Binary::Probability) => (Activation::None, "one probability, that of the second label"),
            _ if binary == Some(Binary::Logit) => (Activation::Softmax, "one logit, that of the second label"),
            (Some(activation), _) => (activation, "set in local-model.toml"),
            _ if task == Task::Regression => (Activation::None, "a regression"),
            (None, Some("Softmax")) => (Activation::None, "the graph ends in a softmax"),
            (None, Some("Sigmoid")) => (Activation::None, "the graph ends in a sigmoid"),
            _ if is_classifier && is_probability => (Activation::None, "the graph gives probabilities"),
            _ if is_classifier => (Activation::of(task), "the graph gives decision scores"),
            _ => (Activation::of(task), "the default of the task"),
        };
        let mut scoring = Self { task, activation, binary, reason, warnings: Vec::new() };
        scoring.warn(files, is_probability, is_classifier, fixed_length);
        Ok(scoring)
    }

    /// Names the function and says why it is applied, for people.
    pub(crate) fn describe(&self) -> String {
        format!("{} ({})", self.activation.name(), self.reason)
    }

    /// Returns whether labels of the caller can be scored: their logits are compared.
    pub(crate) fn takes_candidates(&self) -> bool {
        self.task == Task::SingleLabel && self.activation == Activation::Softmax
    }

    fn warn(&mut self, files: &ModelFiles, is_probability: bool, is_classifier: bool, fixed_length: Option<usize>) {
        let is_number = |label: &str| label.strip_prefix("LABEL_").unwrap_or(label).parse::<i64>().is_ok();
        if files.config.labels.iter().all(|label| is_number(label)) {
            self.warnings.push(
                "the labels have no names; write `labels = [\"…\", …]` into `local-model.toml`, in the order of the \
                 scores"
                    .into(),
            );
        }
        if files.settings.languages.as_ref().is_some_and(|codes| !codes.is_empty()) && files.languages.is_none() {
            self.warnings.push(
                "`languages` in `local-model.toml` names one that cannot be recognized, so the language of texts is \
                 not checked; expected codes such as `en` or `zh`"
                    .into(),
            );
        }
        let is_default = files.settings.activation.is_none() && self.activation == Activation::Softmax;
        if is_default && is_probability && self.task == Task::SingleLabel {
            self.warnings.push(
                "the graph's numbers look like probabilities, and a softmax is applied to them; if they are, write \
                 `activation = \"none\"` into `local-model.toml`"
                    .into(),
            );
        }
        if is_default && is_classifier && self.task == Task::SingleLabel {
            self.warnings.push(
                "decision scores are no probabilities: run `eval --calibrate` before you rely on a confidence".into(),
            );
        }
        // The owner of a vocabulary chose the length.
        if let Some(length) = fixed_length.filter(|_| files.settings.vocabulary.is_none()) {
            self.warnings.push(format!(
                "the graph reads exactly {length} tokens: shorter texts are padded, longer ones are cut; \
                 `dynamic_axes` in `torch.onnx.export` frees the length"
            ));
        }
        if files.graph.facts.interface.word_patterns.contains(ASCII_WORDS) {
            self.warnings.push(
                "the graph takes only ASCII letters for words, unlike scikit-learn; export it with the option \
                 `tokenexp` of docs/own-model.md"
                    .into(),
            );
        }
    }
}

impl Binary {
    fn of(files: &ModelFiles, rank: usize, width: usize, producer: Option<&str>) -> Option<Self> {
        let names = files.config.labels.len();
        let is_multi_label = files.config.problem_type.as_deref() == Some("multi_label_classification");
        if (rank, width, names) != (2, 1, 2) || !files.config.is_named || is_multi_label {
            return None;
        }
        Some(match (files.settings.activation, producer) {
            (Some(Activation::None), _) | (None, Some("Sigmoid")) => Self::Probability,
            _ => Self::Logit,
        })
    }
}

/// Returns the rows of a run with a score for each label.
///
/// # Errors
/// Part of a sentence, if they have another number. A graph may give another one for each text.
pub(crate) fn fit(mut rows: Rows, labels: usize, binary: Option<Binary>) -> Result<Rows, String> {
    if let (Some(binary), &[number]) = (binary, rows.values.as_slice()) {
        rows.values = match binary {
            Binary::Probability => vec![1.0 - number, number],
            Binary::Logit => vec![0.0, number],
        };
        rows.width = 2;
    }
    if rows.width == labels { Ok(rows) } else { Err(format!("it gives {} scores for {labels} labels", rows.width)) }
}

/// Derives the task where `config.json` names none.
fn task_of(files: &ModelFiles, producer: Option<&str>, is_classifier: bool) -> Task {
    let labels = files.config.labels.len();
    match files.settings.activation {
        Some(Activation::Sigmoid) => Task::MultiLabel,
        None if producer == Some("Sigmoid") => Task::MultiLabel,
        // One number for a text, without a label, is what a regressor of scikit-learn gives.
        None if labels == 1 && files.graph.facts.interface.takes_text && !is_classifier => Task::Regression,
        _ => activation::task(None, labels),
    }
}

/// Checks that `config.json` declares a classifier or a tagger, with a head.
fn check_architecture(files: &ModelFiles, rank: usize) -> Result<(), Error> {
    const OTHERS: [&str; 7] = [
        "CausalLM",
        "LMHeadModel",
        "MaskedLM",
        "PreTraining",
        "ConditionalGeneration",
        "QuestionAnswering",
        "MultipleChoice",
    ];
    let Some(architecture) = &files.config.architecture else { return Ok(()) };
    let other = || Error::OtherTask { architecture: architecture.clone() };
    if OTHERS.iter().any(|suffix| architecture.ends_with(suffix)) {
        return Err(other());
    }
    // The classifier of a sentence encoder may follow in the graph, and names its labels there.
    if architecture.ends_with("Model") {
        let has_head = !files.graph.facts.interface.labels.is_empty();
        return if has_head { Ok(()) } else { Err(Error::HeadUntrained { architecture: architecture.clone() }) };
    }
    if architecture.ends_with("ForTokenClassification") == (rank == 3) { Ok(()) } else { Err(other()) }
}

/// Checks that there is a label for each score, in the same order.
fn check_labels(files: &ModelFiles, rows: &Rows) -> Result<(), Error> {
    let named = files.config.labels.len();
    if rows.width != named {
        return Err(Error::LabelCount { named, given: rows.width });
    }
    // A support vector machine takes its label from votes, and its probabilities from elsewhere.
    if files.graph.facts.operators.contains("SVMClassifier") {
        return Ok(());
    }
    let labels = &files.graph.facts.interface.labels;
    let [chosen] = rows.labels.as_slice() else { return Ok(()) };
    let Some(score) = labels.iter().position(|label| label == chosen).and_then(|at| rows.values.get(at)) else {
        return Ok(());
    };
    let best = rows.values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if best - score > ROUNDING { Err(Error::LabelOrder { chosen: chosen.clone() }) } else { Ok(()) }
}

/// Returns whether the numbers of the first row could be the probabilities of its labels.
fn is_probability(rows: &Rows, task: Task) -> bool {
    let row = rows.row(0);
    let sum: f32 = row.iter().sum();
    are_probabilities(row) && (task == Task::MultiLabel || row.len() > 1 && (sum - 1.0).abs() < ROUNDING)
}

fn are_probabilities(scores: &[f32]) -> bool {
    scores.iter().all(|score| (-ROUNDING..=1.0 + ROUNDING).contains(score))
}

/// Checks that scores are what their task says. Graphs not designed for fp16 overflow.
///
/// # Errors
/// Part of a sentence.
pub(crate) fn check_scores(task: Task, scores: &[f32]) -> Result<(), &'static str> {
    if !scores.iter().all(|score| score.is_finite()) {
        return Err("its scores are not numbers");
    }
    if task != Task::Regression && !are_probabilities(scores) {
        return Err("its scores are not probabilities, see `activation` in `local-model.toml`");
    }
    Ok(())
}
