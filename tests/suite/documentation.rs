//! Checks the documents against the program and the repository: links, flags, examples and digests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use local_model_mcp::commands::Cli;
use serde_json::Value;

use crate::support::client::{run, text};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const READMES: [&str; 2] = ["README.md", "README.zh-CN.md"];
const MAX_README_LINES: usize = 160;
/// Flags in the documents that belong to other programs.
const FOREIGN_FLAGS: [&str; 2] = ["--task", "--self-test"];

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns the repository's documents for people, as paths from its root.
fn documents() -> Vec<String> {
    let mut names = Vec::new();
    for folder in ["", "docs", "models", "models/sentiment", "plugin", "skill", "skill/references", "benches/peers"] {
        for entry in fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
            let name = Path::new(folder).join(entry.unwrap().file_name());
            names.extend(name.to_str().filter(|name| name.ends_with(".md")).map(str::to_owned));
        }
    }
    assert!(names.len() >= 15, "{names:?}");
    names
}

#[test]
fn a_readme_has_at_most_160_lines() {
    for name in READMES {
        let lines = document(name).lines().count();
        assert!(lines <= MAX_README_LINES, "{name} has {lines} lines");
    }
}

#[test]
fn the_readme_names_the_first_command_and_the_test_command() {
    let readme = document("README.md");
    for command in ["cargo run -- predict", "cargo test --workspace"] {
        assert!(readme.contains(command), "{command}");
    }
}

#[test]
fn the_readmes_first_example_shows_what_the_program_answers() {
    let parsed = |line: &str| -> Value { serde_json::from_str(line).unwrap() };
    let readme = document("README.md");
    let shown: Vec<Value> = readme.lines().filter(|line| line.starts_with("{\"text\"")).map(parsed).collect();
    let texts: Vec<&str> = shown.iter().map(|row| row["text"].as_str().unwrap()).collect();
    let output = run(&[&["predict"], texts.as_slice()].concat());
    let answers: Vec<Value> = text(&output.stdout).lines().map(parsed).collect();
    assert_eq!((shown.len(), answers.len()), (2, 2));
    for (shown, answer) in shown.iter().zip(&answers) {
        assert_eq!(shown["prediction"], answer["prediction"]);
        // An int8 graph rounds a little differently on processors without VNNI.
        let difference = shown["confidence"].as_f64().unwrap() - answer["confidence"].as_f64().unwrap();
        assert!(difference.abs() < 0.02, "{shown} {answer}");
    }
}

#[test]
fn every_flag_in_the_documents_exists() {
    let command = Cli::command();
    let commands = command.get_subcommands().chain([&command]);
    let mut known: BTreeSet<String> = ["--help", "--version"].map(str::to_owned).into();
    for argument in commands.flat_map(clap::Command::get_arguments) {
        known.extend(argument.get_long().map(|long| format!("--{long}")));
    }
    let mut checked = 0;
    // The changelog names former flags, and benches/peers has its own.
    for name in documents().iter().filter(|name| *name != "CHANGELOG.md" && !name.starts_with("benches")) {
        for flag in own_flags(&document(name)) {
            checked += 1;
            assert!(known.contains(&flag) || FOREIGN_FLAGS.contains(&flag.as_str()), "{name} names {flag}");
        }
    }
    assert!(checked >= 40, "only {checked} flags were found");
}

/// Returns the flags in code spans that begin with one, and in commands that start this program.
fn own_flags(content: &str) -> Vec<String> {
    let spans = content.split('`').skip(1).step_by(2).filter(|span| span.starts_with("--"));
    let starts = ["local-model-mcp ", "$ local-model-mcp ", "./local-model-mcp ", "cargo run -- "];
    let commands = content.lines().filter_map(|line| {
        let line = line.trim_start_matches("$ ");
        starts.iter().find_map(|start| line.strip_prefix(start))?.split(" # ").next()
    });
    let flag = |word: &str| word.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let words = spans.chain(commands).flat_map(str::split_whitespace);
    words.filter(|word| word.starts_with("--") && word.len() > 2).map(flag).collect()
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut links = 0;
    for name in documents() {
        let content = document(&name);
        let quoted = ["src=\"", "srcset=\""].into_iter().flat_map(|start| content.split(start).skip(1));
        let sources = quoted.filter_map(|rest| rest.split('"').next());
        let targets = content.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.chain(sources).filter(|target| !target.contains("://")) {
            links += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let own = Path::new(ROOT).join(&name);
            let path = if file.is_empty() { own } else { own.parent().unwrap().join(file) };
            assert!(path.exists(), "{name} links to {target}");
            assert!(heading.is_empty() || anchors(&path).iter().any(|anchor| anchor == heading), "{name}: {target}");
        }
    }
    assert!(links >= 60, "only {links} links were found");
}

/// Returns the anchors of a document's headings, as GitHub makes them.
fn anchors(path: &PathBuf) -> Vec<String> {
    let content = fs::read_to_string(path).unwrap();
    let headings = content.lines().filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let titles = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    titles.map(|title| title.chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn each_model_card_names_the_graph_that_is_shipped() {
    use sha2::{Digest, Sha256};
    for model in ["models/sentiment", "models/encoder"] {
        let graph = fs::read(Path::new(ROOT).join(model).join("model.onnx")).unwrap();
        let digest: String = Sha256::digest(&graph).iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(document(&format!("{model}/README.md")).contains(&digest), "{model}: {digest}");
    }
}

#[test]
fn every_promise_of_security_md_names_tests_that_exist() {
    let content = document("SECURITY.md");
    let table = content.split("| promise | test |").nth(1).unwrap().split("\n\n").next().unwrap();
    let sources: String =
        rust_files(Path::new(ROOT)).into_iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let mut promises = 0;
    for row in table.lines().skip(2) {
        promises += 1;
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {row}");
        for name in names {
            let found = match name.split_once('/') {
                Some(_) => braces(name).iter().all(|path| Path::new(ROOT).join(path).exists()),
                None => sources.contains(&format!("fn {name}(")),
            };
            assert!(found, "there is no test `{name}`");
        }
    }
    assert!(promises >= 10, "only {promises} promises were found");
}

/// Expands `a/{b,c}.rs` to `a/b.rs` and `a/c.rs`.
fn braces(name: &str) -> Vec<String> {
    let Some((start, rest)) = name.split_once('{') else { return vec![name.to_owned()] };
    let (names, end) = rest.split_once('}').unwrap();
    names.split(',').map(|name| format!("{start}{name}{end}")).collect()
}

/// Returns the Rust files of the crates and the tests.
fn rust_files(root: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = ["src", "crates", "tests"].map(|name| root.join(name)).into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}
