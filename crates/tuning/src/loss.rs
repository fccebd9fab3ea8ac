//! What is minimized for a batch of vectors of unit length: cross-entropy of a linear head, and a
//! contrast that draws texts of one label together.

use ndarray::{Array1, Array2, Axis};

/// Share of the target that is spread over all labels.
const SMOOTHING: f32 = 0.05;
/// Factor of cosines in the head, so that it can be certain.
const SCALE: f32 = 10.0;
/// Divisor of cosines in the contrast.
const TEMPERATURE: f32 = 0.2;

/// A linear head that is trained together with the encoder and then thrown away.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// `[labels, dimensions]`.
    pub weights: Array2<f32>,
    pub bias: Array1<f32>,
}

/// Loss and gradients of a batch.
pub(crate) struct Loss {
    pub value: f32,
    /// `[texts, dimensions]`.
    pub vectors: Array2<f32>,
    pub weights: Array2<f32>,
    pub bias: Array1<f32>,
}

/// Returns the sum of both losses; `contrast` weighs the second one.
pub(crate) fn loss(vectors: &Array2<f32>, labels: &[usize], head: &Head, contrast: f32) -> Loss {
    let mut loss = cross_entropy(vectors, labels, head);
    if contrast > 0.0 {
        loss.value += contrast * contrasted(vectors, labels, contrast, &mut loss.vectors);
    }
    loss
}

fn cross_entropy(vectors: &Array2<f32>, labels: &[usize], head: &Head) -> Loss {
    let count = labels.len() as f32;
    let mut scores = vectors.dot(&head.weights.t()) * SCALE + &head.bias;
    let spread = SMOOTHING / head.bias.len() as f32;
    let mut value = 0.0;
    for (mut row, &label) in scores.rows_mut().into_iter().zip(labels) {
        softmax(row.as_slice_mut().unwrap_or_default());
        for (index, probability) in row.iter_mut().enumerate() {
            let target = spread + if index == label { 1.0 - SMOOTHING } else { 0.0 };
            value -= target * probability.max(f32::MIN_POSITIVE).ln() / count;
            *probability = (*probability - target) / count;
        }
    }
    Loss {
        value,
        vectors: scores.dot(&head.weights) * SCALE,
        weights: scores.t().dot(vectors) * SCALE,
        bias: scores.sum_axis(Axis(0)),
    }
}

/// Supervised contrastive loss (Khosla et al. 2020), the mean over texts that share their label
/// with another text of the batch. Adds `share` times its gradient.
fn contrasted(vectors: &Array2<f32>, labels: &[usize], share: f32, gradient: &mut Array2<f32>) -> f32 {
    let mut scores = vectors.dot(&vectors.t()) / TEMPERATURE;
    let partners = |text: usize| labels.iter().filter(|&&label| label == labels[text]).count() - 1;
    let anchors = (0..labels.len()).filter(|&text| partners(text) > 0).count() as f32;
    if anchors == 0.0 {
        return 0.0;
    }
    let mut value = 0.0;
    for (text, mut row) in scores.rows_mut().into_iter().enumerate() {
        row[text] = f32::NEG_INFINITY;
        softmax(row.as_slice_mut().unwrap_or_default());
        let partners = partners(text) as f32;
        if partners == 0.0 {
            row.fill(0.0);
            continue;
        }
        for (other, probability) in row.iter_mut().enumerate() {
            if other != text && labels[other] == labels[text] {
                value -= probability.max(f32::MIN_POSITIVE).ln() / partners / anchors;
                *probability -= 1.0 / partners;
            }
            *probability /= anchors;
        }
    }
    let both = &scores + &scores.t();
    *gradient += &(both.dot(vectors) * (share / TEMPERATURE));
    value
}

fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}

/// Scales rows to unit length. Returns the lengths they had.
pub(crate) fn normalize(rows: &mut Array2<f32>) -> Vec<f32> {
    let mut lengths = Vec::with_capacity(rows.nrows());
    for mut row in rows.rows_mut() {
        let length = row.dot(&row).sqrt().max(f32::MIN_POSITIVE);
        row /= length;
        lengths.push(length);
    }
    lengths
}

/// Turns the gradient of rows of unit length into that of the rows before.
pub(crate) fn normalize_gradient(rows: &Array2<f32>, lengths: &[f32], gradient: &mut Array2<f32>) {
    for ((mut gradient, row), length) in gradient.rows_mut().into_iter().zip(rows.rows()).zip(lengths) {
        let along = gradient.dot(&row);
        gradient.zip_mut_with(&row, |value, row| *value = (*value - along * row) / length);
    }
}
