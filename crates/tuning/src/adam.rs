//! AdamW (Loshchilov and Hutter 2019).

use std::thread;

const BETA: (f32, f32) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;
const THREADS: usize = 2;
/// Numbers that are worth a thread.
const MIN_SHARE: usize = 1 << 18;

/// The state for some numbers.
pub(crate) struct Adam {
    means: Vec<f32>,
    squares: Vec<f32>,
    decay: f32,
    step: i32,
}

impl Adam {
    pub(crate) fn new(count: usize, decay: f32) -> Self {
        Self { means: vec![0.0; count], squares: vec![0.0; count], decay, step: 0 }
    }

    /// Moves `values` against the sum of the gradients, which are zero afterwards.
    pub(crate) fn step(&mut self, values: &mut [f32], gradients: &mut [Vec<f32>], rate: f32) {
        self.step += 1;
        let correction = (1.0 - BETA.0.powi(self.step), (1.0 - BETA.1.powi(self.step)).sqrt());
        let (rate_now, shrink) = (rate / correction.0, 1.0 - rate * self.decay);
        let Some((first, others)) = gradients.split_first_mut() else { return };
        for other in others {
            first.iter_mut().zip(other).for_each(|(sum, value)| *sum += std::mem::take(value));
        }
        let count = values.len().div_ceil(THREADS).max(MIN_SHARE);
        let parts = values.chunks_mut(count).zip(first.chunks_mut(count));
        let state = self.means.chunks_mut(count).zip(self.squares.chunks_mut(count));
        thread::scope(|scope| {
            for ((values, gradients), (means, squares)) in parts.zip(state) {
                scope.spawn(move || {
                    let state = means.iter_mut().zip(squares);
                    for ((value, gradient), (mean, square)) in values.iter_mut().zip(gradients).zip(state) {
                        let gradient = std::mem::take(gradient);
                        *mean = BETA.0 * *mean + (1.0 - BETA.0) * gradient;
                        *square = BETA.1 * *square + (1.0 - BETA.1) * gradient * gradient;
                        *value = *value * shrink - rate_now * *mean / (square.sqrt() / correction.1 + EPSILON);
                    }
                });
            }
        });
    }
}
