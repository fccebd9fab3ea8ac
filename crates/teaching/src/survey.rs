//! One pass over a file: counts its rows, draws the audit and the sample, and collects given
//! labels and wanted texts.
//!
//! Draws keep the smallest of numbers that depend on the seed and the row, so that one pass is
//! enough, memory does not grow with the file, and the same seed draws the same rows again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cache_dir::digest::hex;
use sha2::{Digest as _, Sha256};
use tables::{Cell, CellKind, ColumnRef, CsvOptions, PathPolicy, TableFile};

use crate::digest::{Digest, draw};
use crate::error::Error;
use crate::watch::{Stage, Watch};

/// Rows kept apart for the audit. A larger audit narrows the interval slowly: 100 rows with 93
/// right give 86–97 %, 400 rows 90–95 %.
pub(crate) const AUDIT_ROWS: usize = 100;
/// A small file must leave rows to teach: at most this share is kept apart.
const AUDIT_SHARE: u64 = 4;
/// Different texts that are encoded: enough to choose rows from and to learn their distribution.
const SAMPLE: usize = 5000;
/// Labelled rows of a file that are taught; more would take minutes to learn.
const MAX_LABELLED: usize = 2000;
/// Bytes of a sampled text that are kept in memory: more than the encoders read of usual texts.
pub(crate) const MAX_TEXT: usize = 4 << 10;
/// Bytes of a wanted text that are kept. Audited texts are read whole, as the served model reads
/// them.
const MAX_WANTED_TEXT: usize = 256 << 10;

/// Columns that this program writes and that are never the text.
const OWN_COLUMNS: [&str; 5] = ["prediction", "corrected_from", "error", "labels", "entities"];
/// Prefix of their names if the file had such columns before.
const PREFIX: &str = "local_model_";

/// A file and its columns.
#[derive(Clone, Debug)]
pub struct FileRequest {
    pub path: std::path::PathBuf,
    /// `None` means the only column of texts.
    pub text_column: Option<String>,
    /// A column with labels; rows without one are not labelled. Without it, the corrected rows of
    /// an output of this program are its labelled rows.
    pub label_column: Option<String>,
    pub csv_options: CsvOptions,
}

/// The file of a survey, open.
pub(crate) struct OpenFile {
    table: TableFile,
    text: ColumnRef,
    labels: Labels,
}

/// Where labels come from.
#[derive(Clone)]
enum Labels {
    None,
    Column(ColumnRef),
    /// The columns of the decision and of the model's answer.
    Corrections(ColumnRef, ColumnRef),
}

impl OpenFile {
    /// # Errors
    /// A file or column that cannot be used.
    pub(crate) fn open(request: &FileRequest, policy: &PathPolicy) -> Result<Self, Error> {
        let mut table = TableFile::open(&request.path, policy, request.csv_options)?;
        let corrections = ["", PREFIX].into_iter().find_map(|prefix| {
            let present = |name: &str| table.columns().iter().any(|column| *column == format!("{prefix}{name}"));
            let column = |name: &str| table.optional(&format!("{prefix}{name}"));
            let is_output = present("prediction") && present("corrected_from");
            Some(Labels::Corrections(column("prediction")?, column("corrected_from")?)).filter(|_| is_output)
        });
        let labels = match &request.label_column {
            Some(name) => Labels::Column(table.column(name, CellKind::Value)?),
            None => corrections.unwrap_or(Labels::None),
        };
        let text = match &request.text_column {
            Some(name) => table.column(name, CellKind::Text)?,
            None => {
                let own: Vec<String> =
                    OWN_COLUMNS.iter().flat_map(|name| [(*name).to_owned(), format!("{PREFIX}{name}")]).collect();
                let is_output = matches!(labels, Labels::Corrections(..));
                let own = own.iter().map(String::as_str).filter(|_| is_output);
                table.text_column(&own.chain(request.label_column.as_deref()).collect::<Vec<_>>())?
            }
        };
        Ok(Self { table, text, labels })
    }

    pub(crate) fn path(&self) -> &Path {
        self.table.path()
    }

    pub(crate) fn text_column(&self) -> &str {
        &self.text.column
    }

    /// Returns the columns to read: texts, then what the labels need.
    fn columns(&self) -> Vec<ColumnRef> {
        let labels = match &self.labels {
            Labels::None => vec![],
            Labels::Column(label) => vec![label.clone()],
            Labels::Corrections(decision, answer) => vec![decision.clone(), answer.clone()],
        };
        std::iter::once(self.text.clone()).chain(labels).collect()
    }

    /// Returns the label of a row, if it has one.
    fn label<'a>(&self, cells: &'a [Cell]) -> Option<&'a str> {
        let cell = |number: usize| cells.get(number)?.as_deref().ok().map(str::trim).filter(|cell| !cell.is_empty());
        match self.labels {
            Labels::None => None,
            Labels::Column(_) => cell(1),
            Labels::Corrections(..) => cell(2).and_then(|_| cell(1)),
        }
    }
}

/// A text and the first row that has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub row: u64,
    pub digest: Digest,
    /// The beginning, as far as it is used.
    pub text: String,
    /// Rows with this text.
    pub rows: u64,
    pub label: Option<String>,
    /// Whether rows with this text have different labels.
    pub conflicts: bool,
}

/// A row drawn for the audit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Drawn {
    pub row: u64,
    pub digest: Digest,
    pub label: Option<String>,
}

/// The result of a pass.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub rows: u64,
    pub rows_with_text: u64,
    /// SHA-256 over the digests of all texts in their order.
    pub texts_sha256: String,
    /// Uniformly drawn rows with text, in random order.
    pub audit: Vec<Drawn>,
    /// Different texts: labelled ones first drawn, then others.
    pub sample: Vec<Found>,
    /// The wanted rows that exist, blank ones with an empty text.
    pub wanted: BTreeMap<u64, Found>,
}

/// The smallest of many drawn numbers, with their values.
struct Smallest<T> {
    limit: usize,
    kept: BTreeMap<u128, T>,
}

impl<T> Smallest<T> {
    fn new(limit: usize) -> Self {
        Self { limit, kept: BTreeMap::new() }
    }

    /// Calls `again` with the value of a number that is kept already, or keeps the number with
    /// the value of `first` if it is small enough.
    fn add(&mut self, number: u128, first: impl FnOnce() -> T, again: impl FnOnce(&mut T)) {
        if let Some(value) = self.kept.get_mut(&number) {
            again(value);
        } else if self.kept.len() < self.limit || self.kept.last_key_value().is_some_and(|(last, _)| number < *last) {
            self.kept.insert(number, first());
            if self.kept.len() > self.limit {
                self.kept.pop_last();
            }
        }
    }
}

impl Survey {
    /// Reads a file. Texts of the audit rows `sealed` are not in the sample; without them, the
    /// rows drawn in this pass are not.
    ///
    /// # Errors
    /// `Cancelled`, or a file that cannot be read.
    pub(crate) fn read(
        file: &mut OpenFile,
        seed: u64,
        sealed: Option<&BTreeSet<Digest>>,
        wanted: &BTreeSet<u64>,
        watch: &Watch<'_>,
    ) -> Result<Self, Error> {
        let mut survey = Self::default();
        let mut texts = Sha256::new();
        let mut audit = Smallest::new(AUDIT_ROWS);
        // Texts of audit rows are removed afterwards.
        let mut labelled: Smallest<Found> = Smallest::new(MAX_LABELLED + AUDIT_ROWS);
        let mut others: Smallest<Found> = Smallest::new(SAMPLE + AUDIT_ROWS);
        let columns = file.columns();
        for chunk in file.table.rows(&columns)? {
            for cells in chunk?.rows.into_iter().map(|row| row.cells) {
                survey.rows += 1;
                let row = survey.rows;
                let text = match &cells[0] {
                    Ok(text) => text.as_str(),
                    Err(error) => {
                        texts.update(hex(&Digest::of(&error.to_string()).0));
                        continue;
                    }
                };
                let digest = Digest::of(text);
                texts.update(hex(&digest.0));
                let label = file.label(&cells);
                let found_with = |bytes: usize| Found {
                    row,
                    digest,
                    text: beginning(text, bytes).to_owned(),
                    rows: 1,
                    label: label.map(str::to_owned),
                    conflicts: false,
                };
                if wanted.contains(&row) {
                    survey.wanted.insert(row, found_with(MAX_WANTED_TEXT));
                }
                let found = || found_with(MAX_TEXT);
                if text.trim().is_empty() {
                    continue;
                }
                survey.rows_with_text += 1;
                let drawn = || Drawn { row, digest, label: label.map(str::to_owned) };
                audit.add(draw(seed, "audit", &row.to_le_bytes()), drawn, |_| ());
                let number = draw(seed, "sample", &digest.0);
                let again = |known: &mut Found| {
                    known.rows += 1;
                    known.conflicts |= label.is_some() && known.label.as_deref() != label;
                };
                if label.is_some() {
                    labelled.add(number, found, again);
                }
                others.add(number, || Found { label: None, ..found() }, again_unlabelled);
            }
            watch.at(Stage::Reading, survey.rows)?;
        }
        survey.texts_sha256 = hex(&texts.finalize());
        survey.audit = audit.kept.into_values().take((survey.rows_with_text / AUDIT_SHARE) as usize).collect();
        let drawn: BTreeSet<Digest> = survey.audit.iter().map(|row| row.digest).collect();
        let sealed = sealed.unwrap_or(&drawn);
        let free = |found: &Found| !sealed.contains(&found.digest);
        let mut sample: Vec<Found> = labelled.kept.into_values().filter(free).take(MAX_LABELLED).collect();
        let known: BTreeSet<Digest> = sample.iter().map(|found| found.digest).collect();
        let others = others.kept.into_values().filter(|found| free(found) && !known.contains(&found.digest));
        sample.extend(others.take(SAMPLE.saturating_sub(known.len())));
        survey.sample = sample;
        Ok(survey)
    }
}

fn again_unlabelled(known: &mut Found) {
    known.rows += 1;
}

/// Returns at most `bytes` bytes of a text, whole characters only.
pub(crate) fn beginning(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
