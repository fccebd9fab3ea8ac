//! The training loop.

use std::ops::Range;
use std::thread;

use ndarray::{Array1, Array2, Axis, CowArray, Ix2, concatenate, s};

use crate::adam::Adam;
use crate::error::Error;
use crate::loss::{Head, Loss, loss, normalize, normalize_gradient};
use crate::weights::Encoder;

/// Each batch is computed in so many parts at a time. A number of its own, so that the result does
/// not depend on the number of processors.
const PARTS: usize = 2;
/// Texts of a batch.
const BATCH: usize = 16;
/// Tokens of a text that are read, which bounds memory.
pub const MAX_TOKENS: usize = 128;
/// Share of the steps in which the rate rises.
const WARM_UP: f32 = 0.1;
const DECAY: f32 = 0.01;
/// The head starts at the centroids, so it needs no faster rate than this.
const HEAD_RATE: f32 = 1e-2;

/// Texts that are read in all passes, and the range of passes.
const TEXTS: usize = 1200;
const PASSES: (usize, usize) = (4, 16);
const RATE: f32 = 1e-4;
/// Layers that are not tuned. With the first two of six as they are, accuracy is the same and a
/// step takes two thirds of the time.
const FROZEN: usize = 2;
/// Tokens whose states after the frozen layers are kept, at 1.5 KB each. Those of further texts are
/// computed in each pass.
const KEPT_TOKENS: usize = 40_000;

/// A text to learn from.
#[derive(Clone, Debug)]
pub struct Example {
    /// Numbers of the tokens with the special ones; at most [`MAX_TOKENS`] are read.
    pub tokens: Vec<u32>,
    pub label: usize,
}

/// How to tune.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How often each text is read.
    pub(crate) passes: usize,
    /// The largest learning rate.
    pub(crate) rate: f32,
    /// Weight of the contrast next to cross-entropy.
    pub(crate) contrast: f32,
    /// Layers that stay as they are, from the first.
    pub(crate) frozen: usize,
    /// The same seed gives the same encoder.
    pub(crate) seed: u64,
}

impl Settings {
    /// Returns the settings that were best on question types and product reviews.
    pub fn for_examples(examples: usize, seed: u64) -> Self {
        let passes = (TEXTS / examples.max(1)).clamp(PASSES.0, PASSES.1);
        Self { passes, rate: RATE, contrast: 1.0, frozen: FROZEN, seed }
    }
}

impl Encoder {
    /// Tunes the layers on labelled texts. `go_on` is asked before each step, with the share of the
    /// work that is done; if it says no, this returns `Cancelled`.
    ///
    /// # Errors
    /// `Cancelled`, `Diverged`.
    pub fn tune(&mut self, examples: &[Example], settings: Settings, go_on: &dyn Fn(f32) -> bool) -> Result<(), Error> {
        let frozen = settings.frozen.min(self.layers.len());
        let texts = Texts::new(self, examples, frozen);
        let mut head = self.centroids(examples);
        let start = self.start(frozen);
        let mut adam = Adam::new(self.values.len() - start, DECAY);
        let mut head_adam = Adam::new(head.weights.len() + head.bias.len(), 0.0);
        let mut gradients = vec![vec![0.0; self.values.len() - start]; PARTS];
        let mut random = Random(settings.seed ^ 0x9e37_79b9_7f4a_7c15);
        let batches: Vec<Vec<usize>> = (0..settings.passes).flat_map(|_| batches(examples, &mut random)).collect();
        for (step, batch) in batches.iter().enumerate() {
            let done = step as f32 / batches.len() as f32;
            if !go_on(done) {
                return Err(Error::Cancelled);
            }
            // From 0 to 1 and back.
            let share =
                ((step + 1) as f32 / (WARM_UP * batches.len() as f32)).min((1.0 - done) / (1.0 - WARM_UP)).min(1.0);
            let loss = self.step(&texts, batch, &head, settings.contrast, &mut gradients);
            head.step(&mut head_adam, loss, HEAD_RATE * share);
            adam.step(&mut self.values[start..], &mut gradients, settings.rate * share);
        }
        if self.values.iter().all(|value| value.is_finite()) { Ok(()) } else { Err(Error::Diverged) }
    }

    /// Adds the gradients of a batch, and returns the loss with the gradients of the head.
    pub(crate) fn step(
        &self,
        texts: &Texts<'_>,
        batch: &[usize],
        head: &Head,
        contrast: f32,
        gradients: &mut [Vec<f32>],
    ) -> Loss {
        let parts = split(batch, |&example| texts.tokens(example).len());
        let passes: Vec<_> = thread::scope(|scope| {
            let run = |part: &Range<usize>| {
                let part = &batch[part.clone()];
                scope.spawn(move || {
                    let states: Vec<_> = part.iter().map(|&example| texts.states(self, example)).collect();
                    self.pass(&states.iter().map(|states| states.view()).collect::<Vec<_>>(), texts.frozen)
                })
            };
            let running: Vec<_> = parts.iter().map(run).collect();
            running.into_iter().map(join).collect()
        });
        let means: Vec<_> = passes.iter().map(|pass| pass.means.view()).collect();
        let mut vectors = concatenate(Axis(0), &means).expect("all vectors have the encoder's width");
        let lengths = normalize(&mut vectors);
        let labels: Vec<usize> = batch.iter().map(|&example| texts.examples[example].label).collect();
        let mut loss = loss(&vectors, &labels, head, contrast);
        normalize_gradient(&vectors, &lengths, &mut loss.vectors);
        thread::scope(|scope| {
            let vectors = &loss.vectors;
            let work = passes.into_iter().zip(&parts).zip(gradients);
            let running: Vec<_> = work
                .map(|((pass, part), sums)| {
                    let above = vectors.slice(s![part.clone(), ..]).to_owned();
                    scope.spawn(move || self.gradient(pass, &above, sums))
                })
                .collect();
            running.into_iter().for_each(join);
        });
        loss
    }

    /// Returns the vectors of texts, of unit length.
    pub fn encode(&self, texts: &[&[u32]]) -> Vec<Vec<f32>> {
        let texts: Vec<&[u32]> = texts.iter().map(|text| cut(text)).collect();
        let mut vectors = vec![Vec::new(); texts.len()];
        let part = texts.len().div_ceil(PARTS).max(1);
        thread::scope(|scope| {
            for (texts, vectors) in texts.chunks(part).zip(vectors.chunks_mut(part)) {
                scope.spawn(move || {
                    for (texts, vectors) in texts.chunks(BATCH).zip(vectors.chunks_mut(BATCH)) {
                        let states: Vec<_> = texts.iter().map(|text| self.states(text, 0)).collect();
                        let states: Vec<_> = states.iter().map(|states| states.view()).collect();
                        let mut means = self.pass(&states, 0).means;
                        normalize(&mut means);
                        means.rows().into_iter().zip(vectors).for_each(|(row, vector)| *vector = row.to_vec());
                    }
                });
            }
        });
        vectors
    }

    /// Returns a head whose weights are the mean vectors of the labels.
    fn centroids(&self, examples: &[Example]) -> Head {
        let labels = examples.iter().map(|example| example.label + 1).max().unwrap_or_default();
        let texts: Vec<&[u32]> = examples.iter().map(|example| example.tokens.as_slice()).collect();
        let mut weights = Array2::zeros((labels, self.width));
        for (vector, example) in self.encode(&texts).into_iter().zip(examples) {
            let mut row = weights.row_mut(example.label);
            row += &Array1::from(vector);
        }
        normalize(&mut weights);
        Head { weights, bias: Array1::zeros(labels) }
    }
}

/// The examples, with the states of their tokens after the frozen layers.
pub(crate) struct Texts<'a> {
    examples: &'a [Example],
    pub frozen: usize,
    /// `None` where they are not kept.
    states: Vec<Option<Array2<f32>>>,
}

impl<'a> Texts<'a> {
    pub(crate) fn new(encoder: &Encoder, examples: &'a [Example], frozen: usize) -> Self {
        let mut texts = Self { examples, frozen, states: vec![None; examples.len()] };
        let mut kept = 0;
        let is_kept = |example: &usize| {
            kept += texts.tokens(*example).len();
            kept <= KEPT_TOKENS
        };
        let count = (0..examples.len()).take_while(is_kept).count();
        let mut states = vec![None; examples.len()];
        let part = count.div_ceil(PARTS).max(1);
        thread::scope(|scope| {
            for (number, states) in states[..count].chunks_mut(part).enumerate() {
                let texts = &texts;
                scope.spawn(move || {
                    for (place, states) in states.iter_mut().enumerate() {
                        *states = Some(encoder.states(texts.tokens(number * part + place), frozen));
                    }
                });
            }
        });
        texts.states = states;
        texts
    }

    fn tokens(&self, example: usize) -> &[u32] {
        cut(&self.examples[example].tokens)
    }

    fn states(&self, encoder: &Encoder, example: usize) -> CowArray<'_, f32, Ix2> {
        match &self.states[example] {
            Some(states) => states.into(),
            None => encoder.states(self.tokens(example), self.frozen).into(),
        }
    }
}

impl Head {
    fn step(&mut self, adam: &mut Adam, loss: Loss, rate: f32) {
        let count = self.weights.len();
        let mut values: Vec<f32> = self.weights.iter().chain(&self.bias).copied().collect();
        adam.step(&mut values, &mut [loss.weights.into_iter().chain(loss.bias).collect()], rate);
        self.weights.iter_mut().zip(&values).for_each(|(value, new)| *value = *new);
        self.bias.iter_mut().zip(&values[count..]).for_each(|(value, new)| *value = *new);
    }
}

fn cut(tokens: &[u32]) -> &[u32] {
    &tokens[..tokens.len().min(MAX_TOKENS)]
}

fn join<T>(running: thread::ScopedJoinHandle<'_, T>) -> T {
    running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Divides a batch into [`PARTS`] of about as many tokens.
fn split(batch: &[usize], tokens: impl Fn(&usize) -> usize) -> Vec<Range<usize>> {
    let total: usize = batch.iter().map(&tokens).sum();
    let (mut end, mut read) = (0, 0);
    while end < batch.len() && 2 * read < total {
        read += tokens(&batch[end]);
        end += 1;
    }
    [0..end, end..batch.len()].into_iter().filter(|part| !part.is_empty()).collect()
}

/// Draws the batches of one pass. Texts of a label come in pairs, so that a batch has something to
/// contrast however many labels there are.
fn batches(examples: &[Example], random: &mut Random) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..examples.len()).collect();
    random.shuffle(&mut order);
    order.sort_by_key(|&example| examples[example].label);
    let mut pairs: Vec<&[usize]> = Vec::new();
    for label in order.chunk_by(|&left, &right| examples[left].label == examples[right].label) {
        pairs.extend(label.chunks(2));
    }
    random.shuffle(&mut pairs);
    let order: Vec<usize> = pairs.concat();
    order.chunks(BATCH).map(<[usize]>::to_vec).collect()
}

/// SplitMix64 (Steele et al. 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, (self.next() % (last as u64 + 1)) as usize);
        }
    }
}
