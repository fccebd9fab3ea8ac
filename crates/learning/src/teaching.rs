//! What a fit learns from: rows, labels, and their vectors on the pool's scales.

use crate::error::Error;
use crate::matrix::{Matrix, dot, largest};
use crate::pool::{Parts, Pool};
use crate::row::Row;

/// Labels with at most so many examples get their name as a further one.
const NAMED_EXAMPLES: usize = 8;
/// Standard errors by which names must beat chance.
const CLEARLY: f64 = 3.0;
/// Examples of a label weigh `count ^ -BALANCE`. With 0 rare labels are hardly ever predicted, with
/// 1 all labels weigh the same.
const BALANCE: f64 = 0.5;

/// What there is to learn from.
#[derive(Clone, Copy)]
pub struct Teaching<'a> {
    /// The pool: labelled and unlabelled rows, at most a few thousand.
    pub rows: &'a [Row],
    /// Row and label of each example; a row has at most one label.
    pub labels: &'a [(usize, usize)],
    /// Number of labels, with those that have no example yet.
    pub label_count: usize,
    /// One row for each label, made of its name or meaning; helps while there are few examples.
    pub label_names: Option<&'a [Row]>,
    /// Which vectors may be used.
    pub features: Features,
    /// Held-out accuracy of each of [`Fitted::candidates`](crate::Fitted::candidates), where the caller
    /// knows it. Cross-validation cannot find it if an encoder was tuned on the labels.
    pub accuracies: Option<&'a [f64]>,
    /// The same seed gives the same result.
    pub seed: u64,
    /// Number of threads; the result does not depend on it.
    pub threads: usize,
}

impl<'a> Teaching<'a> {
    /// Returns a pool without labels, all features, seed 0, two threads.
    #[must_use]
    pub fn new(rows: &'a [Row]) -> Self {
        Self {
            rows,
            labels: &[],
            label_count: 0,
            label_names: None,
            features: Features::All,
            accuracies: None,
            seed: 0,
            threads: 2,
        }
    }

    /// Returns the rows, once rows and labels have been checked.
    pub(crate) fn checked_rows(&self) -> Result<&'a [Row], Error> {
        let (rows, labels) = (self.rows.len(), self.label_count);
        let mut seen = vec![false; rows];
        for &(row, label) in self.labels {
            if row >= rows {
                return Err(Error::NoSuchRow { row, rows });
            }
            if label >= labels {
                return Err(Error::NoSuchLabel { label, labels });
            }
            if std::mem::replace(&mut seen[row], true) {
                return Err(Error::TwoLabels { row });
            }
        }
        let shape = |row: &Row| (row.sentence.len(), row.state.as_ref().map(Vec::len));
        let finite = |row: &Row| row.sentence.iter().chain(row.state.iter().flatten()).all(|value| value.is_finite());
        let mut all = self.rows.iter().chain(self.label_names.into_iter().flatten());
        match all.position(|row| shape(row) != shape(&self.rows[0]) || !finite(row)) {
            Some(row) => Err(Error::BadVector { row }),
            None => Ok(self.rows),
        }
    }
}

/// Which vectors of a row a fit may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Features {
    /// Whatever is best.
    All,
    /// No hashed words, for a head that can be exported together with the encoders.
    Dense,
}

/// The labelled rows, in the form that fits need.
pub(crate) struct Examples {
    /// The labels that can be learned, ascending.
    pub(crate) labels: Vec<usize>,
    /// Index into `labels` for each example.
    pub(crate) gold: Vec<usize>,
    /// Vectors of each example, then of the names that count as further ones.
    pub(crate) parts: Vec<Parts>,
    /// `[examples and names, labels]`; the sum of a row is its weight.
    pub(crate) targets: Matrix,
}

impl Examples {
    pub(crate) fn new(teaching: &Teaching<'_>, pool: &Pool) -> Result<Self, Error> {
        let mut labels: Vec<usize> = teaching.labels.iter().map(|&(_, label)| label).collect();
        labels.sort_unstable();
        labels.dedup();
        if labels.len() < 2 {
            return Err(Error::TooFewLabels { found: labels.len() });
        }
        let position = |&(_, label): &(usize, usize)| labels.binary_search(&label).unwrap_or_default();
        let gold: Vec<usize> = teaching.labels.iter().map(position).collect();
        let mut parts: Vec<Parts> = teaching.labels.iter().map(|&(row, _)| pool.parts(&teaching.rows[row])).collect();
        let mut counts = vec![0_usize; labels.len()];
        gold.iter().for_each(|&label| counts[label] += 1);
        let mut given = gold.clone();
        if let Some(names) = teaching.label_names {
            let names: Vec<Parts> = labels.iter().map(|&label| pool.parts(&names[label])).collect();
            if names_help(&names, &parts, &gold) {
                for (label, name) in names.into_iter().enumerate().filter(|&(label, _)| counts[label] <= NAMED_EXAMPLES)
                {
                    parts.push(name);
                    given.push(label);
                }
            }
        }
        let mean = gold.len() as f64 / labels.len() as f64;
        let mut targets = Matrix::zeros(given.len(), labels.len());
        for (row, &label) in given.iter().enumerate() {
            targets.row_mut(row)[label] = (mean / counts[label] as f64).powf(BALANCE);
        }
        Ok(Self { labels, gold, parts, targets })
    }

    /// Returns the mean sentence vector of each label's examples, of unit length.
    pub(crate) fn centroids(&self, teaching: &Teaching<'_>) -> Vec<Vec<f32>> {
        let mut centroids = vec![vec![0.0; teaching.rows[0].sentence.len()]; self.labels.len()];
        for (&(row, _), &label) in teaching.labels.iter().zip(&self.gold) {
            centroids[label].iter_mut().zip(&teaching.rows[row].sentence).for_each(|(sum, value)| *sum += value);
        }
        for centroid in &mut centroids {
            let length = centroid.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            centroid.iter_mut().for_each(|value| *value /= length);
        }
        centroids
    }
}

/// Returns whether names alone find the labels of examples clearly better than chance. Names such
/// as "1" and "2" say nothing and would only mislead.
fn names_help(names: &[Parts], examples: &[Parts], gold: &[usize]) -> bool {
    let nearest = |example: &Parts| {
        let cosine = |name: &Parts| dot(&name.sentence, &example.sentence) / dot(&name.sentence, &name.sentence).sqrt();
        largest(&names.iter().map(cosine).collect::<Vec<f64>>())
    };
    let mut hits = vec![(0.0, 0.0); names.len()];
    for (example, &label) in examples.iter().zip(gold) {
        hits[label].0 += f64::from(u8::from(nearest(example) == label));
        hits[label].1 += 1.0;
    }
    let recall = hits.iter().map(|(hits, of)| hits / of).sum::<f64>() / names.len() as f64;
    let chance = 1.0 / names.len() as f64;
    let error = (chance * (1.0 - chance) / gold.len() as f64).sqrt();
    recall > chance + CLEARLY * error
}
