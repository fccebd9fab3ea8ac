//! Ratios and means with scikit-learn's `zero_division=0`.

/// Returns `part / whole`, or 0 if `whole` is 0.
pub(crate) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Returns the mean, or 0 without values.
pub(crate) fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len();
    ratio(values.sum(), count as f64)
}
