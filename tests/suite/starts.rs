//! The executable alone in an empty directory: it works, and writes only its cache.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::client::{EXECUTABLE, run, text};

#[test]
fn the_executable_works_alone_and_writes_only_its_cache() {
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("copied");
    fs::copy(EXECUTABLE, &copy).unwrap();
    let output = Command::new(&copy)
        .env_clear()
        .env("HOME", place.path())
        .current_dir(place.path())
        .args(["predict", "I love this"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(output.stdout, run(&["predict", "I love this"]).stdout);
    // ONNX Runtime's telemetry would create a database in the user's cache directory.
    let names = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    };
    let cache = if cfg!(target_os = "macos") { "Library" } else { ".cache" };
    assert_eq!(names(place.path()), [cache, "copied"]);
    if cfg!(target_os = "linux") {
        assert_eq!(names(&place.path().join(".cache")), ["local-model-mcp"]);
    }
}
