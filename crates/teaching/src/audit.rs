//! The audit: hands out the rows kept apart, without predictions, and states what their labels
//! prove.

use std::collections::BTreeMap;

use chrono::Utc;
use tables::{CsvOptions, PathPolicy};

use crate::digest::Digest;
use crate::encode::Encode;
use crate::error::Error;
use crate::fit::best;
use crate::pool::{Pool, shown};
use crate::round::ShownRow;
use crate::state::{Source, TaughtHead};
use crate::statement::{Audited, EPSILONS, Outcome, Statement};
use crate::survey::{FileRequest, Found, OpenFile, Survey};
use crate::teacher::{Teacher, Work};
use crate::tune::encode_of;
use crate::vectors::Vectors;
use crate::watch::{Stage, Watch};

/// Rows that one call hands out.
const MAX_ROWS: usize = 20;

/// The answer to an audit call.
#[derive(Clone, Debug, Default)]
pub struct AuditAnswer {
    /// Rows to label next, in random order.
    pub rows: Vec<ShownRow>,
    /// Audit rows without a label, including those in `rows`.
    pub left: usize,
    /// All labels with their meanings.
    pub labels: Vec<(String, Option<String>)>,
    /// Once all rows are labelled.
    pub statement: Option<Statement>,
    /// Whether the threshold changed, so that the model must be loaded again.
    pub is_new: bool,
}

impl Teacher {
    /// Adds labels of audit rows, by row number. Returns the next rows; or, once all rows have
    /// labels, what can be stated for the wanted share `epsilon` of differing rows.
    ///
    /// # Errors
    /// A mistake in the labels or the share; a file that changed; `OneLabel` before there is a
    /// model; `Cancelled`.
    pub fn audit(
        &self,
        name: &str,
        labels: &BTreeMap<u64, String>,
        epsilon: f64,
        paths: &PathPolicy,
        watch: &Watch<'_>,
    ) -> Result<AuditAnswer, Error> {
        if !EPSILONS.contains(&epsilon) {
            let (least, most) = (*EPSILONS.start(), *EPSILONS.end());
            return Err(Error::EpsilonOutOfRange { found: epsilon, least, most });
        }
        let mut work = self.open(name, false, watch)?;
        let source = work.state.source.clone().ok_or_else(|| Error::NoFile { name: name.to_owned() })?;
        let (head, digest) = TaughtHead::read(&work.dir)?.ok_or_else(|| Error::OneLabel { name: name.to_owned() })?;
        let survey = work.read_again(&source, paths, watch)?;
        work.label_audit(labels)?;
        if !labels.is_empty() {
            work.state.write(&work.dir)?;
        }
        let mut answer = AuditAnswer {
            left: work.state.audit.rows.iter().filter(|row| row.label.is_none()).count(),
            labels: work.state.labels.iter().map(|label| (label.name.clone(), label.meaning.clone())).collect(),
            ..AuditAnswer::default()
        };
        if answer.left > 0 {
            answer.rows = work.unlabelled(&survey);
            return Ok(answer);
        }
        let stated = work.state.statement_about(&digest).filter(|stated| stated.epsilon.to_bits() == epsilon.to_bits());
        if let Some(stated) = stated {
            answer.statement = Some(stated.clone());
            return Ok(answer);
        }
        let statement = self.state(&mut work, &survey, &head, epsilon, watch)?;
        let statement = Statement { head: digest, ..statement };
        work.state.audit.looks = statement.look;
        work.state.audit.statement = Some(statement.clone());
        work.state.write(&work.dir)?;
        work.write_card()?;
        answer.statement = Some(statement);
        answer.is_new = true;
        Ok(answer)
    }

    /// Computes the statement about the model as it is.
    fn state(
        &self,
        work: &mut Work<'_>,
        survey: &Survey,
        head: &TaughtHead,
        epsilon: f64,
        watch: &Watch<'_>,
    ) -> Result<Statement, Error> {
        let encode = encode_of(&self.encode, &work.dir, head)?;
        let outcomes = outcomes(work, survey, head, &*encode, watch)?;
        let audited = Audited { outcomes: &outcomes, epsilon, look: work.state.audit.looks + 1 };
        let mut statement = Statement::new(&audited);
        if let Some(source) = &work.state.source {
            statement.file.clone_from(&source.file);
            statement.rows_with_text = source.rows_with_text;
            statement.texts_sha256.clone_from(&source.texts_sha256);
        }
        statement.date = Utc::now().format("%Y-%m-%d").to_string();
        let mut vectors = Vectors::read(&work.dir, head.vectors(), encode.digest()?)?;
        let pool = Pool::new(&work.state, Some(survey), &mut vectors, &*encode, watch)?;
        vectors.write(&work.dir)?;
        statement.automatic = (1e4 * automatic_share(&pool, head, statement.threshold)).round() / 1e4;
        Ok(statement)
    }
}

impl Work<'_> {
    /// Reads the audited file, which must have the same texts as when the audit was drawn.
    fn read_again(&self, source: &Source, paths: &PathPolicy, watch: &Watch<'_>) -> Result<Survey, Error> {
        let request = FileRequest {
            path: self.path_of(source),
            text_column: Some(source.text_column.clone()),
            label_column: None,
            csv_options: CsvOptions { delimiter: source.delimiter, header: source.header },
        };
        let mut file = OpenFile::open(&request, paths)?;
        let audit_rows = self.state.audit.rows.iter().map(|row| row.row);
        let wanted = audit_rows.chain(self.state.rows.keys().copied()).collect();
        let survey = Survey::read(&mut file, self.state.seed, Some(&self.state.sealed()), &wanted, watch)?;
        if survey.texts_sha256 == source.texts_sha256 {
            return Ok(survey);
        }
        let name = self.dir.name().to_owned();
        let differs =
            |row: &&crate::state::AuditRow| survey.wanted.get(&row.row).is_none_or(|found| found.digest != row.digest);
        let row = self.state.audit.rows.iter().filter(differs).map(|row| row.row).min();
        Err(Error::FileChanged { name, file: source.file.clone(), row })
    }

    /// Adds labels of audit rows. Rows with the same text get the same label.
    fn label_audit(&mut self, labels: &BTreeMap<u64, String>) -> Result<(), Error> {
        let known: Vec<String> = self.state.labels.iter().map(|label| label.name.clone()).collect();
        let mut given: BTreeMap<Digest, (u64, &str)> = BTreeMap::new();
        for (&row, label) in labels {
            let label = label.trim();
            let audited = self.state.audit.rows.iter().find(|audited| audited.row == row);
            let audited = audited.ok_or(Error::RowNotAudited { row })?;
            if !known.iter().any(|known| known == label) {
                let (name, label) = (self.dir.name().to_owned(), label.chars().take(40).collect());
                return Err(Error::LabelUnknown { name, label, known });
            }
            if self.state.audit.looks > 0 && audited.label.as_deref() != Some(label) {
                return Err(Error::AuditStated { row });
            }
            match given.insert(audited.digest, (row, label)) {
                Some((other, other_label)) if other_label != label => {
                    let (label, other_label) = (label.to_owned(), other_label.to_owned());
                    return Err(Error::TwoLabels { row, label, other, other_label });
                }
                _ => {}
            }
        }
        for audited in &mut self.state.audit.rows {
            if let Some((_, label)) = given.get(&audited.digest) {
                audited.label = Some((*label).to_owned());
            }
        }
        Ok(())
    }

    /// Returns the next rows to label, each text once.
    fn unlabelled(&self, survey: &Survey) -> Vec<ShownRow> {
        let mut seen = std::collections::BTreeSet::new();
        let rows = self.state.audit.rows.iter().filter(|row| row.label.is_none() && seen.insert(row.digest));
        let shown_row = |row: &crate::state::AuditRow| {
            let found = survey.wanted.get(&row.row)?;
            Some(ShownRow { row: row.row, text: shown(&found.text) })
        };
        rows.filter_map(shown_row).take(MAX_ROWS).collect()
    }
}

/// Returns the share of the file's rows that the model is to answer alone, by the sample.
fn automatic_share(pool: &Pool, head: &TaughtHead, threshold: Option<f32>) -> f64 {
    let Some(threshold) = threshold else { return 0.0 };
    let (mut automatic, mut all) = (0, 0);
    for (item, row) in pool.items.iter().zip(&pool.rows) {
        let scores = head.head.probabilities(row);
        let is_sure = scores[best(&scores)] >= threshold;
        let is_familiar = head.head.familiarity(row) >= head.least_familiarity;
        all += item.rows;
        automatic += if is_sure && is_familiar { item.rows } else { 0 };
    }
    automatic as f64 / all.max(1) as f64
}

/// Returns confidence and correctness of each audit row, as the served model answers it.
fn outcomes(
    work: &Work<'_>,
    survey: &Survey,
    head: &TaughtHead,
    encode: &dyn Encode,
    watch: &Watch<'_>,
) -> Result<Vec<Outcome>, Error> {
    let rows = &work.state.audit.rows;
    watch.at(Stage::Encoding, 0)?;
    let mut answers: BTreeMap<Digest, (f64, &str)> = BTreeMap::new();
    for Found { digest, text, .. } in rows.iter().filter_map(|row| survey.wanted.get(&row.row)) {
        if answers.contains_key(digest) {
            continue;
        }
        let encoded = encode.encode(text, head.head.uses_state(), watch.cancellation)?;
        let answer = head.answer(encoded, text);
        let confidence = if answer.is_unfamiliar { 0.0 } else { f64::from(answer.scores[best(&answer.scores)]) };
        answers.insert(*digest, (confidence, head.labels[best(&answer.scores)].as_str()));
    }
    let outcome = |row: &crate::state::AuditRow| {
        let (confidence, label) = answers.get(&row.digest)?;
        Some((*confidence, row.label.as_deref() == Some(*label)))
    };
    Ok(rows.iter().filter_map(outcome).collect())
}
