//! Learning from labelled rows: tries the candidates by cross-validation and fits the best one.

use crate::candidates::{Candidate, MIXES, STRENGTHS, Scales};
use crate::cross_validation::{TOLERANCE, folds, held_out_scores};
use crate::error::Error;
use crate::head::Head;
use crate::matrix::{Matrix, largest, softmax};
use crate::row::Row;
use crate::span::Span;
use crate::{logistic, temperature};

/// Share of the labels that are handed back for a second reading.
const SUSPICIOUS_SHARE: f64 = 0.1;

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
    /// The same seed gives the same result.
    pub seed: u64,
    /// Number of threads; the result does not depend on it.
    pub threads: usize,
}

impl<'a> Teaching<'a> {
    /// Returns a pool without labels, all features, seed 0, two threads.
    #[must_use]
    pub fn new(rows: &'a [Row]) -> Self {
        Self { rows, labels: &[], label_count: 0, label_names: None, features: Features::All, seed: 0, threads: 2 }
    }
}

/// Which vectors of a row a fit may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Features {
    /// Whatever is best.
    All,
    /// The sentence vector only, for a head that can be exported together with the encoder.
    SentenceOnly,
}

/// The result of [`fit`].
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The classifier.
    pub head: Head,
    /// What was tried, from the simplest to the least simple.
    pub candidates: Vec<CandidateScore>,
    /// Indices of the candidates that make up the head, the best one first.
    pub chosen: Vec<usize>,
    /// For each entry of `labels`, the calibrated probabilities by fits without that row. Their
    /// accuracy is no estimate for the file if the rows were chosen by [`next_rows`](crate::next_rows).
    pub out_of_fold: Vec<Vec<f32>>,
    /// The tenth of the labels that deserves a second reading, the most suspicious first.
    pub suspicious: Vec<Suspicion>,
    /// The temperature, which `head` has already applied.
    pub temperature: f32,
}

/// What cross-validation says about a candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct CandidateScore {
    /// The features and the strength of the fit.
    pub name: String,
    /// Share of right labels among the rows that were left out of the fits.
    pub accuracy: f64,
}

/// A label that the fits without its row consider wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// The row.
    pub row: usize,
    /// Its label.
    pub given: usize,
    /// The label that it probably should have.
    pub likely: usize,
}

/// Learns a classifier from `teaching`. Returns within 100 ms once `cancelled` returns true.
///
/// # Errors
/// [`Error`] if rows or labels are unusable, or the caller cancelled.
pub fn fit(teaching: &Teaching<'_>, cancelled: &(dyn Fn() -> bool + Sync)) -> Result<Fitted, Error> {
    check(teaching)?;
    let mut labels: Vec<usize> = teaching.labels.iter().map(|&(_, label)| label).collect();
    labels.sort_unstable();
    labels.dedup();
    if labels.len() < 2 {
        return Err(Error::TooFewLabels { found: labels.len() });
    }
    let position = |label: usize| labels.binary_search(&label).unwrap_or_default();
    let gold: Vec<usize> = teaching.labels.iter().map(|&(_, label)| position(label)).collect();
    let scales = Scales::learn(teaching.rows);
    let rows: Vec<Row> = teaching.labels.iter().map(|&(row, _)| scales.apply(&teaching.rows[row])).collect();
    let mut targets = Matrix::zeros(gold.len(), labels.len());
    gold.iter().enumerate().for_each(|(row, &label)| targets.row_mut(row)[label] = 1.0);
    let folds = folds(&gold, teaching.seed);

    let has_state = rows[0].state.is_some();
    let usable = |mix: &&crate::candidates::Mix| match teaching.features {
        Features::SentenceOnly => mix.state == 0.0 && mix.words == 0.0,
        Features::All => mix.state == 0.0 || has_state,
    };
    let mut tried: Vec<(Candidate, Matrix, f64)> = Vec::new();
    for mix in MIXES.iter().filter(usable) {
        let span = Span::new(rows.len(), |left, right| mix.product(&rows[left], &rows[right]));
        for c in STRENGTHS {
            let scores = held_out_scores(&span.coordinates, &targets, &folds, c, cancelled)?;
            let right = (0..gold.len()).filter(|&row| largest(scores.row(row)) == gold[row]).count();
            tried.push((Candidate { mix: *mix, c }, scores, right as f64 / gold.len() as f64));
        }
    }
    let best = tried.iter().map(|(_, _, accuracy)| *accuracy).fold(0.0, f64::max);
    let chosen = tried.iter().position(|(_, _, accuracy)| *accuracy == best).unwrap_or_default();
    let (candidate, held_out, _) = &tried[chosen];

    let span = Span::new(rows.len(), |left, right| candidate.mix.product(&rows[left], &rows[right]));
    let weights = logistic::fit(&span.coordinates, &targets, candidate.c, TOLERANCE / 100.0, cancelled)?;
    let temperature = temperature::fit(held_out, &gold);
    let head = Head::new(&labels, teaching.label_count, candidate, &scales, (&rows, &span, &weights))
        .with_temperature(temperature)
        .with_centroids(centroids(teaching, &gold, labels.len()));
    let probabilities = |row: usize| {
        let mut scores: Vec<f64> = held_out.row(row).iter().map(|score| score / temperature).collect();
        softmax(&mut scores);
        scores
    };
    let held_out: Vec<Vec<f64>> = (0..gold.len()).map(probabilities).collect();
    let spread = |scores: &Vec<f64>| {
        let mut all = vec![0.0; teaching.label_count];
        labels.iter().zip(scores).for_each(|(&label, &score)| all[label] = score as f32);
        all
    };
    Ok(Fitted {
        head,
        candidates: tried
            .iter()
            .map(|(c, _, accuracy)| CandidateScore { name: c.name(), accuracy: *accuracy })
            .collect(),
        chosen: vec![chosen],
        out_of_fold: held_out.iter().map(spread).collect(),
        suspicious: suspicious(teaching, &labels, &gold, &held_out),
        temperature: temperature as f32,
    })
}

fn check(teaching: &Teaching<'_>) -> Result<(), Error> {
    let (rows, labels) = (teaching.rows.len(), teaching.label_count);
    let mut seen = vec![false; rows];
    for &(row, label) in teaching.labels {
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
    let all = teaching.rows.iter().chain(teaching.label_names.into_iter().flatten());
    match all.clone().position(|row| shape(row) != shape(&teaching.rows[0]) || !finite(row)) {
        Some(row) => Err(Error::BadVector { row }),
        None => Ok(()),
    }
}

fn centroids(teaching: &Teaching<'_>, gold: &[usize], count: usize) -> Vec<Vec<f32>> {
    let mut centroids = vec![vec![0.0; teaching.rows[0].sentence.len()]; count];
    for (&(row, _), &label) in teaching.labels.iter().zip(gold) {
        centroids[label].iter_mut().zip(&teaching.rows[row].sentence).for_each(|(sum, value)| *sum += value);
    }
    for centroid in &mut centroids {
        let length = centroid.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        centroid.iter_mut().for_each(|value| *value /= length);
    }
    centroids
}

/// Returns the tenth of the labels with the least margin over another label, where it is negative.
fn suspicious(teaching: &Teaching<'_>, labels: &[usize], gold: &[usize], held_out: &[Vec<f64>]) -> Vec<Suspicion> {
    let margin = |index: &usize| {
        let (scores, given) = (&held_out[*index], gold[*index]);
        let other = scores.iter().enumerate().filter(|&(label, _)| label != given).map(|(_, &score)| score);
        scores[given] - other.fold(0.0, f64::max)
    };
    let mut order: Vec<usize> = (0..gold.len()).filter(|index| margin(index) < 0.0).collect();
    order.sort_by(|left, right| margin(left).total_cmp(&margin(right)));
    order.truncate((gold.len() as f64 * SUSPICIOUS_SHARE).ceil() as usize);
    let suspicion = |&index: &usize| Suspicion {
        row: teaching.labels[index].0,
        given: teaching.labels[index].1,
        likely: labels[largest(&held_out[index])],
    };
    order.iter().map(suspicion).collect()
}
