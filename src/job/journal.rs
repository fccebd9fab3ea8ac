//! The journal of a run: a line for every finished row, in order, from which the output is made and an interrupted run
//! goes on. It holds digests and results, never a text.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::engine::Answer;
use crate::error::Error;
use crate::files::{Cell, Line, Lines};
use crate::job::{FileJob, output};
use crate::prediction::{ModelInfo, rounded};

/// Rows that a kill may cost: what is written goes to the system after so many.
const FLUSH_ROWS: u64 = 64;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    journal: u32,
    /// Everything that decides an answer beside the text.
    settings: String,
}

/// What became of one row.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(rename = "d")]
    pub digest: String,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<String>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub entities: Option<Vec<EntityAt>>,
    #[serde(rename = "u", default, skip_serializing_if = "std::ops::Not::not")]
    pub uncertain: bool,
    #[serde(rename = "t", default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A tagger's find, by place alone.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct EntityAt {
    pub label: String,
    pub start: u32,
    pub end: u32,
    pub confidence: f64,
}

impl Record {
    pub(super) fn new(digest: String, outcome: Result<Answer, Error>) -> Self {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(error) => return Self { digest, error: Some(error.to_string()), ..Self::default() },
        };
        let verdict = answer.verdict();
        let entity = |(entity, _): (crate::prediction::Entity, String)| EntityAt {
            label: entity.label.to_string(),
            start: entity.start,
            end: entity.end,
            confidence: rounded(entity.score),
        };
        Self {
            digest,
            prediction: Some(verdict.prediction),
            confidence: verdict.confidence.map(rounded),
            value: verdict.value.map(rounded),
            labels: verdict.labels.map(|labels| labels.into_iter().map(|(label, _)| label.to_string()).collect()),
            entities: verdict.entities.map(|entities| entities.into_iter().map(entity).collect()),
            uncertain: verdict.uncertain,
            truncated: verdict.truncated.is_some(),
            error: None,
        }
    }
}

/// What a row's text is known by; 96 bits of SHA-256, since nothing but an accident is to be noticed.
pub(super) fn digest(cell: &Result<String, impl std::fmt::Display>) -> String {
    let digest = match cell {
        Ok(text) => Sha256::digest(text),
        Err(error) => Sha256::digest(error.to_string()),
    };
    hex(&digest[..12])
}

pub(super) struct Journal {
    file: BufWriter<File>,
    path: PathBuf,
    /// Where the first record begins.
    start: u64,
    rows: u64,
    /// Columns that at least one row has something in.
    occurring: BTreeSet<&'static str>,
}

impl Journal {
    /// Starts a journal, or finds out how far an earlier run came with this file.
    ///
    /// # Errors
    /// `ResumeOther` where that run was another one, `NotWritten`.
    pub(super) fn open(
        journal: crate::files::Journal,
        model: &ModelInfo,
        job: &FileJob,
        column: &str,
        output: &Path,
    ) -> Result<Self, Error> {
        let header = Header { journal: 1, settings: settings(model, job, column) };
        let mut file = journal.file;
        let failed = |error: io::Error| Error::NotWritten { path: output.to_owned(), message: error.to_string() };
        let line = format!("{}\n", serde_json::to_string(&header).map_err(|error| failed(error.into()))?);
        let (mut start, mut end, mut rows) = (line.len() as u64, line.len() as u64, 0);
        let left = if journal.begun { complete_lines(&mut file).map_err(failed)? } else { Vec::new() };
        match left.first() {
            // Killed before it had written anything.
            None => {
                file.set_len(0)
                    .and_then(|()| file.rewind())
                    .and_then(|()| file.write_all(line.as_bytes()))
                    .map_err(failed)?;
            }
            Some(&first) => {
                file.rewind().map_err(failed)?;
                let mut found = vec![0; first as usize];
                file.read_exact(&mut found).map_err(failed)?;
                if serde_json::from_slice::<Header>(&found).ok() != Some(header) {
                    return Err(Error::ResumeOther { path: output.to_owned() });
                }
                (start, rows) = (first, left.len() as u64 - 1);
                end = *left.last().unwrap_or(&first);
                file.set_len(end).map_err(failed)?;
            }
        }
        file.seek(SeekFrom::Start(end)).map_err(failed)?;
        Ok(Self { file: BufWriter::new(file), path: output.to_owned(), start, rows, occurring: BTreeSet::new() })
    }

    /// Rows that are finished.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes notice of what a record has, of this run or of one before it.
    pub(super) fn note(&mut self, record: &Record) {
        self.occurring
            .extend(output::COLUMNS.into_iter().filter(|column| !output::value(record, column, "").is_null()));
    }

    pub(super) fn occurs(&self, column: &str) -> bool {
        self.occurring.contains(column)
    }

    pub(super) fn append(&mut self, record: &Record) -> Result<(), Error> {
        self.rows += 1;
        self.note(record);
        let written = serde_json::to_writer(&mut self.file, record).map_err(io::Error::from);
        written
            .and_then(|()| self.file.write_all(b"\n"))
            .and_then(|()| if self.rows.is_multiple_of(FLUSH_ROWS) { self.file.flush() } else { Ok(()) })
            .map_err(|error| Error::NotWritten { path: self.path.clone(), message: error.to_string() })
    }

    /// The records from the first on, as many as there are; then more can be appended.
    pub(super) fn records(&mut self) -> Result<Records, Error> {
        let failed = |error: io::Error| Error::NotWritten { path: self.path.clone(), message: error.to_string() };
        self.file.flush().map_err(failed)?;
        let path = self.path.clone();
        let inner = At { file: self.file.get_ref().try_clone().map_err(failed)?, position: self.start };
        Ok(Records { lines: Lines::new(BufReader::new(inner)), path, row: 0 })
    }
}

/// Reads from a position of its own, whoever else writes into the file behind it.
struct At {
    file: File,
    position: u64,
}

impl Read for At {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        // Two handles of one file have one position between them; the writer's is put back.
        let before = self.file.stream_position()?;
        self.file.seek(SeekFrom::Start(self.position))?;
        let count = self.file.read(bytes);
        self.file.seek(SeekFrom::Start(before))?;
        self.position += count.as_ref().map_or(0, |count| *count as u64);
        count
    }
}

pub(super) struct Records {
    lines: Lines<BufReader<At>>,
    path: PathBuf,
    row: u64,
}

impl Records {
    /// The next row's record, which must be one of this text.
    pub(super) fn next(&mut self, cell: &Cell) -> Result<Record, Error> {
        self.row += 1;
        let record = match self.lines.next() {
            Some(Ok(Line::Whole(line))) => serde_json::from_slice::<Record>(&line).ok(),
            _ => None,
        };
        record
            .filter(|record| record.digest == digest(cell))
            .ok_or_else(|| Error::FileChanged { path: self.path.clone(), row: self.row })
    }
}

/// Where each line ends that is whole and can be read; what is behind the last of them was being written when the run ended.
fn complete_lines(file: &mut File) -> io::Result<Vec<u64>> {
    file.rewind()?;
    let length = file.metadata()?.len();
    let (mut ends, mut at) = (Vec::new(), 0);
    for line in Lines::new(BufReader::new(file)) {
        let Line::Whole(line) = line? else { break };
        at += line.len() as u64 + 1;
        let sound = if ends.is_empty() {
            serde_json::from_slice::<Header>(&line).is_ok()
        } else {
            serde_json::from_slice::<Record>(&line).is_ok()
        };
        if at > length || !sound {
            break;
        }
        ends.push(at);
    }
    Ok(ends)
}

/// A digest of all that a run's answers depend on beside the texts.
fn settings(model: &ModelInfo, job: &FileJob, column: &str) -> String {
    let said = (hex(&model.digest), column, &job.text_pair, &job.labels, model.threshold);
    hex(&Sha256::digest(format!("{said:?}"))[..12])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn a_journal_that_was_cut_is_read_to_its_last_whole_line(
            errors in prop::collection::vec(any::<String>(), 0..6),
            cut in any::<prop::sample::Index>(),
            rest in any::<Vec<u8>>(),
        ) {
            let mut lines = vec![serde_json::to_string(&Header { journal: 1, settings: "s".into() }).unwrap()];
            for error in errors {
                let record = Record { digest: "d".into(), error: Some(error), ..Record::default() };
                lines.push(serde_json::to_string(&record).unwrap());
            }
            let whole = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            let cut = cut.index(whole.len() + 1);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&whole.as_bytes()[..cut]).unwrap();
            let ends = |text: &str| text.match_indices('\n').map(|(at, _)| at as u64 + 1).collect::<Vec<_>>();
            prop_assert_eq!(complete_lines(&mut file).unwrap(), ends(&whole[..whole.floor_char_boundary(cut)]));
            // Whatever a failing disk left there, only whole records count.
            file.seek(SeekFrom::End(0)).unwrap();
            file.write_all(&rest).unwrap();
            for end in complete_lines(&mut file).unwrap() {
                prop_assert_eq!(end <= file.metadata().unwrap().len(), true);
            }
        }
    }
}
