//! How many predictions agree with a label column, counted while a file is classified. Reads labels
//! by the same rule as an evaluation, but needs no pass over the file before.

use std::collections::HashMap;
use std::sync::Arc;

use crate::labels::{is_by_number, label_by_number};

/// Distinct pairs of label and prediction that are counted. A file with more is not a file of
/// labels, and its other rows do not count.
const MAX_PAIRS: usize = 10_000;

/// Counts rows by label and prediction, and compares the two once all labels are known.
#[derive(Clone, Debug, Default)]
pub struct LabelAgreement {
    labels: Vec<Arc<str>>,
    pairs: HashMap<(String, Option<String>), u64>,
}

impl LabelAgreement {
    /// Starts counting. `labels` are those the predictions are made of, in the order of their
    /// numbers.
    pub fn new(labels: Vec<Arc<str>>) -> Self {
        Self { labels, ..Self::default() }
    }

    /// Counts a row. A blank label does not count; a missing prediction disagrees.
    pub fn add(&mut self, label: &str, prediction: Option<&str>) {
        let label = label.trim();
        if label.is_empty() {
            return;
        }
        let pair = (label.to_owned(), prediction.map(str::to_owned));
        if self.pairs.contains_key(&pair) || self.pairs.len() < MAX_PAIRS {
            *self.pairs.entry(pair).or_default() += 1;
        }
    }

    /// Returns the number of rows with a label.
    pub fn rows(&self) -> u64 {
        self.pairs.values().sum()
    }

    /// Returns the share of those rows whose prediction is the label; `None` without such rows.
    pub fn accuracy(&self) -> Option<f64> {
        let cells = self.pairs.keys().map(|(label, _)| &**label);
        let by_number = is_by_number(&self.labels, self.labels.len(), cells);
        let agrees =
            |label: &str, prediction: &str| match label_by_number(self.labels.len(), label).filter(|_| by_number) {
                Some(number) => *self.labels[number] == *prediction,
                None => prediction.eq_ignore_ascii_case(label),
            };
        let agreeing = self
            .pairs
            .iter()
            .filter(|((label, prediction), _)| prediction.as_ref().is_some_and(|prediction| agrees(label, prediction)));
        let agreeing: u64 = agreeing.map(|(_, rows)| rows).sum();
        (self.rows() > 0).then(|| agreeing as f64 / self.rows() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accuracy(labels: [&str; 2], rows: &[(&str, &str)]) -> Option<f64> {
        let mut agreement = LabelAgreement::new(labels.map(Arc::from).to_vec());
        rows.iter().for_each(|(label, prediction)| agreement.add(label, Some(prediction)));
        agreement.accuracy()
    }

    #[test]
    fn labels_are_compared_by_name_or_by_number_as_in_an_evaluation() {
        let labels = ["low", "high"];
        assert_eq!(accuracy(labels, &[("HIGH ", "high"), ("low", "high")]), Some(0.5));
        assert_eq!(accuracy(labels, &[("1.0", "high"), ("0", "high"), ("1", "high")]), Some(2.0 / 3.0));
        // `1` is not a number here, because other cells are names.
        assert_eq!(accuracy(labels, &[("1", "high"), ("low", "low")]), Some(0.5));
        // Neither is it if labels are called by numbers.
        assert_eq!(accuracy(["1", "0"], &[("1", "1"), ("0", "0")]), Some(1.0));
    }

    #[test]
    fn rows_without_a_label_do_not_count_and_rows_without_a_prediction_disagree() {
        let mut agreement = LabelAgreement::new(vec!["low".into()]);
        assert_eq!(agreement.accuracy(), None);
        agreement.add(" ", Some("low"));
        agreement.add("low", None);
        agreement.add("low", Some("low"));
        assert_eq!((agreement.rows(), agreement.accuracy()), (2, Some(0.5)));
    }

    #[test]
    fn any_number_of_distinct_labels_takes_bounded_memory() {
        let mut agreement = LabelAgreement::new(vec!["low".into()]);
        for number in 0..MAX_PAIRS + 10 {
            agreement.add(&format!("text {number}"), Some("low"));
        }
        assert_eq!((agreement.pairs.len(), agreement.rows()), (MAX_PAIRS, MAX_PAIRS as u64));
    }
}
