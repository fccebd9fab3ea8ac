//! Encoders: texts become vectors of unit length, the same alone and among others.

use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use classifier::testing::fixture;
use classifier::{Cancellation, EncoderLocation, EncoderPool, Error, Input, LibrarySettings, Location};
use serde_json::Value;

use crate::shared_cache;

/// Vectors of the built-in encoder: of the same weights in fp32 by torch, and of the int8 graph by
/// ONNX Runtime in Python (models/encoder/training/goldens.py).
const GOLDENS: &str = include_str!("../../../../tests/data/encoder_goldens.json");
/// Lowest mean cosine, over all goldens, between the int8 graph and fp32; lowest of one text.
const MEAN_COSINE: f64 = 0.99;
const LOWEST_COSINE: f64 = 0.97;
/// Lowest cosine between the same int8 graph here and in Python with AVX-512 VNNI. Other processors
/// round otherwise: with AVX2, the lowest is 0.9996, and the mean 0.99999.
const SAME_COSINE: f64 = 0.9995;

fn library() -> LibrarySettings {
    LibrarySettings { path: None, cache_dir: Some(shared_cache().to_owned()) }
}

/// A fixture whose graph also gives the hidden state of each token, 24 numbers wide.
fn pool(workers: usize) -> EncoderPool {
    EncoderPool::new(EncoderLocation::Folder(fixture("extra-outputs")), library(), workers)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}

/// Decodes a golden: little-endian fp16 in base64.
fn decoded(golden: &Value) -> Vec<f32> {
    let bytes = STANDARD.decode(golden.as_str().unwrap()).unwrap();
    bytes.chunks_exact(2).map(|pair| half::f16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect()
}

#[test]
fn built_in_vectors_agree_with_torch_and_with_the_graph_in_python() {
    let pool = EncoderPool::new(EncoderLocation::BuiltIn, library(), 2);
    let goldens: Vec<Value> = serde_json::from_str(GOLDENS).unwrap();
    let texts: Vec<&str> = goldens.iter().map(|golden| golden["text"].as_str().unwrap()).collect();
    assert_eq!((texts.len(), pool.dimensions().unwrap(), pool.max_tokens().unwrap()), (60, 384, 256));
    let mut cosines = Vec::new();
    for (golden, encoding) in goldens.iter().zip(pool.encode_all(&texts, 2, &Cancellation::default(), &|_| ()).unwrap())
    {
        let same = cosine(&encoding.vector, &decoded(&golden["int8"]));
        assert!(same >= SAME_COSINE, "{}: {same}", golden["text"]);
        cosines.push(cosine(&encoding.vector, &decoded(&golden["fp32"])));
        assert!(cosines.last() >= Some(&LOWEST_COSINE), "{}: {cosines:?}", golden["text"]);
    }
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    assert!(mean >= MEAN_COSINE, "{mean}");
}

#[test]
fn an_encoder_can_run_with_another_graph_of_its_kind() {
    let base = EncoderPool::new(EncoderLocation::BuiltIn, library(), 1);
    let source = base.source().unwrap();
    assert_eq!((source.heads, base.token_ids("hello").unwrap()), (12, vec![101, 7592, 102]));
    let mut other = source.graph.clone();
    // Another producer's name, so that the file differs and the vectors do not.
    other.extend([0x12, 1, b'x']);
    for (graph, is_same) in [(source.graph, true), (other, false)] {
        let location = EncoderLocation::Tuned { base: Box::new(EncoderLocation::BuiltIn), graph: graph.into() };
        assert_eq!(location.to_string(), "built-in encoder, tuned");
        let tuned = EncoderPool::new(location, library(), 1);
        let vector = |pool: &EncoderPool| pool.encode("hello there", &Cancellation::default()).unwrap().vector;
        assert_eq!(vector(&tuned), vector(&base));
        let (digest, of_base) = (tuned.digest().unwrap(), base.digest().unwrap());
        assert_ne!(digest, of_base);
        assert_eq!(tuned.source().unwrap().graph.len() == base.source().unwrap().graph.len(), is_same);
    }
}

/// The scores are computed from the state, so it tells opposite opinions apart.
#[test]
fn the_state_of_the_sentiment_model_tells_opinions_apart() {
    let pool = EncoderPool::new(EncoderLocation::SentimentState, library(), 1);
    let state = |text: &str| pool.encode(text, &Cancellation::default()).unwrap().vector;
    let [good, better, bad] = ["I like this", "This is the best of all", "This is the worst of all"].map(state);
    assert_eq!((good.len(), pool.dimensions().unwrap()), (384, 384));
    assert!(
        cosine(&good, &better) > 0.5 + cosine(&better, &bad),
        "{} {}",
        cosine(&good, &better),
        cosine(&better, &bad)
    );
}

/// Both read the same prepared graph, each its own output.
#[test]
fn the_state_and_the_scores_of_the_sentiment_model_share_a_graph() {
    let cache = tempfile::tempdir().unwrap();
    let library = LibrarySettings { path: None, cache_dir: Some(cache.path().to_owned()) };
    let load = || classifier::load("sentiment", &Location::BuiltIn, &library, 1).unwrap();
    let before = crate::predict(&mut load(), &Input::single("I like this"));
    let pool = EncoderPool::new(EncoderLocation::SentimentState, library.clone(), 1);
    pool.encode("I like this", &Cancellation::default()).unwrap();
    assert_eq!(crate::predict(&mut load(), &Input::single("I like this")), before);
    assert_eq!(crate::prepared::folders(cache.path()).len(), 1);
}

#[test]
fn vectors_have_unit_length_and_are_the_same_alone_and_among_others() {
    let pool = pool(2);
    let texts: Vec<String> = (0..40).map(|number| "a text ".repeat(1 + number % 7)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let told = Mutex::new(Vec::new());
    let told_by = |count| told.lock().unwrap().push(count);
    let encoded = pool.encode_all(&texts, 3, &Cancellation::default(), &told_by).unwrap();
    assert_eq!(encoded.len(), texts.len());
    for (text, encoding) in texts.iter().zip(&encoded) {
        assert_eq!(encoding, &pool.encode(text, &Cancellation::default()).unwrap(), "{text}");
        let length: f32 = encoding.vector.iter().map(|number| number * number).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
        assert_eq!(encoding.vector.len(), pool.dimensions().unwrap());
    }
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted() && told.last() == Some(&texts.len()), "{told:?}");
}

#[test]
fn a_long_text_is_truncated_and_the_answer_says_so() {
    let pool = pool(1);
    let limit = pool.max_tokens().unwrap();
    let long = pool.encode(&"text ".repeat(500), &Cancellation::default()).unwrap();
    let truncated = long.truncated.unwrap();
    assert!(long.tokens > limit && truncated.limit as usize == limit, "{limit} {truncated:?}");
    assert_eq!(pool.encode("text", &Cancellation::default()).unwrap().truncated, None);
}

#[test]
fn a_cancelled_call_encodes_nothing() {
    let pool = pool(1);
    let cancelled = Cancellation::default();
    cancelled.cancel();
    assert_eq!(pool.encode("a text", &cancelled), Err(Error::Cancelled));
    assert_eq!(pool.encode_all(&["a", "b"], 2, &cancelled, &|_| ()), Err(Error::Cancelled));
}

#[test]
fn a_classifier_is_not_an_encoder() {
    let pool = EncoderPool::new(EncoderLocation::Folder(fixture("int8")), library(), 1);
    let error = pool.dimensions().unwrap_err().to_string();
    assert!(error.contains("expected `sentence_embedding`, `last_hidden_state`"), "{error}");
    pool.digest().unwrap();
}
