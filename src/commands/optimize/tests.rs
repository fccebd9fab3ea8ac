//! The command over fixture models, with the real runtime.

use std::fs;

use classifier::testing::{fixture, with_settings};
use tempfile::TempDir;

use super::*;

const LIBRARY: LibrarySettings = LibrarySettings { path: None, cache_dir: None };

fn job(folder: &Path, parent: &TempDir, min_agreement: f64) -> Job {
    let samples = sample::generated().into_iter().take(12).collect();
    let output = parent.path().join("out");
    Job { folder: folder.to_owned(), output, samples, is_generated: true, min_agreement }
}

fn run(folder: &Path, parent: &TempDir, min_agreement: f64) -> anyhow::Result<(Report, Option<String>)> {
    job(folder, parent, min_agreement).run(&LIBRARY, &Cancellation::default())
}

#[test]
fn the_copy_is_a_complete_folder_with_nearly_the_same_answers() {
    let settings = "graph = \"model.onnx\" # the only one\ndescription = \"mine\"\nthreshold = 0.5\n\n[calibration]\ntemperature = 2.0\n";
    let source = with_settings("wordpiece-pairs", settings);
    let parent = tempfile::tempdir().unwrap();
    let (report, refusal) = run(source.path(), &parent, 0.0).unwrap();
    assert_eq!((refusal, report.texts, report.matrices, report.tables, report.attentions), (None, 12, 7, 3, 1));
    assert!(report.bytes < report.bytes_before, "{} bytes", report.bytes);
    assert!(report.agreement.largest_difference < 0.1, "{:?}", report.agreement);
    for (timing, wanted) in report.timings.iter().zip([8usize, 32]) {
        assert!(timing.tokens.abs_diff(wanted) <= wanted / 4, "{timing:?}");
    }
    let mut names: Vec<_> =
        fs::read_dir(parent.path().join("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in ["config.json", "local-model.toml", "model.onnx", "tokenizer.json", "vocab.txt"] {
        assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
    }
    let copied = fs::read_to_string(parent.path().join("out/local-model.toml")).unwrap();
    let expected = if report.calibration_removed {
        "description = \"mine\"\n"
    } else {
        &settings[settings.find("desc").unwrap()..]
    };
    assert_eq!(copied, expected);
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
}

#[test]
fn nothing_is_written_if_the_answers_differ() {
    let parent = tempfile::tempdir().unwrap();
    let (report, refusal) = run(&fixture("wordpiece-pairs"), &parent, 1.5).unwrap();
    let refusal = refusal.unwrap();
    assert!(refusal.starts_with("nothing was written: the agreement is "), "{refusal}");
    assert!(refusal.contains("`--sample FILE`") && refusal.contains("`--min-agreement "), "{refusal}");
    assert_eq!(report.json()["output"], serde_json::Value::Null);
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn taggers_and_encoders_are_compared_too() {
    let parent = tempfile::tempdir().unwrap();
    let (report, _) = run(&fixture("ner-wordpiece"), &parent, 0.0).unwrap();
    assert_eq!(report.agreement.unit, "words");
    assert!(report.agreement.share > 0.5, "{:?}", report.agreement);

    let (source, parent) = (with_settings("extra-outputs", ""), tempfile::tempdir().unwrap());
    let config = fs::read_to_string(source.path().join("config.json")).unwrap();
    fs::write(source.path().join("config.json"), config.replace("ForSequenceClassification", "Model")).unwrap();
    let (report, _) = run(source.path(), &parent, 0.0).unwrap();
    assert_eq!(report.agreement.unit, "cosine");
    assert!(report.agreement.share > 0.9, "{:?}", report.agreement);
}

#[test]
fn weights_next_to_the_graph_are_included() {
    let parent = tempfile::tempdir().unwrap();
    run(&fixture("dynamo-external-data"), &parent, 0.0).unwrap();
    assert!(parent.path().join("out/model.onnx").is_file());
    assert!(!parent.path().join("out/model.onnx.data").exists());
}

#[test]
fn graphs_that_int8_cannot_help_and_folders_with_content_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    for (name, expected) in [
        ("int8", "it is quantized already (`"),
        ("fp16", "its weights are fp16, expected fp32"),
        ("text-tfidf", "it takes text itself, as graphs of scikit-learn do"),
        ("laya", "it is a decision model, expected a classifier, a tagger or a sentence encoder"),
        ("decima", "it is a decision model, expected a classifier, a tagger or a sentence encoder"),
    ] {
        let error = run(&fixture(name), &parent, 0.0).err().unwrap().to_string();
        assert!(error.contains(&format!("cannot be optimized: {expected}")), "{error}");
    }
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    fs::create_dir(parent.path().join("out")).unwrap();
    fs::write(parent.path().join("out/mine"), "x").unwrap();
    let error = run(&fixture("wordpiece-pairs"), &parent, 0.0).err().unwrap().to_string();
    assert!(error.ends_with("it is not empty, expected a new folder; the previous content is unchanged"), "{error}");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
}

#[test]
fn graphs_too_large_for_one_file_are_refused_before_they_are_read() {
    for (name, grown, bytes, expected) in [
        ("wordpiece-pairs", "model.onnx", 2u64 << 30, "expected at most 2147483648; "),
        (
            "dynamo-external-data",
            "model.onnx.data",
            8 << 30,
            "expected at most 8589934592; in int8, more would not fit",
        ),
    ] {
        let (source, parent) = (with_settings(name, ""), tempfile::tempdir().unwrap());
        // A sparse file, which takes no space.
        fs::File::create(source.path().join(grown)).unwrap().set_len(bytes + 1).unwrap();
        let error = run(source.path(), &parent, 0.0).err().unwrap().to_string();
        assert!(error.contains(&format!("{} bytes, {expected}", bytes + 1)), "{error}");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_cancelled_run_leaves_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let cancellation = Cancellation::default();
    cancellation.cancel();
    assert!(job(&fixture("wordpiece-pairs"), &parent, 0.0).run(&LIBRARY, &cancellation).is_err());
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}
