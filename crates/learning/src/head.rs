//! What is learned: a linear function of a row's vectors, and the centre of each label.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::matrix::{Matrix, add_scaled, dot_f32, largest, softmax};
use crate::mix::Mix;
use crate::pool::{Center, Parts, Pool};
use crate::row::Row;

/// A linear classifier of [`Row`]s with calibrated probabilities. Small enough to be kept as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Number of labels, with those that have no example.
    label_count: usize,
    /// The labels that can be predicted, ascending; the lists below follow this order.
    labels: Vec<usize>,
    /// One vector a label for `Row::sentence`; empty if it is not used.
    sentence: Vec<Vec<f32>>,
    /// One vector a label for `Row::state`; empty if it is not used.
    state: Vec<Vec<f32>>,
    /// For each column of `Row::words`, the examples that have it and their values.
    words: Columns,
    /// What each of these examples contributes to the labels.
    word_contributions: Vec<Vec<f32>>,
    bias: Vec<f32>,
    /// Mean sentence vector of each label's examples, of unit length.
    centroids: Vec<Vec<f32>>,
}

impl Head {
    /// Returns the calibrated probability of each label, which sum to 1. A label without an example
    /// has 0.
    ///
    /// # Panics
    /// If a vector has another length than in the fit, or the state is missing but used.
    #[must_use]
    pub fn probabilities(&self, row: &Row) -> Vec<f32> {
        let mut scores = self.scores(row);
        softmax(&mut scores);
        let mut probabilities = vec![0.0; self.label_count];
        self.labels.iter().zip(scores).for_each(|(&label, score)| probabilities[label] = score as f32);
        probabilities
    }

    /// Returns the most probable label.
    pub(crate) fn label(&self, row: &Row) -> usize {
        self.labels[largest(&self.scores(row))]
    }

    fn scores(&self, row: &Row) -> Vec<f64> {
        let mut scores: Vec<f64> = self.bias.iter().copied().map(f64::from).collect();
        let state = row.state.as_deref().unwrap_or_default();
        for (weights, vector) in [(&self.sentence, row.sentence.as_slice()), (&self.state, state)] {
            for (score, weights) in scores.iter_mut().zip(weights) {
                assert_eq!(weights.len(), vector.len(), "length of a row's vector");
                *score += dot_f32(weights, vector);
            }
        }
        let mut similar = vec![0.0; self.word_contributions.len()];
        for (column, value) in row.words.iter() {
            for &(example, own) in self.words.get(&(column as u16)).into_iter().flatten() {
                similar[usize::from(example)] += f64::from(own) * f64::from(value);
            }
        }
        for (similar, contributions) in similar.iter().zip(&self.word_contributions) {
            for (score, &contribution) in scores.iter_mut().zip(contributions) {
                *score += similar * f64::from(contribution);
            }
        }
        scores
    }

    /// Returns how much `row` resembles the examples: the largest cosine of its sentence vector to
    /// the centre of a label, -1 to 1.
    #[must_use]
    pub fn familiarity(&self, row: &Row) -> f32 {
        let cosines = self.centroids.iter().map(|centroid| dot_f32(centroid, &row.sentence) as f32);
        cosines.fold(-1.0, f32::max)
    }

    /// Divides all scores by a temperature, which changes confidences and no label.
    #[must_use]
    pub fn tempered(mut self, temperature: f32) -> Self {
        let numbers = [&mut self.sentence, &mut self.state, &mut self.word_contributions];
        let rows = numbers.into_iter().flatten().chain([&mut self.bias]);
        rows.flatten().for_each(|number| *number /= temperature);
        self
    }

    /// Returns whether `Row::state` is read.
    #[must_use]
    pub fn uses_state(&self) -> bool {
        !self.state.is_empty()
    }

    /// Returns whether `Row::words` is read.
    #[must_use]
    pub fn uses_words(&self) -> bool {
        !self.words.is_empty()
    }

    /// Returns weights and bias of each label for the sentence vector followed by the state, if the
    /// head [uses](Self::uses_state) it; `None` if words are used. The softmax of these scores is
    /// [`probabilities`](Self::probabilities). A label without an example has weights 0 and a bias
    /// of -1e4, which gives it probability 0.
    #[must_use]
    pub fn dense(&self) -> Option<(Vec<Vec<f32>>, Vec<f32>)> {
        if self.uses_words() {
            return None;
        }
        let (sentence, state) = (self.centroids[0].len(), self.state.first().map_or(0, Vec::len));
        let mut weights = vec![vec![0.0; sentence + state]; self.label_count];
        let mut bias = vec![-1e4; self.label_count];
        for (index, &label) in self.labels.iter().enumerate() {
            for (start, all) in [(0, &self.sentence), (sentence, &self.state)] {
                if let Some(own) = all.get(index) {
                    weights[label][start..start + own.len()].copy_from_slice(own);
                }
            }
            bias[label] = self.bias[index];
        }
        Some((weights, bias))
    }

    /// Adds up `terms` of the given examples' parts to one linear function.
    pub(crate) fn new(
        (labels, label_count): (&[usize], usize),
        (pool, parts): (&Pool, &[Parts]),
        terms: &[Term],
        centroids: Vec<Vec<f32>>,
    ) -> Self {
        let mut bias = vec![0.0; labels.len()];
        let (mut sentence, mut state) = (Vec::new(), Vec::new());
        let total = |weight: fn(&Mix) -> f64| total(terms, weight, parts.len(), labels.len());
        let (of_sentence, of_words, of_state) = (total(|_| 1.0), total(|mix| mix.words), total(|mix| mix.state));
        for (label, bias) in bias.iter_mut().enumerate() {
            *bias = terms.iter().map(|term| term.bias[label]).sum();
            let mut used = |total: &Matrix, center: &Center, vector: fn(&Parts) -> &Vec<f64>| {
                let (weights, shift) = center.undo(&sum(total, label, parts, vector));
                *bias += shift;
                weights
            };
            sentence.extend(of_sentence.iter().map(|total| used(total, &pool.sentence, |parts| &parts.seen)));
            let of_state = of_state.iter().zip(&pool.state);
            state.extend(of_state.map(|(total, center)| used(total, center, |parts| &parts.state)));
        }
        let (words, word_contributions) = of_words.map(|total| words(&total, pool, parts)).unwrap_or_default();
        Self {
            label_count,
            labels: labels.to_vec(),
            sentence,
            state,
            words,
            word_contributions,
            bias: narrow(&bias),
            centroids,
        }
    }
}

/// One fit: the weights of all features are the sum of the examples' parts, weighted by the mix,
/// each times its contribution.
pub(crate) struct Term {
    pub(crate) mix: Mix,
    pub(crate) examples: Vec<usize>,
    /// `[examples, labels]`.
    pub(crate) contributions: Matrix,
    pub(crate) bias: Vec<f64>,
}

/// Hashed column to the examples that have it, each with its value.
type Columns = BTreeMap<u16, Vec<(u16, f32)>>;

/// Returns what each example contributes to the labels through one kind of vector,
/// `[examples, labels]`, or `None` if no term uses it.
fn total(terms: &[Term], weight: fn(&Mix) -> f64, examples: usize, labels: usize) -> Option<Matrix> {
    let mut terms = terms.iter().filter(|term| weight(&term.mix) > 0.0).peekable();
    terms.peek()?;
    let mut total = Matrix::zeros(examples, labels);
    for term in terms {
        for (index, &example) in term.examples.iter().enumerate() {
            add_scaled(total.row_mut(example), weight(&term.mix), term.contributions.row(index));
        }
    }
    Some(total)
}

/// Returns the examples of each column, and what they contribute to the labels. For many labels,
/// this takes a fraction of the space of weights for each column and label.
fn words(total: &Matrix, pool: &Pool, parts: &[Parts]) -> (Columns, Vec<Vec<f32>>) {
    let mut columns = Columns::new();
    for (example, parts) in parts.iter().enumerate() {
        for (column, value) in parts.words.iter() {
            let own = f64::from(value) * pool.idf[column];
            columns.entry(column as u16).or_default().push((example as u16, rounded(own)));
        }
    }
    let rows = (0..total.rows()).map(|example| total.row(example).iter().map(|&share| rounded(share)).collect());
    (columns, rows.collect())
}

/// Rounds to three digits, which halves the size of the file and changes no score visibly.
fn rounded(value: f64) -> f32 {
    format!("{value:.2e}").parse().unwrap_or_default()
}

/// Returns the sum of the examples' vectors, each times what it contributes to `label`.
fn sum(total: &Matrix, label: usize, parts: &[Parts], vector: fn(&Parts) -> &Vec<f64>) -> Vec<f64> {
    let mut sum = vec![0.0; vector(&parts[0]).len()];
    for (example, parts) in parts.iter().enumerate() {
        add_scaled(&mut sum, total.row(example)[label], vector(parts));
    }
    sum
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}
