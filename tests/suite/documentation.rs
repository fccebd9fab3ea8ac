//! README and models/README.md against the program.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::client::{run, text};

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn the_readme_lists_every_flag_with_its_variable_and_default() {
    let readme = document("README.md");
    let help = run(&["serve", "--help"]);
    let mut flags = Vec::new();
    let mut current = String::new();
    for line in text(&help.stdout).lines().map(str::trim) {
        if line.starts_with("--") {
            current = line.split_whitespace().next().unwrap().to_owned();
            flags.push((current.clone(), None, None));
        }
        let inside = |name: &str| {
            let start = line.find(&format!("[{name}: "))? + name.len() + 3;
            line[start..].split(']').next().map(|value| value.trim_end_matches('=').to_owned())
        };
        if let Some(flag) = flags.iter_mut().find(|(flag, ..)| *flag == current) {
            flag.1 = inside("env").or(flag.1.take());
            flag.2 = inside("default").or(flag.2.take());
        }
    }
    assert!(flags.len() >= 10, "{flags:?}");
    for (flag, variable, default) in flags {
        let row = readme.lines().find(|line| line.starts_with(&format!("| `{flag}`")));
        let row = row.unwrap_or_else(|| panic!("README has no row for {flag}"));
        for value in [variable, default].into_iter().flatten() {
            assert!(row.contains(&format!("`{value}`")), "README's row for {flag} lacks `{value}`: {row}");
        }
    }
}

#[test]
fn the_readmes_first_example_is_what_the_program_answers() {
    let shown: Vec<Value> =
        document("README.md").lines().filter(|line| line.starts_with("{\"text\"")).map(parsed).collect();
    let texts: Vec<&str> = shown.iter().map(|row| row["text"].as_str().unwrap()).collect();
    let output = run(&[&["predict"], texts.as_slice()].concat());
    let found: Vec<Value> = text(&output.stdout).lines().map(parsed).collect();
    assert_eq!(found.len(), 2);
    for (shown, found) in shown.iter().zip(&found) {
        assert_eq!(shown["prediction"], found["prediction"]);
        // An int8 graph rounds a little differently on processors without VNNI.
        let difference = shown["confidence"].as_f64().unwrap() - found["confidence"].as_f64().unwrap();
        assert!(difference.abs() < 0.02, "{shown} {found}");
    }
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

#[test]
fn the_readme_names_both_commands() {
    let readme = document("README.md");
    for command in ["cargo run --release -- predict", "cargo test --release", "claude mcp add local-model -- "] {
        assert!(readme.contains(command), "{command}");
    }
}

#[test]
fn the_model_card_names_the_graph_that_is_shipped() {
    use sha2::{Digest, Sha256};
    let graph = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/sentiment/model.onnx")).unwrap();
    let digest: String = Sha256::digest(&graph).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(document("models/sentiment/README.md").contains(&digest), "{digest}");
}
