//! Models that answer with a number.

use serde::Serialize;

use crate::evaluation::{Gold, Judged, mean, scores, share};

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Regression {
    /// Mean distance.
    pub mae: f64,
    /// Root of the mean squared distance.
    pub rmse: f64,
    /// Rank correlation, -1 to 1; absent where all numbers on one side are the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spearman: Option<f64>,
}

impl Regression {
    pub(super) fn of(rows: &[Judged]) -> Self {
        let pairs: Vec<(f64, f64)> = rows
            .iter()
            .filter_map(|row| match row.gold {
                Gold::Number(gold) => Some((gold, f64::from(*scores(row).first()?))),
                _ => None,
            })
            .collect();
        let (gold, found): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        Self {
            mae: mean(pairs.iter().map(|(gold, found)| (gold - found).abs())),
            rmse: mean(pairs.iter().map(|(gold, found)| (gold - found).powi(2))).sqrt(),
            spearman: correlation(&ranks(&gold), &ranks(&found)),
        }
    }
}

/// From 1 on; equal numbers share the mean of their places.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = before as f64 + (tied.len() as f64 + 1.0) / 2.0;
        tied.iter().for_each(|&number| ranks[number] = rank);
        before += tied.len();
    }
    ranks
}

/// Pearson's.
fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let (mean_a, mean_b) = (mean(a.iter().copied()), mean(b.iter().copied()));
    let product =
        |x: &[f64], mx: f64, y: &[f64], my: f64| -> f64 { x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum() };
    let spread = (product(a, mean_a, a, mean_a) * product(b, mean_b, b, mean_b)).sqrt();
    (spread > 0.0).then(|| share(product(a, mean_a, b, mean_b), spread))
}
