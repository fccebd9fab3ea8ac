//! Adds labels and examples to what was taught. A call is checked as a whole before anything
//! changes.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::error::Error;
use crate::state::{Example, Label, State, TaughtRow};
use crate::survey::{Found, MAX_TEXT, Survey, beginning};

/// Labels of one model. More would need more examples than anyone gives, and take minutes to learn.
const MAX_LABELS: usize = 256;
const MAX_CHARACTERS: usize = 100;
/// Characters of an example's text in an error.
const MAX_QUOTED: usize = 40;

/// Parses labels by row number as they come from JSON.
///
/// # Errors
/// `RowInvalid` for the first key that is not a row number.
pub fn parse_rows<'a>(
    given: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<BTreeMap<u64, String>, Error> {
    let parse = |(row, label): (&String, &String)| {
        let number = row.trim().parse::<u64>().ok().filter(|number| *number > 0);
        let number = number.ok_or_else(|| Error::RowInvalid { found: row.chars().take(MAX_QUOTED).collect() })?;
        Ok((number, label.clone()))
    };
    given.into_iter().map(parse).collect()
}

impl State {
    /// Adds a label unless it is known. Returns it without surrounding blanks.
    ///
    /// # Errors
    /// `LabelInvalid`, `LabelSpelling`, `TooManyLabels`.
    pub(crate) fn add_label(&mut self, label: &str) -> Result<String, Error> {
        let label = label.trim();
        let invalid = |found: String| Err(Error::LabelInvalid { found, limit: MAX_CHARACTERS });
        let characters = label.chars().count();
        if self.labels.iter().any(|known| known.name == label) {
            return Ok(label.to_owned());
        }
        if characters == 0 {
            return invalid("empty or blank".into());
        }
        if characters > MAX_CHARACTERS {
            return invalid(format!("{characters} characters long"));
        }
        if label.chars().any(char::is_control) {
            return invalid("written with line ends or control characters".into());
        }
        if let Some(known) = self.labels.iter().find(|known| known.name.to_lowercase() == label.to_lowercase()) {
            return Err(Error::LabelSpelling { label: label.into(), known: known.name.clone() });
        }
        self.labels.push(Label { name: label.to_owned(), meaning: None });
        Ok(label.to_owned())
    }

    /// Checks the number of labels after all labels of a call were added.
    ///
    /// # Errors
    /// `TooManyLabels`.
    pub(crate) fn check_label_count(&self) -> Result<(), Error> {
        match self.labels.len() {
            found if found > MAX_LABELS => Err(Error::TooManyLabels { found, limit: MAX_LABELS }),
            _ => Ok(()),
        }
    }

    /// Sets what labels mean; labels that are not known are added.
    ///
    /// # Errors
    /// Those of a label.
    pub(crate) fn set_meanings(&mut self, meanings: &BTreeMap<String, String>) -> Result<(), Error> {
        for (label, meaning) in meanings {
            let label = self.add_label(label)?;
            let known = self.labels.iter_mut().find(|known| known.name == label);
            let meaning = meaning.split_whitespace().collect::<Vec<_>>().join(" ");
            if let Some(known) = known {
                known.meaning = Some(meaning).filter(|meaning| !meaning.is_empty());
            }
        }
        Ok(())
    }

    /// Checks that the rows labelled so far still have the same texts.
    ///
    /// # Errors
    /// `FileChanged`.
    pub(crate) fn check_rows(&self, name: &str, survey: &Survey) -> Result<(), Error> {
        let file = self.source.as_ref().map_or_else(String::new, |source| source.file.clone());
        let changed = |(row, taught): (&u64, &TaughtRow)| {
            survey.wanted.get(row).is_none_or(|found| found.digest != taught.digest).then_some(*row)
        };
        match self.rows.iter().find_map(changed) {
            Some(row) => Err(Error::FileChanged { name: name.to_owned(), file, row: Some(row) }),
            None => Ok(()),
        }
    }

    /// Adds labels of rows that the caller named. All of them must be wanted rows of the survey.
    ///
    /// # Errors
    /// The first mistake in the labels.
    pub(crate) fn teach_rows(&mut self, labels: &BTreeMap<u64, String>, survey: &Survey) -> Result<(), Error> {
        let sealed = self.sealed();
        for (&row, label) in labels {
            let found = survey.wanted.get(&row).ok_or(Error::RowUnknown { row, rows: survey.rows })?;
            if found.text.trim().is_empty() {
                return Err(Error::RowBlank { row });
            }
            if sealed.contains(&found.digest) {
                return Err(Error::RowSealed { row });
            }
            self.teach_row(row, found, label)?;
        }
        self.check_texts()?;
        self.check_label_count()
    }

    /// Adds labels that the file gives. Returns the number of labelled texts left out, because
    /// rows with the text have different labels.
    ///
    /// # Errors
    /// Those of a label.
    pub(crate) fn teach_labelled(&mut self, survey: &Survey) -> Result<u64, Error> {
        let labelled = survey.sample.iter().filter_map(|found| Some((found, found.label.as_ref()?)));
        let mut left_out = 0;
        let known: BTreeMap<Digest, String> =
            self.rows.values().map(|taught| (taught.digest, taught.label.clone())).collect();
        for (found, label) in labelled {
            let differs = known.get(&found.digest).is_some_and(|known| known.as_str() != label.trim());
            let is_row = self.rows.contains_key(&found.row);
            if found.conflicts || differs && !is_row {
                left_out += 1;
            } else if is_row || !known.contains_key(&found.digest) {
                self.teach_row(found.row, found, label)?;
            }
        }
        self.check_texts()?;
        self.check_label_count()?;
        Ok(left_out)
    }

    fn teach_row(&mut self, row: u64, found: &Found, label: &str) -> Result<(), Error> {
        let label = self.add_label(label)?;
        let confirmed = self.rows.get(&row).is_some_and(|before| before.label == label);
        let text = self.keep_texts.then(|| beginning(&found.text, MAX_TEXT).to_owned());
        self.rows.insert(row, TaughtRow { digest: found.digest, label, confirmed, text });
        Ok(())
    }

    /// Adds examples without a file, by label.
    ///
    /// # Errors
    /// The first mistake in the examples.
    pub(crate) fn teach_examples(&mut self, examples: &BTreeMap<String, Vec<String>>) -> Result<(), Error> {
        for (label, texts) in examples {
            let label = self.add_label(label)?;
            for text in texts {
                if text.trim().is_empty() {
                    return Err(Error::ExampleBlank { label });
                }
                let example = Example { text: text.clone(), label: label.clone() };
                if !self.examples.contains(&example) {
                    self.examples.push(example);
                }
            }
        }
        self.check_texts()?;
        self.check_label_count()
    }

    /// Checks that no text has two labels.
    fn check_texts(&self) -> Result<(), Error> {
        let mut known: BTreeMap<Digest, (u64, &str)> = BTreeMap::new();
        for (&row, taught) in &self.rows {
            match known.insert(taught.digest, (row, &taught.label)) {
                Some((other, label)) if label != taught.label => {
                    let (label, other_label) = (taught.label.clone(), label.to_owned());
                    return Err(Error::TwoLabels { row, label, other, other_label });
                }
                _ => {}
            }
        }
        let mut known: BTreeMap<Digest, &str> = known.into_iter().map(|(digest, (_, label))| (digest, label)).collect();
        for Example { text, label } in &self.examples {
            match known.insert(Digest::of(text), label) {
                Some(other) if other != label => {
                    let text = text.chars().take(MAX_QUOTED).collect();
                    return Err(Error::ExampleTwice { text, label: label.clone(), other_label: other.to_owned() });
                }
                _ => {}
            }
        }
        Ok(())
    }
}
