//! Metrics of models that predict a number.

use serde::Serialize;

use crate::ScoredRow;
use crate::ratio::{mean, ratio};

/// Metrics of a regression model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Regression {
    /// Mean absolute error.
    pub mae: f64,
    /// Root mean squared error.
    pub rmse: f64,
    /// Spearman's rank correlation, -1 to 1; absent if all numbers on one side are equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spearman: Option<f64>,
}

impl Regression {
    pub(super) fn from_rows(rows: &[ScoredRow]) -> Self {
        let pairs: Vec<(f64, f64)> = rows.iter().filter_map(ScoredRow::numbers).collect();
        let (gold, predicted): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        let error = |(gold, predicted): &(f64, f64)| predicted - gold;
        Self {
            mae: mean(pairs.iter().map(|pair| error(pair).abs())),
            rmse: mean(pairs.iter().map(|pair| error(pair).powi(2))).sqrt(),
            spearman: pearson(&ranks(&gold), &ranks(&predicted)),
        }
    }
}

/// Returns each value's rank, from 1. Equal values share the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut lower = 0;
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = lower as f64 + (tied.len() as f64 + 1.0) / 2.0;
        tied.iter().for_each(|&index| ranks[index] = rank);
        lower += tied.len();
    }
    ranks
}

/// Returns Pearson's correlation, or `None` if all values on one side are equal.
fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let center = |values: &[f64]| -> Vec<f64> {
        let mean = mean(values.iter().copied());
        values.iter().map(|value| value - mean).collect()
    };
    let product = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let (a, b) = (center(a), center(b));
    let spread = (product(&a, &a) * product(&b, &b)).sqrt();
    (spread > 0.0).then(|| ratio(product(&a, &b), spread))
}
