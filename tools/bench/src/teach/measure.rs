//! Accuracy by number of labels, for rows drawn at random and for rows chosen by the learner.

use std::time::Instant;

use learning::{Fitted, Row, Teaching, first_rows, fit, next_rows};
use serde::Serialize;

use super::task::Task;

/// Rows of the first round and of each further one, as the product hands them out.
const ROUNDS: (usize, usize) = (20, 15);
/// Labels that are taught where texts of no label are to be found, and examples of each.
const OUTSIDE: (usize, usize) = (30, 10);

/// Who chose the rows to label.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Chosen {
    AtRandom,
    PerLabel,
    ByTheLearner,
}

/// The mean of several draws, in per cent.
#[derive(Serialize)]
pub(super) struct Line {
    pub task: String,
    pub chosen: Chosen,
    pub labels: usize,
    pub accuracy: f64,
    /// Standard deviation of the accuracy over the draws.
    pub deviation: f64,
    pub macro_f1: f64,
    /// Time of one fit.
    pub seconds: f64,
    /// The head of the first draw.
    pub head: String,
}

/// One fit, tested.
struct Tested {
    accuracy: f64,
    macro_f1: f64,
    seconds: f64,
    head: String,
}

impl Task {
    /// Measures `draws` draws of `count` labels.
    pub(super) fn line(&self, chosen: Chosen, count: usize, draws: u64, threads: usize) -> anyhow::Result<Line> {
        let test = |seed: u64| -> anyhow::Result<Tested> {
            let labels = match chosen {
                Chosen::ByTheLearner => self.choose(count, seed, threads)?,
                _ => self.draw(count, chosen == Chosen::PerLabel, seed),
            };
            let started = Instant::now();
            let fitted = self.fit(&labels, seed, threads)?;
            let seconds = started.elapsed().as_secs_f64();
            let predicted = predict(&fitted, &self.test);
            let right = predicted.iter().zip(&self.test_gold).filter(|(predicted, gold)| predicted == gold).count();
            let head = fitted.chosen.iter().map(|&index| fitted.candidates[index].as_str()).collect::<Vec<_>>();
            Ok(Tested {
                accuracy: 100.0 * right as f64 / self.test.len() as f64,
                macro_f1: 100.0 * macro_f1(&predicted, &self.test_gold, self.labels.len()),
                seconds,
                head: head.join(" + "),
            })
        };
        let tested = (0..draws).map(test).collect::<anyhow::Result<Vec<Tested>>>()?;
        let mean = |value: fn(&Tested) -> f64| tested.iter().map(value).sum::<f64>() / tested.len() as f64;
        let accuracy = mean(|tested| tested.accuracy);
        let squares: f64 = tested.iter().map(|tested| (tested.accuracy - accuracy).powi(2)).sum();
        Ok(Line {
            task: self.name.clone(),
            chosen,
            labels: count,
            accuracy,
            deviation: (squares / (tested.len() as f64 - 1.0).max(1.0)).sqrt(),
            macro_f1: mean(|tested| tested.macro_f1),
            seconds: mean(|tested| tested.seconds),
            head: tested[0].head.clone(),
        })
    }

    pub(super) fn fit(&self, labels: &[(usize, usize)], seed: u64, threads: usize) -> anyhow::Result<Fitted> {
        let teaching = Teaching {
            labels,
            label_count: self.labels.len(),
            label_names: Some(&self.names),
            seed,
            threads,
            ..Teaching::new(&self.pool)
        };
        Ok(fit(&teaching, &|| false)?)
    }

    /// Returns `count` labels of rows that the learner chose, round by round.
    fn choose(&self, count: usize, seed: u64, threads: usize) -> anyhow::Result<Vec<(usize, usize)>> {
        let mut labels: Vec<(usize, usize)> = Vec::new();
        let mut rows = first_rows(&self.pool, ROUNDS.0.min(count), seed);
        loop {
            labels.extend(rows.iter().map(|&row| (row, self.gold[row])));
            let wanted = ROUNDS.1.min(count - labels.len());
            if wanted == 0 || rows.is_empty() {
                return Ok(labels);
            }
            let taken: Vec<usize> = labels.iter().map(|&(row, _)| row).collect();
            rows = match self.fit(&labels, seed, threads) {
                Ok(fitted) => {
                    let probabilities: Vec<Vec<f32>> =
                        self.pool.iter().map(|row| fitted.head.probabilities(row)).collect();
                    next_rows(&self.pool, &probabilities, &taken, wanted, seed)
                }
                // All first rows have one label.
                Err(_) => {
                    let spread = first_rows(&self.pool, labels.len() + wanted, seed);
                    spread.into_iter().filter(|row| !taken.contains(row)).take(wanted).collect()
                }
            };
        }
    }

    /// Returns the area under the curve of familiarity for telling test rows from rows of no
    /// label, the mean of several draws of 30 labels.
    pub(super) fn outside(&self, draws: u64, threads: usize) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for seed in 0..draws {
            let mut order: Vec<usize> = (0..self.labels.len()).collect();
            fastrand::Rng::with_seed(seed).shuffle(&mut order);
            let taught = &order[..OUTSIDE.0.min(order.len())];
            let mut labels = self.draw(OUTSIDE.1, true, seed);
            labels.retain(|(_, label)| taught.contains(label));
            let head = self.fit(&labels, seed, threads)?.head;
            let inside = self.test.iter().zip(&self.test_gold).filter(|(_, gold)| taught.contains(gold));
            let inside: Vec<f32> = inside.map(|(row, _)| head.familiarity(row)).collect();
            let outside: Vec<f32> = self.outside.iter().map(|row| head.familiarity(row)).collect();
            let below = |&inside: &f32| outside.iter().filter(|&&outside| outside < inside).count();
            let pairs = inside.len() as f64 * outside.len() as f64;
            sum += inside.iter().map(below).sum::<usize>() as f64 / pairs;
        }
        Ok(sum / draws as f64)
    }
}

/// Returns the most probable label of each row.
fn predict(fitted: &Fitted, rows: &[Row]) -> Vec<usize> {
    rows.iter().map(|row| best(&fitted.head.probabilities(row))).collect()
}

pub(super) fn best(probabilities: &[f32]) -> usize {
    let labels = 0..probabilities.len();
    labels.fold(0, |best, label| if probabilities[label] > probabilities[best] { label } else { best })
}

fn macro_f1(predicted: &[usize], gold: &[usize], labels: usize) -> f64 {
    let f1 = |label: usize| {
        let count = |hit: fn(bool, bool) -> bool| {
            predicted.iter().zip(gold).filter(|(predicted, gold)| hit(**predicted == label, **gold == label)).count()
                as f64
        };
        let right = count(|predicted, gold| predicted && gold);
        let either = count(|predicted, _| predicted) + count(|_, gold| gold);
        if either > 0.0 { 2.0 * right / either } else { 0.0 }
    };
    (0..labels).map(f1).sum::<f64>() / labels as f64
}
