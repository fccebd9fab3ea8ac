//! Parses correct answers in files: one label, several labels, a number, entities, or one tag per
//! word.

use std::collections::BTreeSet;
use std::sync::Arc;

use classifier::{ModelInfo, Task};
use serde::Deserialize;

use crate::error::count;
use crate::labels::{label_by_name, label_by_number, parse_multi_hot, split_labels};
use crate::tags::{entities_from_tags, parse_tags, split_tag, word_bounds};
use crate::{Error, GoldEntity};

/// The kind of correct answer that a model needs.
#[derive(Clone, Debug, PartialEq)]
pub enum GoldKind {
    /// One of these labels.
    Label(Vec<Arc<str>>),
    /// Any number of these labels.
    Labels(Vec<Arc<str>>),
    /// A number.
    Number,
    /// Entities, for a tagger with these tags.
    Entities(Vec<Arc<str>>),
}

/// A correct answer. Labels are given by their index.
#[derive(Clone, Debug, PartialEq)]
pub enum Gold {
    /// One label.
    Label(usize),
    /// The labels that apply, in ascending order.
    Labels(Vec<usize>),
    /// A number.
    Number(f64),
    /// The entities.
    Entities(Vec<GoldEntity>),
}

impl GoldKind {
    /// Returns the kind of correct answer that this model needs. `labels` as in
    /// [`measure`](crate::measure).
    pub fn for_model(info: &ModelInfo, labels: &[Arc<str>]) -> Self {
        let candidates = labels != info.labels;
        match info.task {
            Task::SingleLabel if candidates && info.zero_shot_multi_label => Self::Labels(labels.to_vec()),
            Task::SingleLabel => Self::Label(labels.to_vec()),
            Task::MultiLabel => Self::Labels(labels.to_vec()),
            Task::Regression => Self::Number,
            Task::Tagging => Self::Entities(labels.to_vec()),
        }
    }

    fn labels(&self) -> &[Arc<str>] {
        match self {
            Self::Label(labels) | Self::Labels(labels) | Self::Entities(labels) => labels,
            Self::Number => &[],
        }
    }
}

/// Distinct label names remembered while a file is scanned. A file with more has no labels in this
/// column, and the names seen by then already show that.
const MAX_NAMES: usize = 10_000;

/// Collects the labels in a file, to decide whether the file gives them by name or by number.
pub struct GoldScan {
    kind: GoldKind,
    names: BTreeSet<String>,
}

/// Parses the correct answers of one file.
#[derive(Clone, Debug)]
pub struct GoldParser {
    kind: GoldKind,
    /// Whether the file gives labels by number.
    by_number: bool,
}

#[derive(Deserialize)]
struct Span {
    start: usize,
    end: usize,
    label: Arc<str>,
}

impl GoldScan {
    /// Starts a scan of a file with answers of this kind.
    pub fn new(kind: GoldKind) -> Self {
        Self { kind, names: BTreeSet::new() }
    }

    /// Collects the labels in one cell.
    pub fn observe(&mut self, cell: &str) {
        let names = match &self.kind {
            GoldKind::Number => return,
            GoldKind::Label(_) => vec![cell.trim().to_owned()],
            GoldKind::Labels(labels) if parse_multi_hot(cell, labels).is_some() => return,
            GoldKind::Labels(labels) => split_labels(cell, labels),
            GoldKind::Entities(_) => match parse_spans(cell) {
                Some(spans) => spans.into_iter().map(|span| span.label.to_string()).collect(),
                None => parse_tags(cell),
            },
        };
        for name in names {
            if self.names.len() < MAX_NAMES && !self.names.contains(&name) {
                self.names.insert(name);
            }
        }
    }

    /// Decides whether the file gives labels by name or by number. Names take precedence: `1` is
    /// the label called `1` if all cells are names of labels.
    ///
    /// # Errors
    /// `LabelsUnknown` if some cells are neither.
    pub fn finish(self) -> Result<GoldParser, Error> {
        let known = self.known_names();
        let by_number = self.is_by_number(&known);
        let is_unknown = |name: &&String| !by_number && label_by_name(&known, name).is_none();
        let unknown: Vec<String> = self.names.iter().filter(is_unknown).cloned().collect();
        if unknown.is_empty() {
            return Ok(GoldParser { kind: self.kind, by_number });
        }
        let known = known.iter().map(ToString::to_string).collect();
        Err(Error::LabelsUnknown { unknown, known })
    }

    /// Like [`finish`](Self::finish), for files that may have unknown labels, which fail to parse.
    pub fn finish_with_unknown(self) -> GoldParser {
        let by_number = self.is_by_number(&self.known_names());
        GoldParser { kind: self.kind, by_number }
    }

    fn is_by_number(&self, known: &[Arc<str>]) -> bool {
        let is_name = |name: &String| label_by_name(known, name).is_some();
        let is_number = |name: &String| label_by_number(self.kind.labels().len(), name).is_some();
        !self.names.iter().all(is_name) && self.names.iter().all(is_number)
    }

    /// Returns all names that labels may have. Tags are known with and without their prefix.
    fn known_names(&self) -> Vec<Arc<str>> {
        let labels = self.kind.labels().iter().cloned();
        let GoldKind::Entities(tags) = &self.kind else { return labels.collect() };
        let without_prefix: BTreeSet<Arc<str>> = tags.iter().map(|tag| split_tag(tag).1.into()).collect();
        labels.chain(without_prefix).chain([Arc::from("O")]).collect()
    }
}

impl GoldParser {
    /// Parses one cell. `text` is the row's text, whose words the tags of a tagger belong to.
    ///
    /// # Errors
    /// `BadGold` if the cell is not an answer of the file's kind.
    pub fn parse(&self, cell: &str, text: &str) -> Result<Gold, Error> {
        let invalid = |expected| bad_gold(format!("`{}`", elide(cell)), expected);
        match &self.kind {
            GoldKind::Number => {
                let number = cell.trim().parse().ok().filter(|number: &f64| number.is_finite());
                number.map(Gold::Number).ok_or_else(|| invalid("a number"))
            }
            GoldKind::Label(labels) => {
                let label = self.label(labels, cell);
                label.map(Gold::Label).ok_or_else(|| invalid("a label of the model"))
            }
            GoldKind::Labels(labels) => {
                if let Some(applying) = parse_multi_hot(cell, labels) {
                    return Ok(Gold::Labels(applying));
                }
                let names = split_labels(cell, labels);
                let applying: Option<BTreeSet<usize>> = names.iter().map(|name| self.label(labels, name)).collect();
                applying
                    .map(|applying| Gold::Labels(applying.into_iter().collect()))
                    .ok_or_else(|| invalid("labels of the model"))
            }
            GoldKind::Entities(names) => self.entities(names, cell, text).map(Gold::Entities),
        }
    }

    /// Returns whether a prediction is the label in a cell. A label that the model does not know is
    /// compared as text.
    pub fn agrees(&self, cell: &str, prediction: &str) -> bool {
        match (&self.kind, self.parse(cell, "")) {
            (GoldKind::Label(labels), Ok(Gold::Label(label))) => *labels[label] == *prediction,
            _ => prediction.eq_ignore_ascii_case(cell.trim()),
        }
    }

    /// Returns a row's text. A cell with a JSON list of words, as data for taggers has it, is
    /// joined with spaces.
    pub fn join_words(&self, cell: String) -> String {
        match (&self.kind, serde_json::from_str::<Vec<String>>(&cell)) {
            (GoldKind::Entities(_), Ok(words)) => words.join(" "),
            _ => cell,
        }
    }

    fn label(&self, labels: &[Arc<str>], name: &str) -> Option<usize> {
        if self.by_number { label_by_number(labels.len(), name) } else { label_by_name(labels, name) }
    }

    fn entities(&self, names: &[Arc<str>], cell: &str, text: &str) -> Result<Vec<GoldEntity>, Error> {
        if let Some(spans) = parse_spans(cell) {
            let without_prefix = |span: Span| (span.start, span.end, Arc::from(split_tag(&span.label).1));
            return Ok(spans.into_iter().map(without_prefix).collect());
        }
        let tags = parse_tags(cell);
        let words = word_bounds(text);
        if tags.len() != words.len() {
            let expected = "one tag for each word between spaces, or a list of {start, end, label}";
            let found = format!("{} for {}", count(tags.len() as u64, "tag"), count(words.len() as u64, "word"));
            return Err(bad_gold(found, expected));
        }
        let name = |tag: &String| {
            let number = label_by_number(names.len(), tag).filter(|_| self.by_number);
            number.map_or_else(|| tag.clone(), |number| names[number].to_string())
        };
        Ok(entities_from_tags(&tags.iter().map(name).collect::<Vec<_>>(), &words))
    }
}

fn parse_spans(cell: &str) -> Option<Vec<Span>> {
    serde_json::from_str(cell).ok()
}

fn bad_gold(found: String, expected: &str) -> Error {
    Error::BadGold { found, expected: expected.to_owned() }
}

/// Returns the first characters of a cell, enough to recognize it in an error.
fn elide(cell: &str) -> String {
    cell.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<Arc<str>> {
        ["negative", "positive"].map(Arc::from).to_vec()
    }

    fn parse(kind: GoldKind, cells: &[&str], text: &str) -> Result<Vec<Gold>, Error> {
        let mut scan = GoldScan::new(kind);
        cells.iter().for_each(|cell| scan.observe(cell));
        let parser = scan.finish()?;
        cells.iter().map(|cell| parser.parse(cell, text)).collect()
    }

    #[test]
    fn a_file_gives_labels_by_name_or_by_number_but_not_both() {
        let one = |cells: &[&str]| parse(GoldKind::Label(labels()), cells, "");
        assert_eq!(one(&["Positive", "negative "]).unwrap(), [Gold::Label(1), Gold::Label(0)]);
        assert_eq!(one(&["1", "0.0"]).unwrap(), [Gold::Label(1), Gold::Label(0)]);
        let unknown = vec!["1".to_owned()];
        let known = vec!["negative".to_owned(), "positive".to_owned()];
        assert_eq!(one(&["positive", "1"]), Err(Error::LabelsUnknown { unknown, known }));
    }

    #[test]
    fn a_label_named_by_a_number_is_found_by_name() {
        let stars = || GoldKind::Label(["1", "2", "0"].map(Arc::from).to_vec());
        assert_eq!(parse(stars(), &["1", "0"], "").unwrap(), [Gold::Label(0), Gold::Label(2)]);
    }

    #[test]
    fn predictions_are_compared_by_name_or_by_number_and_unknown_labels_as_text() {
        let agreeing = |cells: &[&str], prediction: &str| -> Vec<bool> {
            let mut scan = GoldScan::new(GoldKind::Label(labels()));
            cells.iter().for_each(|cell| scan.observe(cell));
            let parser = scan.finish_with_unknown();
            cells.iter().map(|cell| parser.agrees(cell, prediction)).collect()
        };
        assert_eq!(agreeing(&["POSITIVE ", "negative", "mixed"], "positive"), [true, false, false]);
        assert_eq!(agreeing(&["1.0", "0", "1"], "positive"), [true, false, true]);
        // Not a number here, because other cells are names.
        assert_eq!(agreeing(&["1", "negative"], "positive"), [false, false]);
        assert_eq!(agreeing(&["PER, LOC"], "PER, LOC"), [true]);
    }

    #[test]
    fn several_labels_are_parsed_from_lists_and_from_zeros_and_ones() {
        let several = |cells: &[&str]| parse(GoldKind::Labels(labels()), cells, "").unwrap();
        let (none, both) = (Gold::Labels(vec![]), Gold::Labels(vec![0, 1]));
        let positive = Gold::Labels(vec![1]);
        assert_eq!(several(&["positive; negative"]), [both]);
        assert_eq!(several(&[r#"["positive"]"#, "[]"]), [positive.clone(), none.clone()]);
        assert_eq!(several(&["[0, 1]", "[0.0, 0.0]"]), [positive, none]);
    }

    #[test]
    fn tags_become_entities_and_a_stray_tag_begins_one() {
        let tags = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"].map(Arc::from);
        let kind = || GoldKind::Entities(tags.to_vec());
        let text = "Zoë Ng met  Bo in Köln";
        let expected =
            [(0, 6, "PER"), (12, 14, "PER"), (18, 22, "LOC")].map(|(start, end, label)| (start, end, Arc::from(label)));
        for cell in ["B-PER I-PER O B-PER O I-LOC", "[1, 2, 0, 1, 0, 4]"] {
            let gold = parse(kind(), &[cell], text).unwrap();
            assert_eq!(gold, [Gold::Entities(expected.to_vec())], "{cell}");
        }
        let spans = r#"[{"start": 0, "end": 6, "label": "PER", "text": "Zoë Ng"}]"#;
        let gold = parse(kind(), &[spans], text).unwrap();
        assert_eq!(gold, [Gold::Entities(expected[..1].to_vec())]);
        let error = parse(kind(), &["B-PER"], text).unwrap_err().to_string();
        assert!(error.contains("1 tag for 6 words"), "{error}");
    }
}
