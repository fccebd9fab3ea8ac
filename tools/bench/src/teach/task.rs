//! A task: labelled texts to teach from and to test on, and the draws of labels.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use learning::Row;
use serde::{Deserialize, Serialize};

use super::encode::Encoders;

/// One line of a task's file.
#[derive(Deserialize, Serialize)]
pub(super) struct Line {
    pub text: String,
    #[serde(default)]
    pub label: String,
}

/// A task with its vectors.
pub(super) struct Task {
    pub name: String,
    pub labels: Vec<String>,
    /// The rows that may be labelled.
    pub pool: Vec<Row>,
    /// Index into `labels` for each row of the pool.
    pub gold: Vec<usize>,
    pub test: Vec<Row>,
    pub test_gold: Vec<usize>,
    /// Rows of no label; may be empty.
    pub outside: Vec<Row>,
    /// Vectors of the labels' names.
    pub names: Vec<Row>,
    /// The texts of the pool and of the test, for peers.
    pub lines: [Vec<Line>; 2],
}

impl Task {
    /// Reads `PATH/train.jsonl` and `PATH/test.jsonl`, or `PATH_train.jsonl` and `PATH_test.jsonl`.
    /// Rows of no label may be in a third file, `outside`.
    pub(super) fn read(path: &Path, limits: (usize, usize), encoders: &Encoders) -> anyhow::Result<Self> {
        let name = path.file_name().context("a task needs a name")?.to_string_lossy().into_owned();
        let file = |part: &str| -> PathBuf {
            if path.is_dir() { path.join(part) } else { path.with_file_name(format!("{name}_{part}")) }
                .with_extension("jsonl")
        };
        let (train, test) = (read(&file("train"), limits.0)?, read(&file("test"), limits.1)?);
        let outside = if file("outside").exists() { read(&file("outside"), usize::MAX)? } else { Vec::new() };
        let mut labels: Vec<String> = train.iter().map(|line| line.label.clone()).collect();
        labels.sort();
        labels.dedup();
        let gold = |lines: &[Line]| -> anyhow::Result<Vec<usize>> {
            let find = |line: &Line| labels.binary_search(&line.label).ok();
            lines
                .iter()
                .map(|line| find(line).with_context(|| format!("{name}: {} is not taught", line.label)))
                .collect()
        };
        let (train_gold, test_gold) = (gold(&train)?, gold(&test)?);
        let rows = |lines: &[Line]| encoders.rows(&lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>());
        let spoken: Vec<String> = labels.iter().map(|label| label.replace(['_', '-'], " ")).collect();
        Ok(Self {
            pool: rows(&train)?,
            gold: train_gold,
            test: rows(&test)?,
            test_gold,
            outside: rows(&outside)?,
            names: encoders.rows(&spoken.iter().map(String::as_str).collect::<Vec<_>>())?,
            name,
            labels,
            lines: [train, test],
        })
    }

    /// Draws rows of the pool to label: `count` at random, or `count` of each label.
    pub(super) fn draw(&self, count: usize, per_label: bool, seed: u64) -> Vec<(usize, usize)> {
        let mut order: Vec<usize> = (0..self.pool.len()).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut order);
        let mut taken = vec![0; self.labels.len()];
        let labelled = order.into_iter().map(|row| (row, self.gold[row]));
        if !per_label {
            return labelled.take(count).collect();
        }
        let wanted = |&(_, label): &(usize, usize)| {
            taken[label] += 1;
            taken[label] <= count
        };
        labelled.filter(wanted).collect()
    }
}

/// Reads at most `limit` lines, drawn at random from longer files.
fn read(path: &Path, limit: usize) -> anyhow::Result<Vec<Line>> {
    let content = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut lines = content
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<Line>, _>>()
        .with_context(|| format!("{} is not JSON lines", path.display()))?;
    fastrand::Rng::with_seed(0).shuffle(&mut lines);
    lines.truncate(limit);
    Ok(lines)
}
