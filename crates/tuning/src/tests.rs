//! The gradients against torch (`tests/gradients.py`), what tuning does to a tiny encoder, and the
//! form in which it is kept.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use ndarray::{Array1, Array2};
use serde_json::Value;

use crate::kept::rounded;
use crate::loss::Head;
use crate::tune::Texts;
use crate::{Encoder, Error, Example, Settings, graph};

const TINY: &[u8] = include_bytes!("../tests/tiny.onnx");
const HEADS: usize = 2;

fn golden() -> Value {
    serde_json::from_str(include_str!("../tests/gradients.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

fn tiny() -> Encoder {
    Encoder::read(TINY, HEADS).unwrap()
}

fn examples() -> Vec<Example> {
    let golden = golden();
    let labels = golden["labels"].as_array().unwrap();
    let text = |(text, label): (&Value, &Value)| Example {
        tokens: text.as_array().unwrap().iter().map(|token| token.as_u64().unwrap() as u32).collect(),
        label: label.as_u64().unwrap() as usize,
    };
    golden["texts"].as_array().unwrap().iter().zip(labels).map(text).collect()
}

/// Returns the largest difference, as a share of the largest number.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1e-3_f32, |largest, number| largest.max(number.abs()));
    found.iter().zip(expected).fold(0.0_f32, |most, (found, expected)| most.max((found - expected).abs())) / largest
}

#[test]
fn loss_and_gradients_are_those_of_torch() {
    let (golden, encoder, examples) = (golden(), tiny(), examples());
    let weights = Array2::from_shape_vec((3, 8), numbers(&golden["head"])).unwrap();
    let head = Head { weights, bias: Array1::from(numbers(&golden["bias"])) };
    let mut gradients = vec![vec![0.0; encoder.values.len()]; 2];
    let batch: Vec<usize> = (0..examples.len()).collect();
    let loss = encoder.step(&Texts::new(&encoder, &examples, 0), &batch, &head, 1.0, &mut gradients);
    assert!((loss.value - golden["loss"].as_f64().unwrap() as f32).abs() < 1e-4, "{}", loss.value);
    assert!(difference(loss.weights.as_slice().unwrap(), &numbers(&golden["head_gradient"])) < 1e-4);
    assert!(difference(loss.bias.as_slice().unwrap(), &numbers(&golden["bias_gradient"])) < 1e-4);
    let both: Vec<f32> = gradients[0].iter().zip(&gradients[1]).map(|(left, right)| left + right).collect();
    let check = |name: &str, range: std::ops::Range<usize>| {
        let off = difference(&both[range], &numbers(&golden["gradients"][name]));
        assert!(off < 1e-4, "{name}: {off}");
    };
    for (number, layer) in encoder.layers.iter().enumerate() {
        let parts = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"];
        for (linear, part) in
            layer.linears().iter().zip(parts.into_iter().chain(["intermediate.dense", "output.dense"]))
        {
            check(&format!("encoder.layer.{number}.{part}.weight"), linear.weight.clone());
            check(&format!("encoder.layer.{number}.{part}.bias"), linear.bias.clone());
        }
        for (norm, part) in layer.norms().iter().zip(["attention.output", "output"]) {
            check(&format!("encoder.layer.{number}.{part}.LayerNorm.weight"), norm.weight.clone());
            check(&format!("encoder.layer.{number}.{part}.LayerNorm.bias"), norm.bias.clone());
        }
    }
}

#[test]
fn vectors_are_those_of_torch() {
    let (golden, examples) = (golden(), examples());
    let texts: Vec<&[u32]> = examples.iter().map(|example| example.tokens.as_slice()).collect();
    for (found, expected) in tiny().encode(&texts).iter().zip(golden["vectors"].as_array().unwrap()) {
        assert!(difference(found, &numbers(expected)) < 1e-5, "{found:?}");
    }
}

fn settings(seed: u64) -> Settings {
    Settings { passes: 40, rate: 1e-2, contrast: 1.0, frozen: 0, seed }
}

/// Returns by how much texts of one label are nearer to one another than to others.
fn separation(encoder: &Encoder, examples: &[Example]) -> f32 {
    let texts: Vec<&[u32]> = examples.iter().map(|example| example.tokens.as_slice()).collect();
    let vectors = encoder.encode(&texts);
    let (mut same, mut other) = (Vec::new(), Vec::new());
    for left in 0..examples.len() {
        for right in 0..left {
            let cosine: f32 = vectors[left].iter().zip(&vectors[right]).map(|(left, right)| left * right).sum();
            if examples[left].label == examples[right].label { same.push(cosine) } else { other.push(cosine) }
        }
    }
    let mean = |all: &[f32]| all.iter().sum::<f32>() / all.len() as f32;
    mean(&same) - mean(&other)
}

#[test]
fn tuning_brings_texts_of_one_label_together_and_repeats_by_seed() {
    let examples = examples();
    let tuned = |seed| {
        let mut encoder = tiny();
        encoder.tune(&examples, settings(seed), &|_| true).unwrap();
        encoder
    };
    let (before, once) = (separation(&tiny(), &examples), tuned(1));
    let after = separation(&once, &examples);
    assert!(after > before + 0.5, "before {before}, after {after}");
    assert_eq!(once.values, tuned(1).values);
    assert_ne!(once.values, tuned(2).values);
}

#[test]
fn a_tuning_ends_when_it_is_told_to_and_when_it_diverges() {
    let steps = std::cell::Cell::new(0);
    let go_on = |share: f32| {
        assert!((0.0..1.0).contains(&share));
        steps.set(steps.get() + 1);
        steps.get() < 3
    };
    assert_eq!(tiny().tune(&examples(), settings(1), &go_on), Err(Error::Cancelled));
    assert_eq!(steps.get(), 3);
    let wild = Settings { rate: f32::MAX, ..settings(1) };
    assert_eq!(tiny().tune(&examples(), wild, &|_| true), Err(Error::Diverged));
}

#[test]
fn kept_numbers_make_a_graph_of_the_same_encoder() {
    let examples = examples();
    let mut encoder = tiny();
    encoder.tune(&examples, settings(1), &|_| true).unwrap();
    let kept = encoder.numbers();
    let model = graph(TINY, HEADS, &kept).unwrap();
    let again = Encoder::read(&model, HEADS).unwrap();
    // Each column of a matrix is rounded to 255 steps.
    assert!(difference(&again.values, &encoder.values) < 0.01);
    assert_eq!(again.numbers(), kept);
    let texts: Vec<&[u32]> = examples.iter().map(|example| example.tokens.as_slice()).collect();
    let (found, expected) = (again.encode(&texts), encoder.encode(&texts));
    assert!(found.iter().zip(&expected).all(|(found, expected)| difference(found, expected) < 0.1));
}

#[test]
fn rounding_keeps_a_change_that_is_smaller_than_a_step() {
    let (before, scales) = (vec![0.10_f32; 400], [0.01]);
    let after: Vec<f32> = before.iter().map(|value| value + 0.003).collect();
    let sum =
        |values: &[f32]| rounded(values, &scales).iter().map(|number| i32::from(number.cast_signed())).sum::<i32>();
    assert_eq!((sum(&before), sum(&after)), (4000, 4120));
}

#[test]
fn numbers_of_another_encoder_and_other_graphs_are_refused() {
    let kept = tiny().numbers();
    let short = graph(TINY, HEADS, &kept[1..]).unwrap_err().to_string();
    assert_eq!(
        short,
        format!("the tuned encoder has {} bytes, expected {}; tune it again", kept.len() - 1, kept.len())
    );
    let mut infinite = kept.clone();
    let end = infinite.len();
    infinite[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    assert_eq!(graph(TINY, HEADS, &infinite), Err(Error::Infinite));
    let refused = |model: &[u8], heads| Encoder::read(model, heads).unwrap_err().to_string();
    assert!(refused(TINY, 3).contains("its 8 dimensions are no multiple of 3 heads"));
    assert!(refused(b"", 2).contains("it has no graph"));
}
