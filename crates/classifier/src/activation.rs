//! From logits to scores, as in transformers' `TextClassificationPipeline` (5.23).

use serde::Deserialize;

use crate::prediction::Task;

/// Derives the task of a sequence classifier.
///
/// `problem_type` of `config.json` decides if it is set. Otherwise a single label has its own
/// probability, and with several labels exactly one applies. `function_to_apply` in `config.json`
/// has no effect, as in transformers.
pub(crate) fn task(problem_type: Option<&str>, labels: usize) -> Task {
    match problem_type {
        Some("regression") => Task::Regression,
        Some("multi_label_classification") => Task::MultiLabel,
        _ if labels == 1 => Task::MultiLabel,
        _ => Task::SingleLabel,
    }
}

/// The function from the numbers of a graph to scores.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Activation {
    Softmax,
    Sigmoid,
    /// The numbers are scores already.
    None,
}

impl Activation {
    /// Returns the function that transformers' pipelines apply.
    pub(crate) fn of(task: Task) -> Self {
        match task {
            Task::SingleLabel | Task::Tagging => Self::Softmax,
            Task::MultiLabel => Self::Sigmoid,
            Task::Regression => Self::None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Sigmoid => "sigmoid",
            Self::None => "none",
        }
    }

    /// Turns the numbers of one row into scores, in place.
    pub(crate) fn apply(self, numbers: &mut [f32]) {
        match self {
            Self::Softmax => softmax(numbers),
            Self::Sigmoid => numbers.iter_mut().for_each(|x| *x = sigmoid(*x)),
            Self::None => {}
        }
    }
}

/// Divides logits by a temperature, which changes confidence but not the order.
pub(crate) fn temper(logits: &mut [f32], temperature: f64) {
    logits.iter_mut().for_each(|x| *x = (f64::from(*x) / temperature) as f32);
}

/// Turns probabilities that sum to 1 into those at a temperature, whose logarithms are logits.
pub(crate) fn temper_scores(scores: &mut [f32], temperature: f64) {
    scores.iter_mut().for_each(|score| *score = score.max(f32::MIN_POSITIVE).ln());
    temper(scores, temperature);
    softmax(scores);
}

/// Subtracting the largest logit first keeps every exponential in `0..=1`.
fn softmax(logits: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for x in logits.iter_mut() {
        *x = (*x - largest).exp();
        sum += *x;
    }
    for x in logits {
        *x /= sum;
    }
}

fn sigmoid(x: f32) -> f32 {
    // Both forms are equal. Each is used where its exponential cannot overflow.
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(task: Task, logits: &[f32], expected: &[f32]) {
        let mut scores = logits.to_vec();
        Activation::of(task).apply(&mut scores);
        for (found, expected) in scores.iter().zip(expected) {
            // An f32 has seven digits, and exponentials of two libraries differ in the last one.
            assert!((found - expected).abs() < 1e-6, "{scores:?}");
        }
    }

    #[test]
    fn softmax_is_stable_at_extremes() {
        check(Task::SingleLabel, &[1e4, -1e4, 0.0], &[1.0, 0.0, 0.0]);
        check(Task::SingleLabel, &[-1e4, -1e4], &[0.5, 0.5]);
        check(Task::SingleLabel, &[-100.0, 0.0], &[0.0, 1.0]);
        check(Task::SingleLabel, &[7.0], &[1.0]);
    }

    #[test]
    fn sigmoid_is_stable_at_extremes() {
        check(Task::MultiLabel, &[1e4, -1e4, 0.0, 2.0], &[1.0, 0.0, 0.5, 0.880_797]);
    }

    #[test]
    fn a_regression_keeps_its_number() {
        check(Task::Regression, &[-3.5], &[-3.5]);
    }

    #[test]
    fn problem_type_and_label_count_decide_the_task() {
        assert_eq!(task(Some("regression"), 1), Task::Regression);
        assert_eq!(task(Some("multi_label_classification"), 3), Task::MultiLabel);
        assert_eq!(task(Some("single_label_classification"), 1), Task::MultiLabel);
        assert_eq!(task(None, 1), Task::MultiLabel);
        assert_eq!(task(None, 2), Task::SingleLabel);
    }
}
