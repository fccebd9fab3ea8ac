//! Encoders: texts become vectors of unit length, the same alone and among others.

use std::sync::Mutex;

use classifier::testing::fixture;
use classifier::{Cancellation, EncoderLocation, EncoderPool, Error, LibrarySettings};

use crate::shared_cache;

/// A fixture whose graph also gives the hidden state of each token, 24 numbers wide.
fn pool(workers: usize) -> EncoderPool {
    let library = LibrarySettings { path: None, cache_dir: Some(shared_cache().to_owned()) };
    EncoderPool::new(EncoderLocation::Folder(fixture("extra-outputs")), library, workers)
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
    let library = LibrarySettings { path: None, cache_dir: Some(shared_cache().to_owned()) };
    let pool = EncoderPool::new(EncoderLocation::Folder(fixture("int8")), library, 1);
    let error = pool.dimensions().unwrap_err().to_string();
    assert!(error.contains("expected `sentence_embedding`, `last_hidden_state`"), "{error}");
    pool.digest().unwrap();
}
