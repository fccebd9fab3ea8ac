//! Right answers as files hold them: a label by name or number, several, a number, entities, or a tag a word.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;

/// What a row's right answer has to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// One of these.
    Label(Vec<Arc<str>>),
    /// Any number of these.
    Labels(Vec<Arc<str>>),
    Number,
    /// Of a tagger with these tags.
    Entities(Vec<Arc<str>>),
}

/// A right answer; labels by their number.
#[derive(Clone, Debug, PartialEq)]
pub enum Gold {
    Label(usize),
    Labels(Vec<usize>),
    Number(f64),
    /// Start, end (code points) and label of each.
    Entities(Vec<(usize, usize, Arc<str>)>),
}

/// Different labels that are looked at to find out how a file names them.
const MOST_NAMES: usize = 10_000;

/// Reads the right answers of one file, once all the names in it have been seen.
pub struct Reader {
    expected: Expected,
    seen: BTreeSet<String>,
    /// Whether labels are given by number.
    numbers: bool,
}

#[derive(Deserialize)]
struct Span {
    start: usize,
    end: usize,
    label: Arc<str>,
}

impl Reader {
    pub fn new(expected: Expected) -> Self {
        Self { expected, seen: BTreeSet::new(), numbers: false }
    }

    /// Notes which labels a cell names.
    pub fn see(&mut self, cell: &str) {
        let names = match &self.expected {
            Expected::Number => return,
            Expected::Label(_) => vec![cell.trim().to_owned()],
            Expected::Labels(labels) if multi_hot(cell, labels).is_some() => return,
            Expected::Labels(labels) => parts(cell, labels),
            Expected::Entities(_) => match spans(cell) {
                Some(spans) => spans.into_iter().map(|span| span.label.to_string()).collect(),
                None => tags(cell),
            },
        };
        for name in names {
            if self.seen.len() < MOST_NAMES && !self.seen.contains(&name) {
                self.seen.insert(name);
            }
        }
    }

    /// Decides whether the file names labels or numbers them.
    ///
    /// # Errors
    /// `LabelsUnknown`.
    pub fn close(&mut self) -> Result<(), Error> {
        let known: Vec<Arc<str>> = match &self.expected {
            Expected::Number => return Ok(()),
            Expected::Label(labels) | Expected::Labels(labels) => labels.clone(),
            Expected::Entities(tags) => {
                let kinds: BTreeSet<Arc<str>> = tags.iter().map(|tag| kind(tag).1.into()).collect();
                tags.iter().cloned().chain(kinds).chain([Arc::from("O")]).collect()
            }
        };
        let unknown: Vec<String> = self.seen.iter().filter(|name| by_name(&known, name).is_none()).cloned().collect();
        let count = match &self.expected {
            Expected::Entities(tags) => tags.len(),
            _ => known.len(),
        };
        self.numbers = !unknown.is_empty() && self.seen.iter().all(|name| by_number(count, name).is_some());
        if unknown.is_empty() || self.numbers {
            return Ok(());
        }
        Err(Error::LabelsUnknown { unknown, known: known.iter().map(ToString::to_string).collect() })
    }

    /// The right answer in a cell; `text` is the row's, which tags go by.
    ///
    /// # Errors
    /// `BadGold`.
    pub fn read(&self, cell: &str, text: &str) -> Result<Gold, Error> {
        let bad = |found: String, expected: &str| Error::BadGold { found, expected: expected.to_owned() };
        match &self.expected {
            Expected::Number => {
                let number = cell.trim().parse().ok().filter(|number: &f64| number.is_finite());
                number.map(Gold::Number).ok_or_else(|| bad(format!("`{}`", start(cell)), "a number"))
            }
            Expected::Label(labels) => {
                let number = self.number(labels, cell);
                number.map(Gold::Label).ok_or_else(|| bad(format!("`{}`", start(cell)), "a label of the model"))
            }
            Expected::Labels(labels) => {
                if let Some(numbers) = multi_hot(cell, labels) {
                    return Ok(Gold::Labels(numbers));
                }
                let numbers = parts(cell, labels).iter().map(|part| self.number(labels, part)).collect();
                let numbers: Option<BTreeSet<usize>> = numbers;
                numbers
                    .map(|numbers| Gold::Labels(numbers.into_iter().collect()))
                    .ok_or_else(|| bad(format!("`{}`", start(cell)), "labels of the model"))
            }
            Expected::Entities(names) => {
                if let Some(spans) = spans(cell) {
                    let plain = |span: Span| (span.start, span.end, Arc::from(kind(&span.label).1));
                    return Ok(Gold::Entities(spans.into_iter().map(plain).collect()));
                }
                let tags = tags(cell);
                let words = words(text);
                if tags.len() != words.len() {
                    let found = format!("{} tags for {} words", tags.len(), words.len());
                    return Err(bad(found, "a tag for each word between spaces, or a list of {start, end, label}"));
                }
                let name = |tag: &String| match by_number(names.len(), tag).filter(|_| self.numbers) {
                    Some(number) => names[number].to_string(),
                    None => tag.clone(),
                };
                Ok(Gold::Entities(chunks(&tags.iter().map(name).collect::<Vec<_>>(), &words)))
            }
        }
    }

    /// A row's text; a tagger's data may have the list of its words, which then get a space between.
    pub fn text(&self, cell: String) -> String {
        match (&self.expected, serde_json::from_str::<Vec<String>>(&cell)) {
            (Expected::Entities(_), Ok(words)) => words.join(" "),
            _ => cell,
        }
    }

    fn number(&self, labels: &[Arc<str>], name: &str) -> Option<usize> {
        if self.numbers { by_number(labels.len(), name) } else { by_name(labels, name) }
    }
}

/// A label by its name; in another case where only one can be meant.
fn by_name(labels: &[Arc<str>], name: &str) -> Option<usize> {
    let name = name.trim();
    let exact = labels.iter().position(|label| **label == *name);
    exact.or_else(|| {
        let mut fitting = (0..labels.len()).filter(|&number| labels[number].eq_ignore_ascii_case(name));
        fitting.next().filter(|_| fitting.next().is_none())
    })
}

/// A label by its number from 0 on; tables that were once numbers write `1.0`.
fn by_number(labels: usize, name: &str) -> Option<usize> {
    let name = name.trim();
    name.strip_suffix(".0").unwrap_or(name).parse().ok().filter(|number| *number < labels)
}

/// Several labels in one cell: a JSON list, or separated by `,`, `;` or `|` where the cell as a whole is no label.
fn parts(cell: &str, labels: &[Arc<str>]) -> Vec<String> {
    if let Some(list) = list(cell) {
        return list;
    }
    if by_name(labels, cell).is_some() {
        return vec![cell.trim().to_owned()];
    }
    cell.split([',', ';', '|']).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// A zero or a one for each label, as training data has it.
fn multi_hot(cell: &str, labels: &[Arc<str>]) -> Option<Vec<usize>> {
    let list = list(cell).unwrap_or_else(|| vec![cell.trim().to_owned()]);
    let bit = |part: &String| match part.as_str() {
        "0" | "0.0" | "false" => Some(false),
        "1" | "1.0" | "true" => Some(true),
        _ => None,
    };
    let bits: Vec<bool> = list.iter().map(bit).collect::<Option<_>>()?;
    (bits.len() == labels.len()).then(|| (0..bits.len()).filter(|&number| bits[number]).collect())
}

/// The elements of a JSON list of strings, numbers or truth values.
fn list(cell: &str) -> Option<Vec<String>> {
    let list: Vec<Value> = serde_json::from_str(cell).ok()?;
    let text = |value: Value| match value {
        Value::String(text) => Some(text),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    list.into_iter().map(text).collect()
}

fn spans(cell: &str) -> Option<Vec<Span>> {
    serde_json::from_str(cell).ok()
}

fn tags(cell: &str) -> Vec<String> {
    list(cell).unwrap_or_else(|| cell.split_whitespace().map(str::to_owned).collect())
}

/// First and last code point of each word, the latter exclusive.
fn words(text: &str) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut start = None;
    for (number, character) in text.chars().chain([' ']).enumerate() {
        match (start, character.is_whitespace()) {
            (None, false) => start = Some(number),
            (Some(begun), true) => {
                words.push((begun, number));
                start = None;
            }
            _ => {}
        }
    }
    words
}

/// A tag's prefix (`I` where it has none) and its label.
fn kind(tag: &str) -> (char, &str) {
    match tag.as_bytes() {
        b"O" => ('O', ""),
        [prefix @ (b'B' | b'I' | b'E' | b'S'), b'-', ..] => (char::from(*prefix), &tag[2..]),
        _ => ('I', tag),
    }
}

/// Entities of a row of tags, by conlleval's rules, which seqeval follows: a tag that continues nothing begins an entity.
fn chunks(tags: &[String], words: &[(usize, usize)]) -> Vec<(usize, usize, Arc<str>)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, &str)> = None;
    let mut before = ('O', "");
    for (number, tag) in tags.iter().map(|tag| kind(tag)).chain([('O', "")]).enumerate() {
        let changes = before.1 != tag.1 || tag.0 == 'O';
        let ended = matches!(before.0, 'E' | 'S') || matches!(tag.0, 'B' | 'S' | 'O') || changes;
        if let Some((start, label)) = open.filter(|_| ended) {
            found.push((words[start].0, words[number - 1].1, Arc::from(label)));
            open = None;
        }
        let begins = matches!(tag.0, 'B' | 'S') || matches!(before.0, 'E' | 'S' | 'O') || changes;
        if tag.0 != 'O' && begins {
            open = Some((number, tag.1));
        }
        before = tag;
    }
    found
}

fn start(cell: &str) -> String {
    cell.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<Arc<str>> {
        ["negative", "positive"].map(Arc::from).to_vec()
    }

    fn read(expected: Expected, cells: &[&str], text: &str) -> Result<Vec<Gold>, Error> {
        let mut reader = Reader::new(expected);
        cells.iter().for_each(|cell| reader.see(cell));
        reader.close()?;
        cells.iter().map(|cell| reader.read(cell, text)).collect()
    }

    #[test]
    fn labels_go_by_name_or_by_number_but_not_by_both() {
        let one = |cells: &[&str]| read(Expected::Label(labels()), cells, "");
        assert_eq!(one(&["Positive", "negative "]).unwrap(), [Gold::Label(1), Gold::Label(0)]);
        assert_eq!(one(&["1", "0.0"]).unwrap(), [Gold::Label(1), Gold::Label(0)]);
        let unknown = vec!["1".to_owned()];
        let known = vec!["negative".to_owned(), "positive".to_owned()];
        assert_eq!(one(&["positive", "1"]), Err(Error::LabelsUnknown { unknown, known }));
    }

    #[test]
    fn a_label_that_is_a_number_goes_by_name() {
        let stars = ["1", "2", "0"].map(Arc::from).to_vec();
        assert_eq!(read(Expected::Label(stars), &["1", "0"], "").unwrap(), [Gold::Label(0), Gold::Label(2)]);
    }

    #[test]
    fn several_labels_come_as_lists_and_as_zeros_and_ones() {
        let several = |cells: &[&str]| read(Expected::Labels(labels()), cells, "").unwrap();
        assert_eq!(several(&["positive; negative"]), [Gold::Labels(vec![0, 1])]);
        assert_eq!(several(&[r#"["positive"]"#, "[]"]), [Gold::Labels(vec![1]), Gold::Labels(vec![])]);
        assert_eq!(several(&["[0, 1]", "[0.0, 0.0]"]), [Gold::Labels(vec![1]), Gold::Labels(vec![])]);
    }

    #[test]
    fn tags_become_entities_and_a_stray_one_begins_its_own() {
        let tags = || Expected::Entities(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"].map(Arc::from).to_vec());
        let text = "Zoë Ng met  Bo in Köln";
        let expected =
            [(0, 6, "PER"), (12, 14, "PER"), (18, 22, "LOC")].map(|(start, end, label)| (start, end, Arc::from(label)));
        let cells = ["B-PER I-PER O B-PER O I-LOC", "[1, 2, 0, 1, 0, 4]"];
        for cell in cells {
            assert_eq!(read(tags(), &[cell], text).unwrap(), [Gold::Entities(expected.to_vec())], "{cell}");
        }
        let spans = r#"[{"start": 0, "end": 6, "label": "PER", "text": "Zoë Ng"}]"#;
        assert_eq!(read(tags(), &[spans], text).unwrap(), [Gold::Entities(expected[..1].to_vec())]);
        let error = read(tags(), &["B-PER O"], text).unwrap_err().to_string();
        assert!(error.contains("2 tags for 6 words"), "{error}");
    }
}
