//! Why nothing can be learned from the given rows and labels.

/// An error of [`fit`](crate::fit).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// Fewer than two labels have an example.
    #[error("found examples of {found} label(s), expected at least two; label rows of another kind")]
    TooFewLabels {
        /// Number of labels with an example.
        found: usize,
    },
    /// A labelled row does not exist.
    #[error("row {row} does not exist; there are {rows} rows")]
    NoSuchRow {
        /// The row that was labelled.
        row: usize,
        /// Number of rows.
        rows: usize,
    },
    /// A label's number is not below the number of labels.
    #[error("label {label} does not exist; there are {labels} labels")]
    NoSuchLabel {
        /// The label that was given.
        label: usize,
        /// Number of labels.
        labels: usize,
    },
    /// One row was labelled twice.
    #[error("row {row} has two labels; give it one")]
    TwoLabels {
        /// The row that was labelled twice.
        row: usize,
    },
    /// A vector does not fit the others.
    #[error("vector of row {row} has another length than the first row's, or a value that is not finite")]
    BadVector {
        /// The first such row; rows of label names follow the others.
        row: usize,
    },
}
