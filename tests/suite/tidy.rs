//! Rules about the sources themselves, so that the map in docs/architecture.md stays true.

use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms (or files) of `src` may name a crate. A crate that is not listed may be named anywhere.
const HOMES: &[(&str, &[&str])] = &[
    ("ort", &["model", "onnxruntime"]),
    ("tokenizers", &["model"]),
    ("toml", &["model"]),
    ("base64", &["model"]),
    ("half", &["model"]),
    ("moka", &["engine"]),
    ("crossbeam_channel", &["engine"]),
    ("memory_stats", &["engine"]),
    ("rmcp", &["mcp"]),
    ("schemars", &["mcp"]),
    ("csv", &["files"]),
    ("csv_core", &["files"]),
    ("flate2", &["files"]),
    ("zstd", &["files"]),
    ("parquet", &["files"]),
    ("arrow_array", &["files"]),
    ("arrow_cast", &["files"]),
    ("arrow_schema", &["files"]),
    ("futures_util", &["engine", "job", "mcp"]),
    ("unicode_segmentation", &["engine"]),
    ("maud", &["evaluation"]),
    ("plotters", &["evaluation"]),
    ("chrono", &["cli"]),
    ("toml_edit", &["model"]),
    ("indicatif", &["cli"]),
    ("anyhow", &["cli"]),
    ("clap", &["cli", "settings"]),
    ("clap_complete", &["cli", "settings"]),
    ("clap_mangen", &["cli"]),
    ("shlex", &["cli"]),
    ("dirs", &["settings"]),
    ("signal_hook", &["main.rs"]),
    ("libc", &["engine", "main.rs"]),
    ("tracing_subscriber", &["telemetry.rs"]),
    (
        "tempfile",
        &["cli", "engine", "files", "job", "model", "onnxruntime", "artifacts.rs", "private_dir.rs", "stamp.rs"],
    ),
    ("rustix", &["cli", "engine", "files", "mcp", "model", "onnxruntime", "private_dir.rs", "telemetry.rs"]),
];

/// Which rooms a room may call: arrows run one way.
const ARROWS: &[(&str, &[&str])] = &[
    ("mcp", &["job", "files", "engine", "error", "prediction"]),
    ("job", &["files", "engine", "evaluation", "error", "prediction", "digest"]),
    ("evaluation", &["error", "prediction"]),
    ("files", &["error"]),
    (
        "cli",
        &[
            "mcp",
            "job",
            "files",
            "evaluation",
            "engine",
            "model",
            "onnxruntime",
            "settings",
            "error",
            "prediction",
            "digest",
        ],
    ),
    ("settings", &["job", "files", "engine", "model", "onnxruntime"]),
    ("engine", &["model", "error", "prediction", "digest", "private_dir"]),
    ("model", &["onnxruntime", "error", "prediction", "digest", "stamp", "private_dir", "artifacts"]),
    ("onnxruntime", &["error", "artifacts"]),
    ("telemetry.rs", &["settings"]),
    ("error.rs", &[]),
    ("prediction.rs", &[]),
    ("digest.rs", &[]),
    ("private_dir.rs", &[]),
    ("stamp.rs", &[]),
    ("artifacts.rs", &["private_dir", "stamp"]),
];

const LONGEST_FILE: usize = 400;

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("tests")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() && entry.file_name().unwrap() != "clients" {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let content = fs::read_to_string(&entry).unwrap();
                files.push((entry.strip_prefix(root).unwrap().to_owned(), content));
            }
        }
    }
    assert!(files.len() > 20, "the sources were not found");
    files
}

/// The first part below `src`: a room's folder or a single file.
fn room(path: &Path) -> Option<String> {
    let below = path.strip_prefix("src").ok()?;
    Some(below.components().next()?.as_os_str().to_str()?.to_owned())
}

/// Whether the code (comments aside) names `path`, such as `ort::`.
fn names(content: &str, path: &str) -> bool {
    content.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| {
        line.match_indices(path).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
        })
    })
}

#[test]
fn each_crate_is_named_in_its_home_alone() {
    for (path, content) in sources() {
        let Some(room) = room(&path) else { continue };
        for (name, homes) in HOMES {
            let allowed = homes.contains(&room.as_str());
            assert!(allowed || !names(&content, &format!("{name}::")), "{} names `{name}`", path.display());
        }
    }
}

#[test]
fn arrows_between_rooms_run_one_way() {
    for (path, content) in sources() {
        let Some(room) = room(&path) else { continue };
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else { continue };
        for other in
            ["cli", "mcp", "job", "files", "evaluation", "engine", "model", "onnxruntime", "settings", "telemetry"]
        {
            let fine = room.trim_end_matches(".rs") == other || allowed.contains(&other);
            assert!(fine || !names(&content, &format!("crate::{other}")), "{} calls `{other}`", path.display());
        }
    }
}

#[test]
fn every_file_says_what_lives_in_it_and_stays_readable() {
    for (path, content) in sources() {
        assert!(content.starts_with("//! "), "{} has no module doc", path.display());
        let lines = content.lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines", path.display());
    }
}

#[test]
fn only_the_settings_read_the_environment() {
    for (path, content) in sources() {
        let allowed = room(&path).is_none_or(|room| room == "settings");
        assert!(allowed || !names(&content, "env::var"), "{}", path.display());
    }
}
