//! The line for CLAUDE.md, which Claude reads in every session.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::{Client, RegisterArgs, Scope};
use crate::commands::{Outcome, print_lines};

const RULE: &str = "- Classify, label, tag or score texts with the user's local model: \
    `local_model_predict`, and `local_model_predict_file` for files, by path and without reading their rows.";

pub(super) fn run(arguments: &RegisterArgs) -> anyhow::Result<Outcome> {
    if arguments.client != Client::ClaudeCode {
        return Err(anyhow!(
            "`--rule` is for Claude Code; paste the line that it prints into the rules of other clients"
        ));
    }
    let path = place(arguments.scope)?;
    let shown = path.display();
    if !arguments.apply {
        let what = if arguments.remove { "remove from" } else { "add to" };
        print_lines(&format!("{what} {shown}:\n\n{RULE}"))?;
        return Ok(Outcome::Done);
    }
    let changed = if arguments.remove { remove(&path)? } else { add(&path)? };
    let said = match (arguments.remove, changed) {
        (false, true) => "added to",
        (false, false) => "is already in",
        (true, true) => "removed from",
        (true, false) => "is not in",
    };
    print_lines(&format!("the rule {said} {shown}"))?;
    Ok(Outcome::Done)
}

/// Returns the file that Claude Code reads for a scope.
fn place(scope: Scope) -> anyhow::Result<PathBuf> {
    let here = |name| Ok(std::env::current_dir().context("cannot determine the working directory")?.join(name));
    match scope {
        Scope::Local => here("CLAUDE.local.md"),
        Scope::Project => here("CLAUDE.md"),
        Scope::User => {
            let home = dirs::home_dir().context("cannot determine the home directory")?;
            Ok(home.join(".claude").join("CLAUDE.md"))
        }
    }
}

/// Adds the rule to a file, and returns whether it was missing.
fn add(path: &Path) -> anyhow::Result<bool> {
    let content = read(path)?;
    if content.lines().any(|line| line == RULE) {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    }
    let end = if content.is_empty() || content.ends_with('\n') { "" } else { "\n" };
    let append = |mut file: File| file.write_all(format!("{end}{RULE}\n").as_bytes());
    let appended = File::options().create(true).append(true).open(path).and_then(append);
    appended.with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(true)
}

/// Removes the rule from a file, and returns whether it was there.
fn remove(path: &Path) -> anyhow::Result<bool> {
    let content = read(path)?;
    let rest: String = content.split_inclusive('\n').filter(|line| line.trim_end() != RULE).collect();
    let changed = rest.len() < content.len();
    if changed {
        fs::write(path, &rest).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(changed)
}

fn read(path: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        read => read.with_context(|| format!("cannot read `{}`", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_added_once_and_removed_without_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/CLAUDE.md");
        assert!(!remove(&path).unwrap() && add(&path).unwrap() && !add(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{RULE}\n"));
        fs::write(&path, "# Mine\n\n- tabs").unwrap();
        assert!(add(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("# Mine\n\n- tabs\n{RULE}\n"));
        assert!(remove(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "# Mine\n\n- tabs\n");
        assert!(RULE.lines().count() == 1 && RULE.len() < 250, "{RULE}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("CLAUDE.md");
        fs::write(&path, b"\xff").unwrap();
        assert!(add(&path).is_err() && remove(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"\xff");
    }
}
