//! Model folders for tests: the fixtures of this repository, copies of them with changes, and
//! graphs written by hand.

pub mod onnx;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::Error;
use crate::load::{Location, load};
use crate::model::LoadedModel;
use onnx_runtime::LibrarySettings;

/// The files of the built-in model that a folder needs.
const BUILT_IN_FILES: [&str; 4] = ["model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the folder of a fixture model.
pub fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures").join(name)
}

/// Copies a fixture's folder and writes its `local-model.toml`.
pub fn with_settings(name: &str, settings: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("the system has a temporary directory");
    copy(&fixture(name), folder.path()).expect("fixtures can be copied");
    fs::write(folder.path().join("local-model.toml"), settings).expect("the copy can be changed");
    folder
}

/// Copies the built-in model's folder, without its settings.
pub fn built_in_copy() -> TempDir {
    let folder = tempfile::tempdir().expect("the system has a temporary directory");
    for file in BUILT_IN_FILES {
        let from = root().join("models/sentiment").join(file);
        fs::copy(from, folder.path().join(file)).expect("the built-in model can be copied");
    }
    folder
}

/// Loads a folder as a model called `fixture`, on two threads.
///
/// # Errors
/// Those of [`load`].
pub fn load_folder(folder: &Path, cache_dir: Option<&Path>) -> Result<LoadedModel, Error> {
    let library = LibrarySettings { path: None, cache_dir: cache_dir.map(Path::to_owned) };
    load("fixture", &Location::Folder(folder.to_owned()), &library, 2)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            fs::create_dir(&target)?;
            copy(&path, &target)?;
        } else {
            fs::copy(&path, target)?;
        }
    }
    Ok(())
}
