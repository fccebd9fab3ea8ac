//! Tests of the classifier with real models and the real runtime, in one executable so that it
//! links once. Unit tests are next to the code; tests of memory and of the executable are in
//! `tests/suite`.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

/// The error of each folder that is missing or broken.
mod broken;
/// Decision models against the runtimes of their packages.
mod decisions;
/// Sentence encoders.
mod encoders;
/// Encoders with a head, exported.
mod export;
/// Fixture models against the scores of transformers on torch.
mod goldens;
/// Malicious folders, refused before anything is run.
mod hostile;
/// Texts over a model's limit.
mod long_texts;
/// Prepared graphs in the cache directory.
mod prepared;
/// The function from numbers to scores.
mod scoring;
/// The built-in model: everyday sentences, and the scores of transformers.
mod sentiment;
/// Graphs that take the text itself, as scikit-learn's exporter writes them.
mod text_graphs;
/// Folders that contain something other than a classifier.
mod unsuitable;
/// Models with a vocabulary of their own.
mod words;

use std::path::Path;

use classifier::{Cancellation, Error, Input, LabeledPrediction, LoadedModel, Prediction};

/// The cache directory that tests share, so that the library is unpacked once.
fn shared_cache() -> &'static Path {
    Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/classifier-cache"))
}

fn load(folder: &Path) -> Result<LoadedModel, Error> {
    classifier::testing::load_folder(folder, Some(shared_cache()))
}

#[track_caller]
fn predict(loaded: &mut LoadedModel, input: &Input) -> Prediction {
    loaded.first.predict(input, &Cancellation::default()).unwrap_or_else(|error| panic!("{error}: {input:?}"))
}

#[track_caller]
fn label(loaded: &mut LoadedModel, input: &Input) -> LabeledPrediction {
    let prediction = predict(loaded, input);
    loaded.info.label(input, &prediction)
}

/// Asserts that a folder cannot be loaded, with an error that contains `expected`. In the error,
/// the folder is called `DIR`.
#[track_caller]
fn assert_refused(folder: &Path, expected: &str) {
    match load(folder) {
        Err(error) => {
            let error = error.to_string().replace(&folder.display().to_string(), "DIR");
            assert!(error.contains(expected), "{error}");
        }
        Ok(_) => panic!("the folder was loaded"),
    }
}
