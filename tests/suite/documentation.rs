//! What people read, against the program: README in both languages, docs/troubleshooting.md, models/README.md.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client::{run, text};

const READMES: [&str; 2] = ["README.md", "README.zh-CN.md"];

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn the_readmes_list_every_flag_with_its_variable_and_default() {
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
    for name in READMES {
        let readme = document(name);
        for (flag, variable, default) in &flags {
            let row = readme.lines().find(|line| line.starts_with(&format!("| `{flag}`")));
            let row = row.unwrap_or_else(|| panic!("{name} has no row for {flag}"));
            for value in [variable, default].into_iter().flatten() {
                assert!(row.contains(&format!("`{value}`")), "{name}'s row for {flag} lacks `{value}`: {row}");
            }
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
    for command in ["cargo run -- predict", "cargo test --release", "claude mcp add local-model -- "] {
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

/// It may have more, for its own readers, but lacks nothing: the same sections, tables and commands in the same order.
#[test]
fn the_chinese_readme_keeps_step() {
    let [english, chinese] = READMES.map(document);
    let mut following = shown(&chinese).into_iter();
    for line in shown(&english) {
        assert!(following.any(|other| other == line), "README.zh-CN.md lacks, or has in another place: {line}");
    }
    let headings = |readme: &str| {
        let mut outside = true;
        let levels = readme.lines().filter_map(|line| {
            outside ^= line.starts_with("```");
            Some(line.split_once(' ')?.0.len()).filter(|_| outside && line.starts_with('#'))
        });
        levels.collect::<Vec<_>>()
    };
    assert_eq!(headings(&english), headings(&chinese), "the levels of the headings");
}

/// What is the same in every language: lines of code blocks, their comments aside, and the code in the first cells of tables.
fn shown(readme: &str) -> Vec<String> {
    let mut shown = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if inside {
            shown.push(line.split(" # ").next().unwrap().trim_end().to_owned());
        } else if line.starts_with("| `") {
            let cells = line.split(" | ").take(3);
            let code = cells.map(|cell| cell.split('`').skip(1).step_by(2).collect::<Vec<_>>().join(" "));
            shown.push(code.collect::<Vec<_>>().join(" | "));
        }
    }
    shown
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let names = ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md", "docs/troubleshooting.md"];
    for name in READMES.into_iter().chain(names) {
        let content = document(name);
        let targets = content.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
            let path = if file.is_empty() { from.clone() } else { from.parent().unwrap().join(file) };
            assert!(path.exists(), "{name} links to {target}");
            let anchor = |line: &str| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            let known = || {
                fs::read_to_string(&path).unwrap().lines().any(|line| line.starts_with('#') && anchor(line) == heading)
            };
            assert!(heading.is_empty() || known(), "{name} links to {target}");
        }
    }
}

/// Where messages stand in the sources: the files, and what stands right before each message.
const MESSAGES: &[(&str, &[&str])] = &[
    ("src/error.rs", &["#[error("]),
    ("src/mcp/transport/refusal.rs", &["format!(", "=> ", "let message ="]),
    (
        "src/mcp/mod.rs",
        &["let text =", "let text = format!(", "_params(format!(", "METHOD_NOT_FOUND, format!(", "Err(format!("],
    ),
    ("src/mcp/skill.rs", &["not_found(format!(", "not_found(\n        format!("]),
    ("build.rs", &["Err(format!(", "|error| format!(", "ok_or_else(|| {\n        format!("]),
];

/// Every message has its row, so that whoever meets one finds what to do.
#[test]
fn the_troubleshooting_page_has_every_message() {
    let page = document("docs/troubleshooting.md");
    let cells: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    let mut missing = Vec::new();
    for (place, openers) in MESSAGES {
        let mut found = 0;
        for file in sources(Path::new(place)) {
            let source = document(file.to_str().unwrap());
            let code = source.split("#[cfg(test)]").next().unwrap();
            for message in openers.iter().flat_map(|opener| messages(code, opener)) {
                found += 1;
                if !cells.iter().any(|cell| cell.contains(&message)) {
                    missing.push(format!("{}: {message}", file.display()));
                }
            }
        }
        assert!(found > 0, "no message was found in {place}");
    }
    assert!(missing.is_empty(), "docs/troubleshooting.md has no row for:\n{}", missing.join("\n"));
}

/// The file, or all below a folder except `bench`, whose messages are for whoever works on this program.
fn sources(place: &Path) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if root.join(place).is_file() {
        return vec![place.to_owned()];
    }
    let entries = fs::read_dir(root.join(place)).unwrap().map(|entry| place.join(entry.unwrap().file_name()));
    entries.filter(|entry| !entry.ends_with("bench")).flat_map(|entry| sources(&entry)).collect()
}

/// What is said of the problem, without the way out, by every message that follows the opener; `…` for what varies.
fn messages(code: &str, opener: &str) -> Vec<String> {
    let literals = code.match_indices(opener).filter_map(|(at, _)| literal(&code[at + opener.len()..]));
    let mut found = Vec::new();
    for text in literals {
        let mut plain = String::new();
        for (number, part) in text.split('{').enumerate() {
            let fixed = if number == 0 { part } else { part.split_once('}').unwrap().1 };
            plain.push_str(if number == 0 { "" } else { "…" });
            plain.push_str(fixed);
        }
        // Up to the semicolon that the remedy follows, unless there is hardly a word before it.
        let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).count();
        let ends = plain.match_indices(';').map(|(at, _)| at).chain([plain.len()]);
        let said = ends.map(|end| &plain[..end]).find(|said| letters(said) >= 10);
        found.extend(said.map(str::to_owned));
    }
    found
}

/// The string literal at the beginning, its escapes undone.
fn literal(code: &str) -> Option<String> {
    let mut rest = code.trim_start().strip_prefix('"')?.chars().peekable();
    let mut text = String::new();
    loop {
        match rest.next()? {
            '"' => return Some(text),
            '\\' => match rest.next()? {
                '\n' => while rest.next_if(|c| c.is_whitespace()).is_some() {},
                escaped => text.push(escaped),
            },
            c => text.push(c),
        }
    }
}
