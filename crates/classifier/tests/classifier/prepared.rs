//! Prepared graphs in the cache directory: made once, made again if damaged, and never used if they
//! give other scores.

use std::fs;
use std::path::{Path, PathBuf};

use classifier::testing::fixture;
use classifier::{Input, LibrarySettings, LoadedModel, Location};

use crate::predict;

fn load(name: &str, cache: &Path) -> LoadedModel {
    let library = LibrarySettings { path: None, cache_dir: Some(cache.to_owned()) };
    classifier::load(name, &Location::Folder(fixture(name)), &library, 1).unwrap()
}

/// The folders of prepared graphs below a cache directory.
pub(crate) fn folders(cache: &Path) -> Vec<PathBuf> {
    let artifacts = fs::read_dir(cache.join("artifacts")).into_iter().flatten().flatten();
    artifacts.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("graph-")).collect()
}

#[test]
fn a_graph_is_prepared_once() {
    let cache = tempfile::tempdir().unwrap();
    let written = |folder: &Path| fs::metadata(folder.join("graph.onnx")).unwrap().modified().unwrap();
    assert!(load("int8", cache.path()).info.load.weights_shared);
    let [folder] = folders(cache.path()).try_into().unwrap();
    let first = written(&folder);
    assert!(load("int8", cache.path()).info.load.weights_shared);
    assert_eq!((folders(cache.path()).len(), written(&folder)), (1, first));
}

#[test]
fn a_damaged_prepared_graph_is_prepared_again() {
    let cache = tempfile::tempdir().unwrap();
    let input = Input::single("a text");
    let expected = predict(&mut load("int8", cache.path()), &input);
    let [folder] = folders(cache.path()).try_into().unwrap();
    type Damage<'a> = (&'a str, &'a dyn Fn(&Path));
    let damages: [Damage<'_>; 5] = [
        ("a byte of the weights", &|folder| {
            let mut weights = fs::read(folder.join("weights.bin")).unwrap();
            let middle = weights.len() / 2;
            weights[middle] ^= 0x40;
            fs::write(folder.join("weights.bin"), weights).unwrap();
        }),
        ("half a graph", &|folder| {
            let graph = fs::read(folder.join("graph.onnx")).unwrap();
            fs::write(folder.join("graph.onnx"), &graph[..graph.len() / 2]).unwrap();
        }),
        ("no weights", &|folder| fs::remove_file(folder.join("weights.bin")).unwrap()),
        ("another manifest", &|folder| fs::write(folder.join("manifest.json"), "{}}").unwrap()),
        ("nothing left", &|folder| fs::remove_dir_all(folder).unwrap()),
    ];
    for (damage, damaged) in damages {
        damaged(&folder);
        let mut loaded = load("int8", cache.path());
        assert!(loaded.info.load.weights_shared, "{damage}");
        assert_eq!(predict(&mut loaded, &input), expected, "{damage}");
        assert_eq!(folders(cache.path()), std::slice::from_ref(&folder), "{damage}");
    }
}

/// This happens when another kind of processor uses the same cache directory.
#[test]
fn a_prepared_graph_with_other_scores_is_not_used() {
    let cache = tempfile::tempdir().unwrap();
    let input = Input::single("a text");
    let expected = predict(&mut load("int8", cache.path()), &input);
    let [folder] = folders(cache.path()).try_into().unwrap();
    let scores = fs::read_to_string(folder.join("probe.json")).unwrap();
    let key = folder.file_name().unwrap().to_str().unwrap();
    let files =
        [("graph.onnx", fs::read(folder.join("graph.onnx"))), ("weights.bin", fs::read(folder.join("weights.bin")))];
    let artifacts = cache_dir::artifacts::Artifacts::new(cache.path());
    let disguised = artifacts.make(key, |folder| {
        fs::write(folder.join("probe.json"), scores.replacen('1', "2", 1))?;
        files.iter().try_for_each(|(name, content)| fs::write(folder.join(name), content.as_ref().unwrap()))
    });
    assert_eq!(disguised.unwrap(), folder);
    assert_eq!(predict(&mut load("int8", cache.path()), &input), expected);
    assert_eq!(fs::read_to_string(folder.join("probe.json")).unwrap(), scores, "it was prepared again");
}

#[test]
fn external_weights_are_prepared_with_the_graph() {
    let cache = tempfile::tempdir().unwrap();
    let input = Input::single("a text");
    let expected = predict(&mut load("dynamo-external-data", cache.path()), &input);
    let mut again = load("dynamo-external-data", cache.path());
    assert!(again.info.load.weights_shared);
    assert_eq!(predict(&mut again, &input), expected);
}
