//! The parts of a layer, each with its gradient: linear, layer norm, GELU, attention.
//!
//! Matrices have one row for each token of a batch, without padding; `spans` are the rows of each
//! text. A gradient is added to what the buffer holds.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Zip, s};

/// Computes `x · weight + bias`. `weight` is row-major, `[columns of x, len(bias)]`.
pub(crate) fn linear(x: &ArrayView2<'_, f32>, weight: &[f32], bias: &[f32]) -> Array2<f32> {
    let mut y = Array2::zeros((x.nrows(), bias.len()));
    for mut row in y.rows_mut() {
        row.as_slice_mut().unwrap_or_default().copy_from_slice(bias);
    }
    general_mat_mul(1.0, x, &matrix(weight, x.ncols()), 1.0, &mut y);
    y
}

/// Adds the gradients of weight and bias, and returns that of `x`.
pub(crate) fn linear_gradient(
    x: &ArrayView2<'_, f32>,
    weight: &[f32],
    gradient: &Array2<f32>,
    (weight_gradient, bias_gradient): (&mut [f32], &mut [f32]),
) -> Array2<f32> {
    let rows = x.ncols();
    general_mat_mul(1.0, &x.t(), gradient, 1.0, &mut matrix_mut(weight_gradient, rows));
    for row in gradient.rows() {
        bias_gradient.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    gradient.dot(&matrix(weight, rows).t())
}

/// What the gradient of a layer norm needs.
pub(crate) struct Normalized {
    /// The rows with mean 0 and variance 1.
    rows: Array2<f32>,
    inverse_deviations: Vec<f32>,
}

/// Normalizes each row, then scales and shifts it.
pub(crate) fn layer_norm(
    mut x: Array2<f32>,
    (weight, bias): (&[f32], &[f32]),
    epsilon: f32,
) -> (Array2<f32>, Normalized) {
    let count = weight.len() as f32;
    let mut inverse_deviations = Vec::with_capacity(x.nrows());
    for mut row in x.rows_mut() {
        let mean = row.sum() / count;
        row.mapv_inplace(|value| value - mean);
        let inverse = 1.0 / (row.iter().map(|value| value * value).sum::<f32>() / count + epsilon).sqrt();
        row.mapv_inplace(|value| value * inverse);
        inverse_deviations.push(inverse);
    }
    let mut y = x.clone();
    for mut row in y.rows_mut() {
        row.iter_mut().zip(weight).zip(bias).for_each(|((value, weight), bias)| *value = *value * weight + bias);
    }
    (y, Normalized { rows: x, inverse_deviations })
}

/// Turns the gradient of the result into that of the input.
pub(crate) fn layer_norm_gradient(
    normalized: &Normalized,
    weight: &[f32],
    gradient: &mut Array2<f32>,
    (weight_gradient, bias_gradient): (&mut [f32], &mut [f32]),
) {
    let count = weight.len() as f32;
    let inputs = normalized.rows.rows().into_iter().zip(&normalized.inverse_deviations);
    for (mut row, (hat, inverse)) in gradient.rows_mut().into_iter().zip(inputs) {
        let (mut mean, mut product) = (0.0, 0.0);
        for (index, (value, hat)) in row.iter_mut().zip(hat).enumerate() {
            weight_gradient[index] += *value * hat;
            bias_gradient[index] += *value;
            *value *= weight[index];
            mean += *value;
            product += *value * hat;
        }
        (mean, product) = (mean / count, product / count);
        row.iter_mut().zip(hat).for_each(|(value, hat)| *value = inverse * (*value - mean - hat * product));
    }
}

/// Applies GELU in its exact form, `x · Φ(x)`.
pub(crate) fn gelu(x: &Array2<f32>) -> Array2<f32> {
    x.mapv(|x| x * normal_distribution(x))
}

/// Multiplies a gradient by the derivative of GELU.
pub(crate) fn gelu_gradient(x: &Array2<f32>, gradient: &mut Array2<f32>) {
    const DENSITY: f32 = 0.398_942_3; // 1 / √(2π)
    Zip::from(gradient).and(x).for_each(|gradient, &x| {
        *gradient *= normal_distribution(x) + x * DENSITY * exp(-0.5 * x * x);
    });
}

/// Returns Φ(x), by formula 7.1.26 of Abramowitz and Stegun; the error is below 2e-7.
fn normal_distribution(x: f32) -> f32 {
    let half = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * half);
    let polynomial = t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    let tail = 0.5 * polynomial * exp(-half * half);
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// Returns eˣ for x ≤ 0 with a relative error below 1e-6. The compiler computes several at once,
/// which it cannot do with the standard library's.
fn exp(x: f32) -> f32 {
    let power = x.max(-87.0) * std::f32::consts::LOG2_E;
    // `floor` is a call of a function where the processor is not known to have an instruction.
    let whole = power as i32 - 1;
    let rest = power - whole as f32;
    let mantissa = 1.0
        + rest
            * (std::f32::consts::LN_2
                + rest
                    * (0.240_226_5
                        + rest * (0.055_504_1 + rest * (0.009_618_1 + rest * (0.001_333_4 + rest * 0.000_154_6)))));
    f32::from_bits(((whole + 127) as u32) << 23) * mantissa
}

/// The queries, keys and values of a layer, and the shares with which each token reads the others.
pub(crate) struct Attention {
    pub queries: Array2<f32>,
    pub keys: Array2<f32>,
    pub values: Array2<f32>,
    /// One matrix for each text and head, text by text.
    shares: Vec<Array2<f32>>,
}

impl Attention {
    /// Lets the tokens of each text read one another. Returns the sums that they read.
    pub(crate) fn new(
        [queries, keys, values]: [Array2<f32>; 3],
        spans: &[Range<usize>],
        heads: usize,
    ) -> (Self, Array2<f32>) {
        let width = queries.ncols() / heads;
        let scale = 1.0 / (width as f32).sqrt();
        let mut read = Array2::zeros(queries.raw_dim());
        let mut shares = Vec::with_capacity(spans.len() * heads);
        for (rows, columns) in parts(spans, heads, width) {
            let part = |matrix: &Array2<f32>| matrix.slice(s![rows.clone(), columns.clone()]).to_owned();
            let mut scores = Array2::zeros((rows.len(), rows.len()));
            general_mat_mul(scale, &part(&queries), &part(&keys).t(), 0.0, &mut scores);
            for mut row in scores.rows_mut() {
                let largest = row.fold(f32::MIN, |largest, &score| largest.max(score));
                row.mapv_inplace(|score| exp(score - largest));
                let sum = row.sum();
                row.mapv_inplace(|score| score / sum);
            }
            general_mat_mul(1.0, &scores, &part(&values), 0.0, &mut read.slice_mut(s![rows.clone(), columns.clone()]));
            shares.push(scores);
        }
        (Self { queries, keys, values, shares }, read)
    }

    /// Returns the gradients of queries, keys and values.
    pub(crate) fn gradient(&self, gradient: &Array2<f32>, spans: &[Range<usize>], heads: usize) -> [Array2<f32>; 3] {
        let width = self.queries.ncols() / heads;
        let scale = 1.0 / (width as f32).sqrt();
        let mut gradients = [(); 3].map(|()| Array2::zeros(gradient.raw_dim()));
        for ((rows, columns), shares) in parts(spans, heads, width).zip(&self.shares) {
            let place = s![rows.clone(), columns.clone()];
            let part = |matrix: &Array2<f32>| matrix.slice(place).to_owned();
            let above = part(gradient);
            let mut scores = above.dot(&part(&self.values).t());
            for (mut row, shares) in scores.rows_mut().into_iter().zip(shares.rows()) {
                let mean: f32 = row.iter().zip(shares).map(|(score, share)| score * share).sum();
                row.iter_mut().zip(shares).for_each(|(score, share)| *score = share * (*score - mean));
            }
            let [queries, keys, values] = &mut gradients;
            general_mat_mul(scale, &scores, &part(&self.keys), 0.0, &mut queries.slice_mut(place));
            general_mat_mul(scale, &scores.t(), &part(&self.queries), 0.0, &mut keys.slice_mut(place));
            general_mat_mul(1.0, &shares.t(), &above, 0.0, &mut values.slice_mut(place));
        }
        gradients
    }
}

/// Returns rows and columns of each text and head.
fn parts(
    spans: &[Range<usize>],
    heads: usize,
    width: usize,
) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + '_ {
    spans.iter().flat_map(move |rows| (0..heads).map(move |head| (rows.clone(), head * width..(head + 1) * width)))
}

/// Returns the mean of each text's rows.
pub(crate) fn means(x: &Array2<f32>, spans: &[Range<usize>]) -> Array2<f32> {
    let mut means = Array2::zeros((spans.len(), x.ncols()));
    for (mut mean, rows) in means.rows_mut().into_iter().zip(spans) {
        mean += &(x.slice(s![rows.clone(), ..]).sum_axis(Axis(0)) / rows.len() as f32);
    }
    means
}

/// Spreads the gradient of the means over the rows.
pub(crate) fn means_gradient(gradient: &ArrayView2<'_, f32>, spans: &[Range<usize>]) -> Array2<f32> {
    let rows = spans.last().map_or(0, |span| span.end);
    let mut spread = Array2::zeros((rows, gradient.ncols()));
    for (mean, rows) in gradient.rows().into_iter().zip(spans) {
        let share = &mean / rows.len() as f32;
        spread.slice_mut(s![rows.clone(), ..]).rows_mut().into_iter().for_each(|mut row| row.assign(&share));
    }
    spread
}

/// # Panics
/// If the values do not fill rows of the same length.
fn matrix(values: &[f32], rows: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, values.len() / rows), values).expect("a matrix has whole rows")
}

fn matrix_mut(values: &mut [f32], rows: usize) -> ArrayViewMut2<'_, f32> {
    let columns = values.len() / rows;
    ArrayViewMut2::from_shape((rows, columns), values).expect("a matrix has whole rows")
}
