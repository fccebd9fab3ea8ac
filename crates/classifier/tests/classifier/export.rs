//! Encoders and a head, exported as one folder, give the scores of the encoders and the head.

use std::fs;
use std::path::Path;

use classifier::testing::{fixture, load_folder};
use classifier::{
    Cancellation, EncoderLocation, EncoderPool, Error, Input, LibrarySettings, LinearHead, Outcome, export_with_head,
};

use crate::{predict, shared_cache};

const TEXTS: [&str; 8] = [
    "",
    "I love this",
    "My card was charged twice",
    "日本語 🙂",
    "When will my parcel arrive? It is three weeks late.",
    "[SEP] in the text",
    "def f(x): return x ** 2",
    "THE BUILD FAILS",
];
/// Attention with a mask sums in another order, and int8 amplifies differences of rounding. They are
/// largest for the longest text.
const TOLERANCE: f64 = 2e-3;

fn pool(location: EncoderLocation) -> EncoderPool {
    EncoderPool::new(location, LibrarySettings { path: None, cache_dir: Some(shared_cache().to_owned()) }, 1)
}

/// A head with arbitrary weights between -0.3 and 0.3, about as large as those of fitted heads.
fn head(width: usize) -> LinearHead {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        0.3 * ((state >> 8) as f32 / (1u32 << 23) as f32 - 1.0)
    };
    LinearHead {
        weights: (0..3).map(|_| (0..width).map(|_| next()).collect()).collect(),
        bias: vec![0.1, 0.0, -0.1],
        labels: ["cold", "warm", "hot"].map(str::to_owned).to_vec(),
        threshold: Some(0.75),
        description: "how \"warm\" it is".into(),
    }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::MIN, f64::max);
    let exponents: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    exponents.iter().map(|exponent| exponent / exponents.iter().sum::<f64>()).collect()
}

#[track_caller]
fn assert_exported_like(pools: &[&EncoderPool]) {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("exported");
    let head = head(pools.iter().map(|pool| pool.dimensions().unwrap()).sum());
    export_with_head(pools, &head, &out).unwrap();
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "nothing else is left");
    let mut loaded = load_folder(&out, None).unwrap();
    assert_eq!(loaded.info.threshold, Some(0.75));
    assert_eq!(loaded.info.description.as_deref(), Some("how \"warm\" it is"));
    assert_eq!(loaded.info.labels.iter().map(ToString::to_string).collect::<Vec<_>>(), head.labels);
    let long = "a very long text ".repeat(200);
    for text in TEXTS.into_iter().chain([long.as_str()]) {
        let vectors = pools.iter().map(|pool| pool.encode(text, &Cancellation::default()).unwrap());
        let (mut vector, mut truncated) = (Vec::new(), false);
        for encoding in vectors {
            vector.extend(encoding.vector);
            truncated |= encoding.truncated.is_some();
        }
        let product = |row: &Vec<f32>| row.iter().zip(&vector).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let logits: Vec<f64> =
            head.weights.iter().zip(&head.bias).map(|(row, bias)| product(row) + f64::from(*bias)).collect();
        let prediction = predict(&mut loaded, &Input::single(text));
        let Outcome::Scores(scores) = &prediction.outcome else { panic!("{prediction:?}") };
        for (found, expected) in scores.iter().zip(softmax(&logits)) {
            assert!((f64::from(*found) - expected).abs() < TOLERANCE, "{text:.40}: {scores:?}, expected {expected}");
        }
        assert_eq!(prediction.tokens_read < prediction.tokens, truncated, "{text:.40}");
    }
}

#[test]
fn the_built_in_encoder_and_a_head_are_one_folder() {
    assert_exported_like(&[&pool(EncoderLocation::BuiltIn)]);
}

#[test]
fn both_built_in_encoders_and_a_head_share_a_graph() {
    assert_exported_like(&[&pool(EncoderLocation::BuiltIn), &pool(EncoderLocation::SentimentState)]);
    assert_exported_like(&[&pool(EncoderLocation::SentimentState)]);
}

#[test]
fn the_hidden_state_of_a_folder_is_pooled_in_the_exported_graph() {
    for name in ["extra-outputs", "extra-outputs-first-token"] {
        let copy = tempfile::tempdir().unwrap();
        let folder = if name == "extra-outputs" { fixture(name) } else { first_token(copy.path()) };
        assert_exported_like(&[&pool(EncoderLocation::Folder(folder))]);
    }
}

/// Copies a fixture into a folder whose vectors are those of the first token.
fn first_token(folder: &Path) -> std::path::PathBuf {
    for file in fs::read_dir(fixture("extra-outputs")).unwrap().flatten() {
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    fs::create_dir(folder.join("1_Pooling")).unwrap();
    let modes =
        r#"{"word_embedding_dimension": 24, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
    fs::write(folder.join("1_Pooling/config.json"), modes).unwrap();
    folder.to_owned()
}

#[test]
fn a_head_that_does_not_fit_is_refused_and_nothing_is_written() {
    let (parent, pool) = (tempfile::tempdir().unwrap(), pool(EncoderLocation::Folder(fixture("extra-outputs"))));
    let out = parent.path().join("exported");
    let width = pool.dimensions().unwrap();
    let refused = |width: usize, labels: usize| {
        let mut head = head(width);
        head.labels.truncate(labels);
        export_with_head(&[&pool], &head, &out).unwrap_err().to_string()
    };
    let error = refused(width + 7, 3);
    assert!(error.starts_with(&format!("the head has 3 rows of {} numbers, but", width + 7)), "{error}");
    assert!(refused(width, 2).contains("need 2 of"), "{}", refused(width, 2));
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_with_content_is_not_replaced() {
    let (out, pool) = (tempfile::tempdir().unwrap(), pool(EncoderLocation::Folder(fixture("extra-outputs"))));
    fs::write(out.path().join("mine"), "x").unwrap();
    let head = head(pool.dimensions().unwrap());
    let error = export_with_head(&[&pool], &head, out.path()).unwrap_err();
    assert!(matches!(error, Error::NotWritten { .. }), "{error}");
    assert_eq!(fs::read_to_string(out.path().join("mine")).unwrap(), "x");
}

#[test]
fn encoders_with_different_tokenizers_are_not_joined() {
    let pools = [pool(EncoderLocation::BuiltIn), pool(EncoderLocation::Folder(fixture("extra-outputs")))];
    let head = head(pools.iter().map(|pool| pool.dimensions().unwrap()).sum());
    let out = tempfile::tempdir().unwrap();
    let error = export_with_head(&[&pools[0], &pools[1]], &head, out.path()).unwrap_err();
    let expected = "the encoders and the head cannot become one graph: they have different tokenizers; fit the head on another encoder";
    assert_eq!(error.to_string(), expected);
}
