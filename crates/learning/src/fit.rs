//! Learning from labelled rows: tries the candidates by cross-validation and fits the best ones.

use crate::choice::{Candidate, Share, choose};
use crate::cross_validation::{HeldOut, Plan};
use crate::error::Error;
use crate::head::{Head, Term};
use crate::matrix::{Matrix, add_scaled, largest, softmax};
use crate::parallel::parallel;
use crate::pool::Pool;
use crate::row::Row;
use crate::span::Span;
use crate::teaching::{Examples, Teaching};
use crate::{cross_validation, logistic, temperature};

/// Share of the labels that are handed back for a second reading.
const SUSPICIOUS_SHARE: f64 = 0.1;
/// Gradient at which the final fit ends.
const TOLERANCE: f64 = 1e-5;

/// The result of [`fit`].
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The classifier.
    pub head: Head,
    /// The features and the strength of the fits that were tried, from the simplest to the least
    /// simple.
    pub candidates: Vec<String>,
    /// Indices of the candidates that make up the head, the best one first.
    pub chosen: Vec<usize>,
    /// At most a tenth of the labels, which deserve a second reading; the most suspicious first.
    pub suspicious: Vec<Suspicion>,
}

/// A label that the fits without its row consider wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// The row.
    pub row: usize,
    /// The label that it probably should have.
    pub likely: usize,
}

/// Learns a classifier from `teaching`. Returns within 100 ms once `cancelled` returns true.
///
/// # Errors
/// [`Error`] if rows or labels are unusable, or the caller cancelled.
pub fn fit(teaching: &Teaching<'_>, cancelled: &(dyn Fn() -> bool + Sync)) -> Result<Fitted, Error> {
    let prepared = Prepared::new(teaching, cancelled)?;
    let Prepared { pool, examples, tried, .. } = &prepared;
    let (count, threads) = (examples.gold.len(), teaching.threads);
    let plan = Plan::new(&examples.gold, examples.labels.len(), teaching.seed);
    let run = |plan: &Plan, indices: &[usize]| {
        let features: Vec<_> = indices.iter().map(|&index| prepared.features(index)).collect();
        plan.run(&features, &examples.targets, threads, cancelled)
    };
    let all: Vec<usize> = (0..tried.len()).collect();
    let (accuracies, mut tried_out) = match teaching.accuracies {
        Some(known) => (known.to_vec(), None),
        None => {
            let held_out = run(&plan, &all)?;
            (held_out.iter().map(|held_out| accuracy(held_out, &examples.gold)).collect(), Some(held_out))
        }
    };
    let chosen = choose(tried, &accuracies, count);
    let best: Vec<usize> = chosen.iter().map(|&(index, _)| index).collect();
    let complete = plan.completed();
    let held_out: Vec<Vec<HeldOut>> = match tried_out.as_mut().filter(|_| complete.is_none()) {
        Some(held_out) => best.iter().map(|&index| std::mem::take(&mut held_out[index])).collect(),
        None => run(complete.as_ref().unwrap_or(&plan), &best)?,
    };
    let held_out = average(&held_out, &chosen, count);
    let temperature = temperature::fit(&held_out, &examples.gold);
    let terms = parallel(chosen.len(), threads, |number| {
        let (index, share) = chosen[number];
        prepared.term(index, share / temperature, TOLERANCE, cancelled)
    })?;
    let held_out: Vec<Vec<f64>> = (0..count).map(|row| probabilities(held_out.row(row), temperature)).collect();
    Ok(Fitted {
        head: Head::new(
            (examples.labels.as_slice(), teaching.label_count),
            (pool, &examples.parts),
            &terms,
            examples.centroids(teaching),
        ),
        candidates: tried.iter().map(Candidate::name).collect(),
        chosen: best,
        suspicious: suspicious(teaching, examples, &held_out),
    })
}

/// Returns how many of `others`, rows with their labels, each candidate labels correctly when it is
/// fitted on `teaching`. The candidates are those of [`Fitted::candidates`].
///
/// # Errors
/// Those of [`fit`].
pub fn right_by_candidate(
    teaching: &Teaching<'_>,
    others: &[(&Row, usize)],
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<usize>, Error> {
    let prepared = Prepared::new(teaching, cancelled)?;
    let Prepared { pool, examples, tried, .. } = &prepared;
    let kind = (examples.labels.as_slice(), teaching.label_count);
    parallel(tried.len(), teaching.threads, |index| {
        let terms = [prepared.term(index, 1.0, cross_validation::TOLERANCE, cancelled)?];
        let head = Head::new(kind, (pool, &examples.parts), &terms, examples.centroids(teaching));
        Ok(others.iter().filter(|(row, label)| head.label(row) == *label).count())
    })
}

/// The candidates with their features.
struct Prepared {
    pool: Pool,
    examples: Examples,
    tried: Vec<Candidate>,
    spans: Vec<Span>,
}

impl Prepared {
    fn new(teaching: &Teaching<'_>, cancelled: &(dyn Fn() -> bool + Sync)) -> Result<Self, Error> {
        let pool = Pool::learn(teaching.checked_rows()?);
        let examples = Examples::new(teaching, &pool)?;
        let tried = Candidate::all(teaching);
        let spans = parallel(tried.len(), teaching.threads, |index| {
            let (mix, parts) = (tried[index].mix, &examples.parts);
            Span::new(parts.len(), |left, right| mix.product(&parts[left], &parts[right]), cancelled)
        })?;
        Ok(Self { pool, examples, tried, spans })
    }

    fn features(&self, index: usize) -> (&Matrix, f64) {
        (&self.spans[index].coordinates, self.tried[index].c)
    }

    /// Fits a candidate on all examples. Its scores count `share`.
    fn term(
        &self,
        index: usize,
        share: f64,
        tolerance: f64,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Term, Error> {
        let (features, c) = self.features(index);
        let mut weights = logistic::fit(features, &self.examples.targets, c, tolerance, cancelled)?;
        weights.values.iter_mut().for_each(|weight| *weight *= share);
        Ok(Term {
            mix: self.tried[index].mix,
            examples: self.spans[index].pivots.clone(),
            contributions: self.spans[index].contributions(&weights),
            bias: weights.row(weights.rows() - 1).to_vec(),
        })
    }
}

/// Returns the share of held-out examples that got their label.
fn accuracy(held_out: &[HeldOut], gold: &[usize]) -> f64 {
    let is_right = |(row, &example): (usize, &usize), scores: &Matrix| largest(scores.row(row)) == gold[example];
    let right = |held_out: &HeldOut| {
        held_out.examples.iter().enumerate().filter(|&place| is_right(place, &held_out.scores)).count()
    };
    let tries: usize = held_out.iter().map(|held_out| held_out.examples.len()).sum();
    held_out.iter().map(right).sum::<usize>() as f64 / tries as f64
}

/// Returns the scores of each example by the chosen candidates' shares, the mean over divisions.
fn average(held_out: &[Vec<HeldOut>], chosen: &[Share], count: usize) -> Matrix {
    let columns = held_out[0][0].scores.columns;
    let (mut sums, mut tries) = (Matrix::zeros(count, columns), vec![0.0; count]);
    for (held_out, &(_, share)) in held_out.iter().zip(chosen) {
        for held_out in held_out {
            for (row, &example) in held_out.examples.iter().enumerate() {
                add_scaled(sums.row_mut(example), share, held_out.scores.row(row));
                tries[example] += share;
            }
        }
    }
    for (row, tries) in tries.into_iter().enumerate() {
        sums.row_mut(row).iter_mut().for_each(|sum| *sum /= tries);
    }
    sums
}

fn probabilities(scores: &[f64], temperature: f64) -> Vec<f64> {
    let mut scaled: Vec<f64> = scores.iter().map(|score| score / temperature).collect();
    softmax(&mut scaled);
    scaled
}

/// Returns the labels with the least margin over another label, where it is negative.
fn suspicious(teaching: &Teaching<'_>, examples: &Examples, held_out: &[Vec<f64>]) -> Vec<Suspicion> {
    let margin = |index: &usize| {
        let (scores, given) = (&held_out[*index], examples.gold[*index]);
        let other = scores.iter().enumerate().filter(|&(label, _)| label != given).map(|(_, &score)| score);
        scores[given] - other.fold(0.0, f64::max)
    };
    let mut order: Vec<usize> = (0..held_out.len()).filter(|index| margin(index) < 0.0).collect();
    order.sort_by(|left, right| margin(left).total_cmp(&margin(right)));
    order.truncate((held_out.len() as f64 * SUSPICIOUS_SHARE).ceil() as usize);
    let suspicion = |&index: &usize| Suspicion {
        row: teaching.labels[index].0,
        likely: examples.labels[largest(&held_out[index])],
    };
    order.iter().map(suspicion).collect()
}
