//! What a decision model is asked: question, kind, and labels with descriptions.
//!
//! Arguments of tools, `local-model.toml` and the command line give the same values. The defaults of
//! a folder fill in what a caller leaves out, by the rules in [`Defaults::complete`].

mod labels;

use std::sync::Arc;

use crate::prediction::Input;
pub use labels::{Labels, QuestionKind};

/// The largest question, and the largest description of a label, in bytes. The models read about
/// 200 tokens of a question with all its labels.
const MAX_BYTES: usize = 4 << 10;
/// The largest number of labels, as many as a caller may send.
const MAX_LABELS: usize = 64;
/// The labels of a question for yes or no.
const YES_NO: [&str; 2] = ["yes", "no"];

/// What a caller asks, apart from the text and the names of the labels. `None` and empty values are
/// filled in from the folder's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Question {
    pub text: Option<String>,
    pub kind: Option<QuestionKind>,
    /// One for each label of the input, blank where a label has none; or empty.
    pub descriptions: Vec<String>,
}

impl Question {
    /// Splits what a caller sends into the labels of an input and its question.
    pub fn split(
        labels: Option<Labels>,
        text: Option<String>,
        kind: Option<QuestionKind>,
    ) -> (Vec<String>, Option<Arc<Self>>) {
        let Labels { names, descriptions } = labels.unwrap_or_default();
        (names, Self::new(text, kind, descriptions))
    }

    /// Returns `None` if nothing is asked.
    pub fn new(text: Option<String>, kind: Option<QuestionKind>, descriptions: Vec<String>) -> Option<Arc<Self>> {
        let is_empty = text.is_none() && kind.is_none() && descriptions.is_empty();
        (!is_empty).then(|| Arc::new(Self { text, kind, descriptions }))
    }

    pub(crate) fn byte_len(&self) -> usize {
        self.text.as_ref().map_or(0, String::len) + self.descriptions.iter().map(String::len).sum::<usize>()
    }

    /// Names the arguments that are set, for error texts.
    pub(crate) fn arguments(&self) -> Vec<&'static str> {
        let set = [
            ("`question`", self.text.is_some()),
            ("`kind`", self.kind.is_some()),
            ("a description of a label", !self.descriptions.is_empty()),
        ];
        set.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
    }
}

/// The question, kind and labels that a folder's settings name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    pub question: Option<String>,
    pub kind: Option<QuestionKind>,
    pub labels: Labels,
}

/// A complete question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    pub text: &'a str,
    pub kind: QuestionKind,
    pub labels: Vec<&'a str>,
    /// One for each label, `None` where a label has none.
    pub descriptions: Vec<Option<&'a str>>,
    /// Whether the settings alone determine it.
    pub is_default: bool,
}

impl Asked<'_> {
    /// Returns each label, followed by its description if it has one.
    pub(crate) fn described_labels(&self) -> Vec<String> {
        let described = self.labels.iter().zip(&self.descriptions);
        let text = |(label, description): (&&str, &Option<&str>)| match description {
            Some(description) => format!("{label}: {description}"),
            None => (*label).to_owned(),
        };
        described.map(text).collect()
    }

    /// For questions about yes or no: the position of the label for yes, and whether the labels are
    /// those words. Other words count by their order, that for yes first.
    pub(crate) fn positive(&self) -> (usize, bool) {
        let is = |position: usize, words: [&str; 2]| {
            words.iter().any(|word| self.labels[position].eq_ignore_ascii_case(word))
        };
        let (yes, no) = (["yes", "true"], ["no", "false"]);
        match (is(0, yes) && is(1, no), is(0, no) && is(1, yes)) {
            (true, _) => (0, true),
            (_, true) => (1, true),
            _ => (0, false),
        }
    }
}

impl Defaults {
    /// Returns the kind of an input's question.
    pub(crate) fn kind(&self, question: Option<&Question>) -> QuestionKind {
        question.and_then(|question| question.kind).or(self.kind).unwrap_or_default()
    }

    /// Returns the labels of an input: its own, otherwise those of the settings if they are for the
    /// same kind, otherwise yes and no if the kind is that. Empty if there are none.
    pub fn labels<'a>(&'a self, labels: &'a [String], question: Option<&Question>) -> Vec<&'a str> {
        let kind = self.kind(question);
        match labels {
            [] if !self.labels.names.is_empty() && kind == self.kind.unwrap_or_default() => {
                self.labels.names.iter().map(String::as_str).collect()
            }
            [] if kind == QuestionKind::YesNo => YES_NO.to_vec(),
            labels => labels.iter().map(String::as_str).collect(),
        }
    }

    /// Returns what is asked about an input's text.
    ///
    /// # Errors
    /// Says what is missing or does not fit, as part of a sentence.
    pub(crate) fn complete<'a>(&'a self, input: &'a Input) -> Result<Asked<'a>, String> {
        let question = input.question.as_deref();
        let kind = self.kind(question);
        let text = question.and_then(|question| question.text.as_deref()).or(self.question.as_deref());
        let text = text.filter(|text| !text.trim().is_empty()).ok_or(
            "it needs a `question`, for example \"Which team should answer?\"; send one, or set `question` in \
             `local-model.toml`",
        )?;
        let labels = self.labels(&input.labels, question);
        if labels.is_empty() {
            return Err(format!(
                "it needs `labels` for the kind `{}`, for example [\"billing\", \"support\"], or descriptions: \
                 {{\"billing\": \"invoices and refunds\", \"support\": \"\"}}; or ask with the kind `yes_no`",
                kind.name()
            ));
        }
        let descriptions: &[String] = match (&*input.labels, question) {
            ([], _) if labels.len() == self.labels.names.len() && kind == self.kind.unwrap_or_default() => {
                &self.labels.descriptions
            }
            (_, Some(question)) => &question.descriptions,
            _ => &[],
        };
        let description = |position: usize| descriptions.get(position).map(String::as_str);
        let described = (0..labels.len()).map(|at| description(at).filter(|text| !text.trim().is_empty()));
        let is_default = Some(text) == self.question.as_deref()
            && kind == self.kind(None)
            && labels == self.labels(&[], None)
            && descriptions == self.labels.descriptions;
        let asked = Asked { text, kind, descriptions: described.collect(), labels, is_default };
        check(&asked)?;
        Ok(asked)
    }

    /// Returns whether a text alone can be answered.
    pub fn are_complete(&self) -> bool {
        self.complete(&Input::single("a")).is_ok()
    }

    /// Checks the labels of the settings.
    ///
    /// # Errors
    /// Says what does not fit, as part of a sentence.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.labels.names.is_empty() {
            return Ok(());
        }
        let question = self.question.clone().unwrap_or_else(|| "?".into());
        Self { question: Some(question), ..self.clone() }.complete(&Input::single("a")).map(|_| ())
    }
}

fn check(asked: &Asked<'_>) -> Result<(), String> {
    let found = asked.labels.len();
    if asked.kind == QuestionKind::YesNo && found != 2 {
        return Err(format!("`labels` has {found} entries; the kind `yes_no` takes two, that for yes first, or none"));
    }
    if found > MAX_LABELS || asked.labels.iter().any(|label| label.trim().is_empty()) {
        return Err(format!("`labels` has {found} entries; expected at most {MAX_LABELS}, none blank"));
    }
    if let Some(twice) = (1..found).find(|&at| asked.labels[..at].contains(&asked.labels[at])) {
        return Err(format!("`labels` has `{}` twice; leave one out", asked.labels[twice]));
    }
    let texts = std::iter::once(asked.text).chain(asked.labels.iter().copied());
    let longest = texts.chain(asked.descriptions.iter().copied().flatten()).map(str::len).max().unwrap_or_default();
    if longest > MAX_BYTES {
        return Err(format!(
            "the question, a label or a description has {longest} bytes; expected at most {MAX_BYTES} each; shorten it, \
             and put what is to be judged into the text"
        ));
    }
    Ok(())
}
