//! What is learned: a linear function of a row's vectors, and the centre of each label.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::candidates::{Candidate, Scales};
use crate::matrix::{Matrix, dot_f32, softmax};
use crate::row::Row;
use crate::span::Span;

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
    /// Weights of the labels for each column of `Row::words` that has any.
    words: BTreeMap<u16, Vec<f32>>,
    bias: Vec<f32>,
    /// Scores are divided by it before they become probabilities.
    temperature: f32,
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
        scores.iter_mut().for_each(|score| *score /= f64::from(self.temperature));
        softmax(&mut scores);
        let mut probabilities = vec![0.0; self.label_count];
        self.labels.iter().zip(scores).for_each(|(&label, score)| probabilities[label] = score as f32);
        probabilities
    }

    fn scores(&self, row: &Row) -> Vec<f64> {
        let mut scores: Vec<f64> = self.bias.iter().copied().map(f64::from).collect();
        for (score, weights) in scores.iter_mut().zip(&self.sentence) {
            assert_eq!(weights.len(), row.sentence.len(), "length of the sentence vector");
            *score += dot_f32(weights, &row.sentence);
        }
        if self.uses_state() {
            let state = row.state.as_deref().unwrap_or_default();
            for (score, weights) in scores.iter_mut().zip(&self.state) {
                assert_eq!(weights.len(), state.len(), "length of the state");
                *score += dot_f32(weights, state);
            }
        }
        for (&column, &value) in row.words.indices.iter().zip(&row.words.values) {
            let Some(weights) = self.words.get(&column) else { continue };
            for (score, &weight) in scores.iter_mut().zip(weights) {
                *score += f64::from(weight) * f64::from(value);
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

    /// Returns weights and bias of each label for the sentence vector alone, divided by the
    /// temperature, or `None` if other vectors are read. A label without an example has weights 0
    /// and a bias of -1e4, whose probability is 0.
    #[must_use]
    pub fn dense(&self) -> Option<(Vec<Vec<f32>>, Vec<f32>)> {
        if self.uses_state() || self.uses_words() {
            return None;
        }
        let mut weights = vec![vec![0.0; self.sentence[0].len()]; self.label_count];
        let mut bias = vec![-1e4; self.label_count];
        for (index, &label) in self.labels.iter().enumerate() {
            weights[label] = self.sentence[index].iter().map(|weight| weight / self.temperature).collect();
            bias[label] = self.bias[index] / self.temperature;
        }
        Some((weights, bias))
    }

    /// Returns the weights of `candidate` as a head. `rows` are the scaled rows of `span`, and
    /// `weights` is the fit in its coordinates.
    pub(crate) fn new(
        labels: &[usize],
        label_count: usize,
        candidate: &Candidate,
        scales: &Scales,
        (rows, span, weights): (&[Row], &Span, &Matrix),
    ) -> Self {
        let contributions = span.contributions(weights);
        let mix = candidate.mix;
        let mut bias = weights.row(weights.rows() - 1).to_vec();
        let dense = |factor: f64, vector: &dyn Fn(usize) -> Vec<f32>, label: usize| {
            let mut sum = vec![0.0; vector(0).len()];
            for (index, &row) in span.pivots.iter().enumerate() {
                let share = contributions.row(index)[label] * factor;
                sum.iter_mut().zip(vector(row)).for_each(|(sum, value)| *sum += share * f64::from(value));
            }
            sum
        };
        let to_f32 = |vector: Vec<f64>| vector.into_iter().map(|value| value as f32).collect::<Vec<f32>>();
        let (mut sentence, mut state, mut words) = (Vec::new(), Vec::new(), BTreeMap::<u16, Vec<f64>>::new());
        for (label, bias) in bias.iter_mut().enumerate() {
            if mix.sentence > 0.0 {
                sentence.push(to_f32(dense(mix.sentence, &|row| rows[row].sentence.clone(), label)));
            }
            if mix.state > 0.0 {
                let scaled = dense(mix.state, &|row| rows[row].state.clone().unwrap_or_default(), label);
                let raw: Vec<f64> = scaled.iter().map(|weight| weight * scales.state_scale).collect();
                *bias -= crate::matrix::dot(&raw, &scales.state_mean);
                state.push(to_f32(raw));
            }
        }
        if mix.words > 0.0 {
            for (index, &row) in span.pivots.iter().enumerate() {
                for (column, value) in rows[row].words.iter() {
                    let factor = mix.words * f64::from(value) * scales.idf[column];
                    let weights = words.entry(column as u16).or_insert_with(|| vec![0.0; labels.len()]);
                    crate::matrix::add_scaled(weights, factor, contributions.row(index));
                }
            }
        }
        Self {
            label_count,
            labels: labels.to_vec(),
            sentence,
            state,
            words: words.into_iter().map(|(column, weights)| (column, to_f32(weights))).collect(),
            bias: to_f32(bias),
            temperature: 1.0,
            centroids: Vec::new(),
        }
    }

    pub(crate) fn with_temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature as f32;
        self
    }

    /// Adds the centre of each label's examples.
    pub(crate) fn with_centroids(mut self, centroids: Vec<Vec<f32>>) -> Self {
        self.centroids = centroids;
        self
    }
}
