//! Texts through the encoder and gradients back through it.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis, concatenate};

use crate::layers::{
    Attention, Normalized, gelu, gelu_gradient, layer_norm, layer_norm_gradient, linear, linear_gradient, means,
    means_gradient,
};
use crate::weights::{Encoder, Layer, Linear, Norm};

/// What the gradient of some texts needs.
pub(crate) struct Pass {
    spans: Vec<Range<usize>>,
    layers: Vec<LayerPass>,
    /// The mean of each text's last states; not of unit length.
    pub means: Array2<f32>,
}

struct LayerPass {
    x: Array2<f32>,
    attention: Attention,
    read: Array2<f32>,
    read_norm: Normalized,
    middle: Array2<f32>,
    inner: Array2<f32>,
    outer_norm: Normalized,
}

impl Encoder {
    /// Returns the states of a text, given as the numbers of its tokens, after the first `count`
    /// layers. One row for each token.
    pub(crate) fn states(&self, text: &[u32], count: usize) -> Array2<f32> {
        let mut x = Array2::zeros((text.len(), self.width));
        for (mut row, (position, token)) in x.rows_mut().into_iter().zip(text.iter().enumerate()) {
            self.embed(*token, position, row.as_slice_mut().unwrap_or_default());
        }
        let (x, _) = layer_norm(x, (&self.embedding_norm.0, &self.embedding_norm.1), self.epsilon);
        let span = 0..text.len();
        self.layers[..count].iter().fold(x, |x, layer| self.layer(layer, x, std::slice::from_ref(&span)).0)
    }

    /// Takes texts through the layers after the first `frozen`, given their states after those.
    pub(crate) fn pass(&self, states: &[ArrayView2<'_, f32>], frozen: usize) -> Pass {
        let mut spans = Vec::with_capacity(states.len());
        let mut rows = 0;
        for states in states {
            spans.push(rows..rows + states.nrows());
            rows += states.nrows();
        }
        let mut x = concatenate(Axis(0), states).expect("all states have the encoder's width");
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers[frozen..] {
            let (next, pass) = self.layer(layer, x, &spans);
            layers.push(pass);
            x = next;
        }
        Pass { means: means(&x, &spans), spans, layers }
    }

    fn layer(&self, layer: &Layer, x: Array2<f32>, spans: &[Range<usize>]) -> (Array2<f32>, LayerPass) {
        let at = |range: &Range<usize>| &self.values[range.clone()];
        let apply = |linear_: &Linear, x: &Array2<f32>| linear(&x.view(), at(&linear_.weight), at(&linear_.bias));
        let norm = |norm: &Norm, x| layer_norm(x, (at(&norm.weight), at(&norm.bias)), self.epsilon);
        let queries = [&layer.queries, &layer.keys, &layer.values].map(|linear| apply(linear, &x));
        let (attention, read) = Attention::new(queries, spans, self.heads);
        let (middle, read_norm) = norm(&layer.read_norm, apply(&layer.read, &read) + &x);
        let inner = apply(&layer.inner, &middle);
        let (next, outer_norm) = norm(&layer.outer_norm, apply(&layer.outer, &gelu(&inner)) + &middle);
        (next, LayerPass { x, attention, read, read_norm, middle, inner, outer_norm })
    }

    /// Returns where the numbers of the layers after the first `frozen` begin.
    pub(crate) fn start(&self, frozen: usize) -> usize {
        self.layers.get(frozen).map_or(self.values.len(), |layer| layer.queries.weight.start)
    }

    /// Adds the gradients of the numbers of these layers to `sums`, given that of the means.
    pub(crate) fn gradient(&self, pass: Pass, means: &Array2<f32>, sums: &mut [f32]) {
        let frozen = self.layers.len() - pass.layers.len();
        let mut sums = Sums { sums, start: self.start(frozen) };
        let mut gradient = means_gradient(&means.view(), &pass.spans);
        for (layer, passed) in self.layers[frozen..].iter().zip(pass.layers).rev() {
            gradient = self.layer_gradient(layer, &passed, &pass.spans, gradient, &mut sums);
        }
    }

    fn layer_gradient(
        &self,
        layer: &Layer,
        pass: &LayerPass,
        spans: &[Range<usize>],
        mut gradient: Array2<f32>,
        sums: &mut Sums<'_>,
    ) -> Array2<f32> {
        let at = |range: &Range<usize>| &self.values[range.clone()];
        let norm = |norm: &Norm, pass: &Normalized, gradient: &mut Array2<f32>, sums: &mut Sums<'_>| {
            layer_norm_gradient(pass, at(&norm.weight), gradient, sums.of(&norm.weight, &norm.bias));
        };
        let back = |linear: &Linear, x: &Array2<f32>, gradient: &Array2<f32>, sums: &mut Sums<'_>| {
            linear_gradient(&x.view(), at(&linear.weight), gradient, sums.of(&linear.weight, &linear.bias))
        };
        norm(&layer.outer_norm, &pass.outer_norm, &mut gradient, sums);
        let mut inner = back(&layer.outer, &gelu(&pass.inner), &gradient, sums);
        gelu_gradient(&pass.inner, &mut inner);
        let mut gradient = gradient + back(&layer.inner, &pass.middle, &inner, sums);
        norm(&layer.read_norm, &pass.read_norm, &mut gradient, sums);
        let read = back(&layer.read, &pass.read, &gradient, sums);
        let [queries, keys, values] = pass.attention.gradient(&read, spans, self.heads);
        for (linear, part) in [(&layer.queries, queries), (&layer.keys, keys), (&layer.values, values)] {
            gradient += &back(linear, &pass.x, &part, sums);
        }
        gradient
    }
}

/// Gradients of the numbers from `start` on.
struct Sums<'a> {
    sums: &'a mut [f32],
    start: usize,
}

impl Sums<'_> {
    /// Returns the parts of a weight and of the bias that follows it.
    fn of(&mut self, weight: &Range<usize>, bias: &Range<usize>) -> (&mut [f32], &mut [f32]) {
        debug_assert_eq!(weight.end, bias.start);
        self.sums[weight.start - self.start..bias.end - self.start].split_at_mut(weight.len())
    }
}
