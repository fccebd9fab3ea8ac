//! Simulated audits: whether the stated intervals cover the truth and the promises hold.

use learning::{agreement_interval, smallest_threshold};
use serde::Serialize;

use super::measure::best;
use super::task::Task;

/// Labels of the model that is audited, drawn at random.
const LABELS: usize = 100;
/// Rows of an audit.
const ROWS: usize = 100;
/// Models. Each is audited as often as needed.
const MODELS: usize = 20;
/// Probability that an interval should cover the truth.
const CONFIDENCE: f64 = 0.95;
/// At most this share of the finished file is wrong, with probability `1 - DELTA`.
const EPSILON: f64 = 0.1;
const DELTA: f64 = 0.1;

/// What audits stated, and whether it was true. Shares are in per cent.
#[derive(Serialize)]
pub(super) struct Audits {
    pub task: String,
    pub audits: usize,
    /// Accuracy of the models on the file.
    pub accuracy: f64,
    /// Intervals that cover the accuracy on the file.
    pub covered: f64,
    /// Promises on the finished file that were broken.
    pub broken: f64,
    /// Rows that need no decision.
    pub automatic: f64,
    /// Audits that found no threshold at all.
    pub without_threshold: f64,
}

impl Task {
    /// Simulates at least `audits` audits of the rows of the pool that were not taught.
    pub(super) fn audits(&self, audits: usize, threads: usize) -> anyhow::Result<Audits> {
        let each = audits.div_ceil(MODELS);
        let (mut accuracy, mut covered, mut broken, mut automatic, mut none) = (0.0, 0, 0, 0.0, 0);
        for seed in 0..MODELS as u64 {
            let labels = self.draw(LABELS, false, seed);
            let head = self.fit(&labels, seed, threads)?.head;
            let taught: Vec<usize> = labels.iter().map(|&(row, _)| row).collect();
            let answer = |row: usize| {
                let probabilities = head.probabilities(&self.pool[row]);
                let label = best(&probabilities);
                (f64::from(probabilities[label]), label == self.gold[row])
            };
            let file: Vec<(f64, bool)> = (0..self.pool.len()).filter(|row| !taught.contains(row)).map(answer).collect();
            let share = |count: usize| count as f64 / file.len() as f64;
            let truth = share(file.iter().filter(|(_, right)| *right).count());
            accuracy += truth;
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..each {
                let audit: Vec<(f64, bool)> = random.choose_multiple(&file, ROWS).into_iter().copied().collect();
                let right = audit.iter().filter(|(_, right)| *right).count();
                let (low, high) = agreement_interval(right, audit.len(), CONFIDENCE);
                covered += usize::from((low..=high).contains(&truth));
                let threshold = smallest_threshold(&audit, EPSILON, DELTA);
                none += usize::from(threshold.is_none());
                let kept =
                    |&(confidence, _): &&(f64, bool)| threshold.is_some_and(|threshold| *confidence >= threshold);
                automatic += share(file.iter().filter(kept).count());
                broken += usize::from(share(file.iter().filter(kept).filter(|(_, right)| !right).count()) > EPSILON);
            }
        }
        let audits = MODELS * each;
        let per_cent = |count: f64| 100.0 * count / audits as f64;
        Ok(Audits {
            task: self.name.clone(),
            audits,
            accuracy: 100.0 * accuracy / MODELS as f64,
            covered: per_cent(covered as f64),
            broken: per_cent(broken as f64),
            automatic: per_cent(automatic),
            without_threshold: per_cent(none as f64),
        })
    }
}
