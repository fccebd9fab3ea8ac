//! The journal of a run: one line for every finished row, in order. The output is made from it, and
//! an interrupted run is resumed from it. It holds digests and results, but no texts.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::record::Record;
use tables::Cell;

/// What a killed process may lose: the journal is flushed after this many rows, or with the first
/// row after this time.
const FLUSH_ROWS: u64 = 64;
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Journal {
    file: BufWriter<File>,
    /// Path of the output, for errors.
    path: PathBuf,
    /// Where the first record begins.
    start: u64,
    rows: u64,
    flushed: Instant,
    /// Whether the file was read and its position is not the end.
    was_read: bool,
}

impl Journal {
    /// Starts a journal after the first `start` bytes of a file, or takes over that of an earlier
    /// run.
    ///
    /// `fingerprint` identifies everything that determines an answer besides the text. An
    /// incomplete last line is cut off.
    ///
    /// # Errors
    /// `ResumeOther` if the file is the journal of another run or not a journal; `NotWritten`.
    pub(crate) fn open(mut file: File, start: u64, fingerprint: &str, output: &Path) -> Result<Self, Error> {
        let failed = |error: io::Error| not_written(output, &error);
        let header = format!("{{\"journal\":2,\"settings\":\"{fingerprint}\"}}\n");
        let (rows, end) = whole_records(&mut file, start, &header)
            .map_err(failed)?
            .ok_or_else(|| Error::ResumeOther { path: output.to_owned() })?;
        file.set_len(end).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        if end == start {
            file.write_all(header.as_bytes()).map_err(failed)?;
        }
        let start = start + header.len() as u64;
        Ok(Self {
            file: BufWriter::new(file),
            path: output.to_owned(),
            start,
            rows,
            flushed: Instant::now(),
            was_read: false,
        })
    }

    /// Returns the number of finished rows.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds the record of the next row.
    pub(crate) fn append(&mut self, record: &Record) -> Result<(), Error> {
        self.write(record).map_err(|error| not_written(&self.path, &error))
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        if std::mem::take(&mut self.was_read) {
            self.file.seek(SeekFrom::End(0))?;
        }
        serde_json::to_writer(&mut self.file, record)?;
        self.file.write_all(b"\n")?;
        self.rows += 1;
        if self.rows.is_multiple_of(FLUSH_ROWS) || self.flushed.elapsed() >= FLUSH_INTERVAL {
            self.file.flush()?;
            self.flushed = Instant::now();
        }
        Ok(())
    }

    /// Reads the records from the first one on.
    pub(crate) fn records(&mut self) -> Result<Records<'_>, Error> {
        self.was_read = true;
        self.file.seek(SeekFrom::Start(self.start)).map_err(|error| not_written(&self.path, &error))?;
        Ok(Records { file: BufReader::new(self.file.get_mut()), line: Vec::new() })
    }
}

pub(crate) struct Records<'a> {
    file: BufReader<&'a mut File>,
    line: Vec<u8>,
}

impl Records<'_> {
    /// Returns the next row's record; `None` if it was made from another text.
    pub(crate) fn next(&mut self, cells: &[Cell]) -> Option<Record> {
        self.line.clear();
        self.file.read_until(b'\n', &mut self.line).ok()?;
        let record: Record = serde_json::from_slice(&self.line).ok()?;
        record.is_of(cells).then_some(record)
    }
}

/// Counts the complete records and returns the byte position after them: `start` for a file that is
/// empty or has only part of the header, `None` for one that begins otherwise.
fn whole_records(file: &mut File, start: u64, header: &str) -> io::Result<Option<(u64, u64)>> {
    file.seek(SeekFrom::Start(start))?;
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    file.by_ref().take(header.len() as u64).read_to_end(&mut line)?;
    if line != header.as_bytes() {
        return Ok(header.as_bytes().starts_with(&line).then_some((0, start)));
    }
    let (mut rows, mut end) = (0, start + line.len() as u64);
    loop {
        line.clear();
        file.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') || serde_json::from_slice::<Record>(&line).is_err() {
            return Ok(Some((rows, end)));
        }
        rows += 1;
        end += line.len() as u64;
    }
}

fn not_written(path: &Path, error: &io::Error) -> Error {
    tables::Error::NotWritten { path: path.to_owned(), message: error.to_string() }.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::*;
    use crate::record::tests;

    fn record(text: &str) -> Record {
        tests::record(text, Err("failed".into()))
    }

    fn open(file: &File, fingerprint: &str) -> Result<Journal, Error> {
        Journal::open(file.try_clone().unwrap(), 0, fingerprint, Path::new("out.csv"))
    }

    proptest! {
        #[test]
        fn a_journal_that_was_cut_is_resumed_behind_its_last_whole_line(
            texts in prop::collection::vec(any::<String>(), 0..6),
            cut in any::<prop::sample::Index>(),
            garbage in "[^\n\u{0}-\u{20}\"\\{0-9]{0,20}",
        ) {
            let mut file = tempfile::tempfile().unwrap();
            let mut journal = open(&file, "f").unwrap();
            texts.iter().for_each(|text| journal.append(&record(text)).unwrap());
            drop(journal);
            let length = file.metadata().unwrap().len();
            let cut = cut.index(length as usize + 1) as u64;
            file.set_len(cut).unwrap();
            // A failing disk may leave arbitrary bytes after the cut.
            file.seek(SeekFrom::End(0)).unwrap();
            if cut > 30 {
                file.write_all(garbage.as_bytes()).unwrap();
            }
            if let Ok(mut journal) = open(&file, "f") {
                let rows = journal.rows() as usize;
                let mut records = journal.records().unwrap();
                for text in &texts[..rows] {
                    prop_assert_eq!(records.next(&[Ok(text.clone())]), Some(record(text)));
                }
                texts[rows..].iter().for_each(|text| journal.append(&record(text)).unwrap());
                prop_assert_eq!(journal.rows() as usize, texts.len());
                drop(journal);
                file.rewind().unwrap();
                let lines = BufReader::new(&file).lines().count();
                prop_assert_eq!(lines, texts.len() + 1);
            }
        }
    }

    #[test]
    fn the_journal_of_another_run_and_a_file_of_the_user_are_not_touched() {
        for content in ["my notes\n", "{\"journal\":2,\"settings\":\"other\"}\n"] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(content.as_bytes()).unwrap();
            assert!(matches!(open(&file, "mine"), Err(Error::ResumeOther { .. })));
            let mut kept = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut kept).unwrap();
            assert_eq!(kept, content);
        }
    }

    #[test]
    fn a_slow_run_writes_every_row_to_the_file() {
        let file = tempfile::tempfile().unwrap();
        let mut journal = open(&file, "f").unwrap();
        let bytes = || file.metadata().unwrap().len();
        let before = bytes();
        journal.append(&record("one")).unwrap();
        assert_eq!(bytes(), before);
        journal.flushed = Instant::now().checked_sub(FLUSH_INTERVAL).unwrap();
        journal.append(&record("two")).unwrap();
        assert!(bytes() > before);
    }

    #[test]
    fn a_record_of_another_text_is_not_returned() {
        let file = tempfile::tempfile().unwrap();
        let mut journal = open(&file, "f").unwrap();
        journal.append(&record("one")).unwrap();
        assert_eq!(journal.records().unwrap().next(&[Ok("two".into())]), None);
        assert_eq!(journal.records().unwrap().next(&[Ok("one".into())]), Some(record("one")));
    }
}
