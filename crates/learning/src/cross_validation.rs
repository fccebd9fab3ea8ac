//! Scores of examples by fits that did not see them.

use crate::error::Error;
use crate::logistic;
use crate::matrix::Matrix;
use crate::parallel::parallel;
use crate::random::Random;

/// Parts into which the examples are divided.
const FOLDS: usize = 5;
/// Most divisions. With two labels and 50 examples, one division errs by several points.
const MAX_REPEATS: usize = 8;
/// Multiplications of one pass over the data that all fits of a candidate may have together; it
/// keeps a fit of 200 examples of 150 labels within three seconds.
const BUDGET: usize = 40_000_000;
/// Gradient at which a fit ends. More precision does not change a prediction.
pub(crate) const TOLERANCE: f64 = 1e-3;

/// The divisions of the examples, the same for all candidates.
pub(crate) struct Plan {
    /// Part of each example, for each division.
    divisions: Vec<Vec<usize>>,
    /// Parts that are left out in turn; fewer than [`FOLDS`] where there are thousands of examples.
    folds: usize,
}

/// The scores of one division's held-out examples.
#[derive(Clone)]
pub(crate) struct HeldOut {
    pub(crate) examples: Vec<usize>,
    /// `[examples, labels]`.
    pub(crate) scores: Matrix,
}

impl Plan {
    /// Plans as many fits as [`BUDGET`] allows. `gold` has the label of each example.
    pub(crate) fn new(gold: &[usize], labels: usize, seed: u64) -> Self {
        let fits = BUDGET / (gold.len() * gold.len().min(512) * labels).max(1);
        let repeats = (fits / FOLDS).clamp(1, MAX_REPEATS);
        let divisions = (0..repeats as u64).map(|repeat| divide(gold, seed.wrapping_add(repeat))).collect();
        Self { divisions, folds: fits.clamp(2, FOLDS) }
    }

    /// Returns a plan that leaves out every example, or `None` if this one does.
    pub(crate) fn completed(&self) -> Option<Self> {
        (self.folds < FOLDS).then(|| Self { divisions: self.divisions.clone(), folds: FOLDS })
    }

    /// Returns the held-out scores of each candidate, given as features and strength. `targets` has
    /// a row for each row of the features; rows beyond the examples are in every fit.
    pub(crate) fn run(
        &self,
        candidates: &[(&Matrix, f64)],
        targets: &Matrix,
        threads: usize,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Vec<HeldOut>>, Error> {
        let splits: Vec<(&[usize], usize)> = self
            .divisions
            .iter()
            .flat_map(|division| (0..self.folds).map(|fold| (division.as_slice(), fold)))
            .collect();
        let held_out = parallel(candidates.len() * splits.len(), threads, |task| {
            let (features, c) = candidates[task / splits.len()];
            let (division, fold) = splits[task % splits.len()];
            let inside = |row: usize| division.get(row) == Some(&fold);
            let examples: Vec<usize> = (0..division.len()).filter(|&row| inside(row)).collect();
            let train: Vec<usize> = (0..features.rows()).filter(|&row| !inside(row)).collect();
            let weights = logistic::fit(&features.select(&train), &targets.select(&train), c, TOLERANCE, cancelled)?;
            Ok(HeldOut { scores: features.select(&examples).times(&weights), examples })
        })?;
        let mut held_out = held_out.into_iter();
        Ok(candidates.iter().map(|_| held_out.by_ref().take(splits.len()).collect()).collect())
    }
}

/// Returns the part of each example. Examples of one label are spread evenly over the parts.
fn divide(gold: &[usize], seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..gold.len()).collect();
    Random::new(seed).shuffle(&mut order);
    order.sort_by_key(|&example| gold[example]);
    let mut parts = vec![0; gold.len()];
    order.iter().enumerate().for_each(|(position, &example)| parts[example] = position % FOLDS);
    parts
}
