//! The texts on which two graphs are compared: rows of a file, or generated ones.

use std::path::Path;

use tables::{CellKind, CsvOptions, PathPolicy, TableFile};

use crate::error::Error;

/// Enough to see a disagreement of 1 %, in a minute for a large model.
const MAX_TEXTS: usize = 500;
const GENERATED: usize = 200;
const WORDS: &str = "the a my this of to in and but not very it was we they when after before because \
    service order screen price battery phone doctor weather train dinner music story teacher river \
    letter garden meeting account question window summer market answer children engine colour water \
    good bad slow fast late early broken cheap expensive clean noisy quiet happy angry bright empty \
    came went works failed arrived helped called waited lost found paid opened stopped started likes";

/// A text and its number among the rows of the file, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub row: usize,
    pub text: String,
}

/// Reads at most 500 texts, evenly spread over the rows of a file.
pub(super) fn of_file(path: &Path, column: Option<&str>, options: CsvOptions) -> Result<Vec<Sample>, Error> {
    let mut table = TableFile::open(path, &PathPolicy::Unrestricted, options)?;
    let column = match column {
        Some(name) => table.column(name, CellKind::Text)?,
        None => table.text_column(&[])?,
    };
    let (mut samples, mut row, mut step) = (Vec::new(), 0, 1);
    for chunk in table.rows(&[column])? {
        for cells in chunk?.rows.into_iter().map(|row| row.cells) {
            row += 1;
            let text = cells.into_iter().next().and_then(Result::ok);
            let text = text.filter(|text| row % step == 0 && !text.trim().is_empty());
            samples.extend(text.map(|text| Sample { row, text }));
            if samples.len() > MAX_TEXTS {
                step *= 2;
                samples.retain(|sample| sample.row % step == 0);
            }
        }
    }
    if samples.is_empty() {
        return Err(tables::Error::NoRows { found: "no text" }.into());
    }
    Ok(samples)
}

/// Generates texts of ordinary English words, 4 to 100 each.
pub(super) fn generated() -> Vec<Sample> {
    let mut words = Words::default();
    (1..=GENERATED).map(|row| Sample { row, text: words.text(4 + row * 31 % 97) }).collect()
}

/// Words in an order that is the same in every run.
#[derive(Default)]
pub(super) struct Words(u64);

impl Words {
    /// Returns a text of this many words.
    pub(super) fn text(&mut self, count: usize) -> String {
        let known: Vec<&str> = WORDS.split_whitespace().collect();
        let mut next = || {
            // Knuth's generator (MMIX). Its high bits are the random ones.
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            known[(self.0 >> 33) as usize % known.len()]
        };
        (0..count).map(|_| next()).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_texts_differ_in_words_and_length() {
        let texts = generated();
        assert_eq!(texts, generated());
        let mut lengths: Vec<usize> = texts.iter().map(|sample| sample.text.split(' ').count()).collect();
        lengths.sort_unstable();
        assert_eq!((lengths[0], lengths[GENERATED - 1]), (4, 100));
        let mut unique: Vec<_> = texts.into_iter().map(|sample| sample.text).collect();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), GENERATED);
    }

    #[test]
    fn a_long_file_is_sampled_evenly() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts.csv");
        let rows: String = (1..=1300).map(|row| format!("text {row}\n")).collect();
        std::fs::write(&path, format!("text\n{rows}")).unwrap();
        let texts = of_file(&path, None, CsvOptions::default()).unwrap();
        assert_eq!(texts.len(), 325);
        assert_eq!(texts[1], Sample { row: 8, text: "text 8".into() });
        assert_eq!(texts[324].row, 1300);
    }
}
