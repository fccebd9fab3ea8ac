//! Rules about the sources that neither the compiler nor Clippy checks.
//!
//! The dependencies of each crate are restricted by its `Cargo.toml`, not here.

use std::fs;
use std::path::{Path, PathBuf};

const MAX_FILE_LINES: usize = 400;

/// Every Rust file of the workspace, with its path from the root.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> =
        ["src", "crates", "models", "tools", "tests/suite"].iter().map(|folder| root.join(folder)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let path = entry.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                files.push((path, fs::read_to_string(&entry).unwrap()));
            }
        }
    }
    assert!(files.len() > 100, "found only {} source files", files.len());
    files
}

/// Returns whether a line of code, excluding comments, contains `word`.
fn contains(content: &str, word: &str) -> bool {
    content.lines().map(str::trim_start).any(|line| !line.starts_with("//") && line.contains(word))
}

#[test]
fn every_file_opens_with_a_module_doc_and_stays_short() {
    for (path, content) in sources() {
        assert!(content.starts_with("//! "), "{path} has no module doc");
        let lines = content.lines().count();
        assert!(lines <= MAX_FILE_LINES, "{path} has {lines} lines, expected at most {MAX_FILE_LINES}");
    }
}

#[test]
fn only_one_file_has_unsafe_code() {
    for (path, content) in sources() {
        let is_allowed = path == "src/process.rs" || path == "tests/suite/tidy.rs";
        let has_unsafe =
            ["unsafe {", "unsafe fn", "unsafe impl", "unsafe_code"].iter().any(|word| contains(&content, word));
        assert!(is_allowed || !has_unsafe, "{path} has unsafe code; SECURITY.md says that only src/process.rs has any");
    }
}

/// Windows would check out texts with other line ends, and so with other digests.
#[test]
fn git_keeps_the_line_ends_of_all_files() {
    let attributes = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".gitattributes")).unwrap();
    assert!(attributes.lines().any(|line| line == "* -text"), "{attributes}");
    for (path, content) in sources() {
        assert!(!content.contains('\r'), "{path} has carriage returns");
    }
}

#[test]
fn only_the_edge_reads_the_environment() {
    for (path, content) in sources() {
        let edge = path.starts_with("src/") || path.starts_with("tests/") || path.starts_with("tools/");
        let build_script = path.ends_with("build.rs");
        assert!(edge || build_script || !contains(&content, "env::var"), "{path} reads the environment");
    }
}
