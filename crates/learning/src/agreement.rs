//! What an audit proves: the interval of the agreement, and a threshold with a promise.

/// Returns the Clopper–Pearson interval of the true agreement when `right` of `of` rows agree.
///
/// `confidence` is the probability that such intervals cover the truth, such as 0.95. Without rows,
/// the interval is 0 to 1.
#[must_use]
pub fn agreement_interval(right: usize, of: usize, confidence: f64) -> (f64, f64) {
    let tail = (1.0 - confidence) / 2.0;
    let (right_rows, wrong_rows) = (right as f64, of.saturating_sub(right) as f64);
    let low = if right == 0 { 0.0 } else { beta_quantile(tail, right_rows, wrong_rows + 1.0) };
    let high = if right >= of { 1.0 } else { beta_quantile(1.0 - tail, right_rows + 1.0, wrong_rows) };
    (low, high)
}

/// Returns the smallest threshold for which the audit proves the promise, or `None` if there is none.
///
/// The promise: if all rows with a confidence below the threshold are decided by hand, at most
/// `epsilon` of the finished file is wrong. It holds with probability `1 - delta` over audits whose
/// rows were drawn uniformly from the file. `audit` has the confidence and the correctness of each
/// audited row. A row with a confidence equal to the threshold is automatic.
///
/// Going down the confidences, the threshold may fall while the number of wrong automatic rows is
/// improbably small for a file that breaks the promise (Bates et al. 2021, "risk-controlling
/// prediction sets"). This loss never falls as the threshold falls, so no correction for the number
/// of thresholds is needed.
#[must_use]
pub fn smallest_threshold(audit: &[(f64, bool)], epsilon: f64, delta: f64) -> Option<f64> {
    let mut order: Vec<(f64, bool)> = audit.to_vec();
    order.sort_by(|left, right| right.0.total_cmp(&left.0));
    let (mut wrong, mut last) = (0, None);
    for group in order.chunk_by(|left, right| left.0 == right.0) {
        wrong += group.iter().filter(|(_, is_right)| !is_right).count();
        if binomial_tail(audit.len(), epsilon, wrong) > delta {
            // Halfway to the row that fails, so that rounding of a confidence changes nothing.
            return last.map(|last: f64| f64::midpoint(last, group[0].0));
        }
        last = Some(group[0].0);
    }
    last.map(|_| 0.0)
}

/// Returns the probability of at most `most` events in `rows` rows, each with this `probability`.
#[must_use]
pub fn binomial_tail(rows: usize, probability: f64, most: usize) -> f64 {
    if most >= rows {
        return 1.0;
    }
    beta_cdf(1.0 - probability, (rows - most) as f64, most as f64 + 1.0)
}

/// Returns where the cumulative beta distribution reaches `share`, by bisection.
fn beta_quantile(share: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if beta_cdf(middle, a, b) < share { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// Returns the regularized incomplete beta function, by its continued fraction (DLMF 8.17.22).
fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges quickly on this side of the mean only.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_cdf(1.0 - x, b, a);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp() / a;
    front * beta_fraction(x, a, b)
}

/// Evaluates the continued fraction from the front, by Lentz's method.
fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let keep = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut c, mut d) = (1.0, 1.0 / keep(1.0 - (a + b) * x / (a + 1.0)));
    let mut result = d;
    for step in 1..=500 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / keep(1.0 + even * d);
        c = keep(1.0 + even / c);
        result *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / keep(1.0 + odd * d);
        c = keep(1.0 + odd / c);
        result *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    result
}

/// Returns the logarithm of the gamma function for `x` ≥ 1, by Stirling's series after a shift.
fn ln_gamma(x: f64) -> f64 {
    let (mut shifted, mut product) = (x, 1.0);
    while shifted < 12.0 {
        product *= shifted;
        shifted += 1.0;
    }
    let square = 1.0 / (shifted * shifted);
    let series = (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0))) / shifted;
    (shifted - 0.5) * shifted.ln() - shifted + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - product.ln()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn goldens(part: &str) -> Vec<Value> {
        let goldens: Value = serde_json::from_str(include_str!("../tests/goldens.json")).unwrap();
        goldens[part].as_array().unwrap().clone()
    }

    #[test]
    fn intervals_are_those_of_scipy() {
        for golden in goldens("intervals") {
            let number = |name: &str| golden[name].as_f64().unwrap();
            let (low, high) =
                agreement_interval(number("right") as usize, number("rows") as usize, number("confidence"));
            assert!(
                (low - number("low")).abs() < 1e-9 && (high - number("high")).abs() < 1e-9,
                "{golden}: {low}, {high}"
            );
        }
        assert_eq!(agreement_interval(0, 0, 0.95), (0.0, 1.0));
    }

    #[test]
    fn as_many_wrong_rows_as_in_scipy_prove_the_promise() {
        for golden in goldens("allowed") {
            let number = |name: &str| golden[name].as_f64().unwrap();
            let (rows, wrong) = (number("rows") as usize, number("wrong"));
            let (epsilon, delta) = (number("epsilon"), number("delta"));
            let proven = (0..rows).take_while(|&wrong| binomial_tail(rows, epsilon, wrong) <= delta).count();
            assert_eq!(proven as f64 - 1.0, wrong, "{golden}");
            // After the surest row come one more wrong rows than that.
            let is_right = |row: usize| row == 0 || row as f64 > wrong + 1.0;
            let audit: Vec<(f64, bool)> =
                (0..rows).map(|row| (1.0 - row as f64 / rows as f64, is_right(row))).collect();
            let threshold = smallest_threshold(&audit, epsilon, delta);
            let expected = (wrong >= 0.0).then(|| 1.0 - (wrong + 0.5) / rows as f64);
            let fits = match (threshold, expected) {
                (Some(threshold), Some(expected)) => (threshold - expected).abs() < 1e-9,
                (threshold, expected) => threshold == expected,
            };
            assert!(fits, "{golden}: {threshold:?}, expected {expected:?}");
        }
    }

    /// scipy.stats.binom.cdf(most, rows, 0.5)
    #[test]
    fn tails_of_a_fair_coin_are_those_of_scipy() {
        for (rows, most, expected) in
            [(0, 0, 1.0), (3, 0, 0.125), (5, 1, 0.1875), (20, 6, 0.057_659_149), (2000, 960, 0.038_643_4)]
        {
            assert!((binomial_tail(rows, 0.5, most) - expected).abs() < 1e-6, "{rows} {most}");
        }
    }

    #[test]
    fn equal_confidences_are_automatic_together() {
        let audit: Vec<(f64, bool)> = (0..100).map(|row| (if row < 50 { 0.9 } else { 0.5 }, row % 10 > 0)).collect();
        // Five wrong of a hundred prove at most 10 %, ten do not.
        assert_eq!(smallest_threshold(&audit, 0.1, 0.1), Some(0.7));
    }
}
