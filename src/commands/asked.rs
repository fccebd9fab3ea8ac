//! The flags for labels and questions, which several commands take.

use std::sync::Arc;

use clap::Args;
use classifier::{Labels, Question, QuestionKind};

#[derive(Args, Debug)]
pub struct Asked {
    /// Labels to choose from, separated by commas, for zero-shot (NLI) and decision models
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    labels: Vec<String>,
    /// A label with its description, for decision models; repeated for each label
    #[arg(long, value_name = "NAME=DESCRIPTION", conflicts_with = "labels")]
    label: Vec<String>,
    /// What to ask a decision model about each text
    #[arg(long, value_name = "QUESTION")]
    question: Option<String>,
    /// Kind of the question: choice, score (labels are levels, the lowest first) or yes_no
    #[arg(long, value_name = "KIND")]
    kind: Option<QuestionKind>,
}

impl Asked {
    /// Returns the labels and the question of an input.
    pub(super) fn split(&self) -> (Vec<String>, Option<Arc<Question>>) {
        let split = |label: &String| match label.split_once('=') {
            Some((name, description)) => (name.trim().to_owned(), description.trim().to_owned()),
            None => (label.trim().to_owned(), String::new()),
        };
        let (mut names, descriptions): (Vec<String>, Vec<String>) = self.label.iter().map(split).unzip();
        names.extend(self.labels.iter().cloned());
        // Labels without any description are those of zero-shot models too.
        let is_described = descriptions.iter().any(|description| !description.is_empty());
        let descriptions = if is_described { descriptions } else { Vec::new() };
        Question::split(Some(Labels { names, descriptions }), self.question.clone(), self.kind)
    }

    /// Returns one of the flags that are given.
    pub(super) fn flag(&self) -> Option<&'static str> {
        let given = [
            ("--labels", !self.labels.is_empty()),
            ("--label", !self.label.is_empty()),
            ("--question", self.question.is_some()),
            ("--kind", self.kind.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_may_have_descriptions() {
        let asked = |label: &[&str]| Asked {
            labels: Vec::new(),
            label: label.iter().map(|label| (*label).to_owned()).collect(),
            question: None,
            kind: None,
        };
        let (names, question) = asked(&["a = x=y", "b"]).split();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(question.unwrap().descriptions, ["x=y", ""]);
        assert_eq!(asked(&["a", "b"]).split(), (vec!["a".to_owned(), "b".to_owned()], None));
        assert_eq!(asked(&["a"]).flag(), Some("--label"));
    }
}
