//! What an audit lets one say about a model and a file, and for how long.
//!
//! Both sentences rest on rows that were drawn before anything was taught and that were labelled
//! without seeing a prediction. They are about the model and the threshold as they were fixed before
//! those labels were read. Another look at the same rows, after more teaching or for another share,
//! may err half as often as the look before, so that all looks together err at most twice as often
//! as the first.

use learning::{agreement_interval, smallest_threshold};
use serde::{Deserialize, Serialize};

/// How often the interval of the agreement may be wrong, at the first look.
const INTERVAL_ERROR: f64 = 0.05;
/// How often the promise about the finished file may be wrong, at the first look.
const PROMISE_ERROR: f64 = 0.1;
/// Wanted shares of differing rows that can be asked for.
pub(crate) const EPSILONS: std::ops::RangeInclusive<f64> = 0.01..=0.5;

/// One audited row: the model's confidence, or 0 if it marks the text as unfamiliar; and whether
/// its label is the given one.
pub(crate) type Outcome = (f64, bool);

/// The facts behind the sentences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    /// Audited rows.
    pub rows: usize,
    /// Those on which the model agrees with the given label.
    pub right: usize,
    /// Bounds of the true agreement on the file, rounded outwards to four decimals.
    pub lowest: f64,
    pub highest: f64,
    /// 1 for the first statement made with these rows.
    pub look: u32,
    /// The wanted share of rows of the finished file that may differ.
    pub epsilon: f64,
    /// Rows with a lower confidence are marked uncertain. `None`: no threshold keeps the promise.
    pub threshold: Option<f32>,
    /// Share of the file that is then not marked, by the sample.
    pub automatic: f64,
    /// Digest of the head that was audited.
    pub(crate) head: String,
    /// The file's name, its rows with text, and the digest of its texts.
    pub file: String,
    pub rows_with_text: u64,
    pub texts_sha256: String,
    /// `2026-01-31`.
    pub date: String,
}

/// What a statement is about.
pub(crate) struct Audited<'a> {
    pub outcomes: &'a [Outcome],
    pub epsilon: f64,
    pub look: u32,
}

impl Statement {
    /// Computes what can be stated. The caller fills in the rest.
    pub(crate) fn new(audited: &Audited<'_>) -> Self {
        let Audited { outcomes, epsilon, look } = *audited;
        let right = outcomes.iter().filter(|(_, right)| *right).count();
        let halved = 0.5_f64.powi(i32::try_from(look).unwrap_or(i32::MAX) - 1);
        let (lowest, highest) = agreement_interval(right, outcomes.len(), 1.0 - INTERVAL_ERROR * halved);
        Self {
            rows: outcomes.len(),
            right,
            lowest: (lowest * 1e4).floor() / 1e4,
            highest: (highest * 1e4).ceil() / 1e4,
            look,
            epsilon,
            threshold: smallest_threshold(outcomes, epsilon, PROMISE_ERROR * halved).map(rounded_up),
            automatic: 0.0,
            head: String::new(),
            file: String::new(),
            rows_with_text: 0,
            texts_sha256: String::new(),
            date: String::new(),
        }
    }

    /// Returns whether the statement is about these texts.
    pub fn is_about(&self, texts_sha256: &str) -> bool {
        self.texts_sha256 == texts_sha256
    }

    /// The sentence about the model's own answers.
    pub fn agreement(&self) -> String {
        let Self { rows, right, lowest, highest, file, rows_with_text, .. } = self;
        let (low, high) = ((100.0 * lowest).floor(), (100.0 * highest).ceil());
        format!(
            "{rows} rows were drawn at random before teaching; on {right} the model agrees with your labels. Its true \
             agreement on the {rows_with_text} rows of {file} is {low}–{high} % ({} % confidence).",
            percent(1.0 - INTERVAL_ERROR)
        )
    }

    /// The sentence about the finished file, or why there is none. `uncertain` is the number of
    /// rows that were marked; without it, the share of the sample is given.
    pub fn promise(&self, uncertain: Option<u64>) -> String {
        let Self { rows, epsilon, file, .. } = self;
        let (epsilon, confidence) = (percent(*epsilon), percent(1.0 - PROMISE_ERROR));
        if self.threshold.is_none() {
            return format!(
                "With {rows} audited rows, no threshold can promise that at most {epsilon} % of the finished {file} \
                 differs from your answers ({confidence} % confidence); teach more, or accept a larger share."
            );
        }
        let marked = match uncertain {
            Some(count) => format!("the {count} rows marked uncertain"),
            None => format!("the rows marked uncertain (about {} %)", percent(1.0 - self.automatic)),
        };
        format!(
            "If you decide {marked}, at most {epsilon} % of the finished {file} differs from what you would have said \
             ({confidence} % confidence, {rows} audited rows)."
        )
    }

    /// The conditions that the reader must know.
    pub fn conditions(&self) -> String {
        let look = match self.look {
            1 => String::new(),
            look => {
                format!(
                    " This is look {look} at the same rows, so both bounds allow 1/{} of the first look's error.",
                    1_u64 << (look - 1).min(60)
                )
            }
        };
        format!(
            "Agreement is with your labels, not with the truth. Both sentences hold for this file and this state of \
             the model; teaching it further or classifying another file voids them.{look}"
        )
    }
}

/// Returns the smallest threshold of the served precision that marks every row that the exact one
/// marks.
fn rounded_up(threshold: f64) -> f32 {
    let near = threshold as f32;
    if f64::from(near) < threshold { near.next_up() } else { near }
}

/// Percents without superfluous digits.
pub(crate) fn percent(share: f64) -> f64 {
    (share * 1000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A statement about 100 rows whose confidences fall from 1.00 to 0.01; the least confident
    /// `wrong` ones are wrong.
    fn stated(wrong: usize, epsilon: f64, look: u32) -> Statement {
        let outcomes: Vec<Outcome> =
            (0..100).map(|number| (1.0 - f64::from(number) / 100.0, (number as usize) < 100 - wrong)).collect();
        let statement = Statement::new(&Audited { outcomes: &outcomes, epsilon, look });
        Statement { file: "a.csv".into(), rows_with_text: 5000, automatic: 0.79, ..statement }
    }

    #[test]
    fn a_threshold_between_two_scores_still_separates_them() {
        let below = 0.7_f32;
        let above = below.next_up();
        let threshold = rounded_up(f64::midpoint(below.into(), above.into()));
        assert!(below < threshold && above >= threshold);
        assert_eq!(rounded_up(0.5), 0.5);
    }

    #[test]
    fn the_interval_is_rounded_outwards() {
        assert_eq!(
            stated(7, 0.1, 1).agreement(),
            "100 rows were drawn at random before teaching; on 93 the model agrees with your labels. Its true \
             agreement on the 5000 rows of a.csv is 86–98 % (95 % confidence)."
        );
    }

    #[test]
    fn the_promise_names_the_rows_to_decide() {
        let statement = stated(7, 0.1, 1);
        assert_eq!(
            statement.promise(None),
            "If you decide the rows marked uncertain (about 21 %), at most 10 % of the finished a.csv differs from \
             what you would have said (90 % confidence, 100 audited rows)."
        );
        assert!(statement.promise(Some(17)).starts_with("If you decide the 17 rows marked uncertain, "));
        // At 10 %, five wrong and automatic rows of 100 are allowed, so 98 rows are automatic.
        assert!(statement.threshold.is_some_and(|threshold| threshold > 0.02 && threshold <= 0.03));
    }

    #[test]
    fn a_small_audit_promises_nothing_and_says_so() {
        let outcomes = [(0.9, true); 20];
        let statement = Statement::new(&Audited { outcomes: &outcomes, epsilon: 0.1, look: 1 });
        assert_eq!(statement.threshold, None);
        assert!(statement.promise(None).starts_with("With 20 audited rows, no threshold can promise"));
    }

    #[test]
    fn a_second_look_pays_with_half_the_error() {
        let (first, second) = (stated(7, 0.1, 1), stated(7, 0.1, 2));
        assert!(second.lowest < first.lowest && second.highest > first.highest);
        assert!(second.threshold > first.threshold, "{:?}", second.threshold);
        assert!(second.conditions().ends_with("both bounds allow 1/2 of the first look's error."));
        assert!(!first.conditions().contains("look"));
    }
}
