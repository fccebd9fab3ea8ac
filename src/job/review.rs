//! The rows of an output that deserve a look: those the model calls uncertain, or else those with the least confidence.

use std::collections::BinaryHeap;
use std::path::PathBuf;

use crate::error::Error;
use crate::files::{Extent, Reads, Source, Wanted};
use crate::job::FileJob;
use crate::job::names::{CONFIDENCE, CORRECTED_FROM, Names, PREDICTION, UNCERTAIN};
use crate::job::watch::{Progress, Watch};

/// So much of a text is shown.
const TEXT_CHARACTERS: usize = 300;

#[derive(Clone, Debug, PartialEq)]
pub struct ReviewRow {
    /// From 1 on, the header not counted.
    pub row: u64,
    pub text: String,
    pub prediction: String,
    pub confidence: Option<f64>,
}

#[derive(Clone, Debug)]
pub struct Review {
    pub output: PathBuf,
    /// The least certain first.
    pub rows: Vec<ReviewRow>,
    /// Rows of the kind that are left, those shown included.
    pub left: u64,
    /// Whether the model called them uncertain. Where it called none so, they are the least certain of all.
    pub uncertain: bool,
}

/// Ordered by confidence alone, so that a heap keeps the least certain ones.
#[derive(PartialEq)]
struct Candidate(ReviewRow);

impl Eq for Candidate {}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |row: &ReviewRow| row.confidence.unwrap_or(0.0);
        key(&self.0).total_cmp(&key(&other.0)).then(self.0.row.cmp(&other.0.row))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The least certain of the rows seen, and how many were seen.
struct Least {
    most: usize,
    seen: u64,
    heap: BinaryHeap<Candidate>,
}

impl Least {
    fn new(most: usize) -> Self {
        Self { most, seen: 0, heap: BinaryHeap::new() }
    }

    fn add(&mut self, row: ReviewRow) {
        self.seen += 1;
        self.heap.push(Candidate(row));
        if self.heap.len() > self.most {
            self.heap.pop();
        }
    }
}

pub(super) fn review(job: &FileJob, most: usize, watch: &mut Watch) -> Result<Review, Error> {
    let mut output = job.open_output()?;
    let names = names(&output)?;
    let text = text_column(job, &mut output, names)?;
    let prediction = output.column(&names.full(PREDICTION), Reads::Value)?;
    let others = [CONFIDENCE, UNCERTAIN, CORRECTED_FROM].map(|name| output.optional(&names.full(name)));
    let wanted: Vec<Wanted> = [text, prediction].into_iter().chain(others.iter().flatten().cloned()).collect();
    let (mut marked, mut all) = (Least::new(most), Least::new(most));
    let (mut row, mut any_marked) = (0, false);
    for chunk in output.rows(&wanted, Extent::Wanted)? {
        for cells in chunk?.rows.into_iter().map(|row| row.cells) {
            row += 1;
            let mut present = cells[2..].iter();
            let mut value = |number: usize| others[number].as_ref().and_then(|_| present.next()?.as_deref().ok());
            let confidence = value(0).and_then(|confidence| confidence.parse().ok());
            let uncertain = value(1) == Some("true");
            let corrected = value(2).is_some_and(|from| !from.is_empty());
            any_marked |= uncertain;
            let Some(prediction) = cells[1].as_deref().ok().filter(|prediction| !prediction.is_empty()) else {
                continue;
            };
            if corrected || !uncertain && (any_marked || confidence.is_none()) {
                continue;
            }
            let text = shortened(cells[0].as_deref().unwrap_or_default());
            let candidate = ReviewRow { row, text, prediction: prediction.to_owned(), confidence };
            if uncertain {
                marked.add(candidate);
            } else {
                all.add(candidate);
            }
        }
        watch.show(|| Progress { done: row, ..Progress::default() })?;
    }
    let kept = if any_marked { marked } else { all };
    let left = kept.seen;
    let rows = kept.heap.into_sorted_vec().into_iter().map(|candidate| candidate.0).collect();
    Ok(Review { output: output.path().to_owned(), rows, left, uncertain: any_marked })
}

pub(super) fn names(output: &Source) -> Result<Names, Error> {
    Names::of(output).ok_or_else(|| Error::NotAnOutput { path: output.path().to_owned() })
}

fn text_column(job: &FileJob, output: &mut Source, names: Names) -> Result<Wanted, Error> {
    if let Some(name) = &job.text_column {
        return Ok(output.column(name, Reads::Text)?);
    }
    let own = names.all();
    let except: Vec<&str> = own.iter().map(String::as_str).chain(job.label_column.as_deref()).collect();
    Ok(output.text_column(&except)?)
}

pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
