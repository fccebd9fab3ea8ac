//! Records of CSV, one bounded record at a time. The quoting of a field is `csv_core`'s business; here is only where a
//! record ends, and how to go on behind one that does not.

use std::io::{self, Read};

use csv_core::{ReadRecordResult, ReaderBuilder};

use crate::Error;
use crate::MAX_ROW_BYTES;
use crate::lines::too_long;

const READ_BYTES: usize = 1 << 16;

/// One record's fields, and what is wrong with it, if anything is.
pub(crate) struct Record {
    pub fields: csv::ByteRecord,
    pub problem: Option<Error>,
}

/// Records of a stream.
///
/// Why not `csv::Reader`? It reads a record as far as it goes: one quote that is never closed swallows the rest of the
/// file, without a word and into memory.
pub(crate) struct Records {
    inner: Box<dyn Read + Send>,
    delimiter: u8,
    parser: csv_core::Reader,
    /// Bytes read and not yet handed out, from `start` on.
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
    output: Vec<u8>,
    ends: Vec<usize>,
}

/// Where in a record the scan stands.
#[derive(Clone, Copy, PartialEq)]
enum At {
    FieldStart,
    Field,
    Quoted,
    /// Behind a quote inside a quoted field: the end of the field, or the first of two.
    QuoteInQuoted,
}

/// What the scan found at `start`.
enum Found {
    /// So many bytes, the line's end included.
    Record(usize),
    /// A quote that is not closed before the file ends, or within the longest row.
    Unclosed,
    TooLong,
    Nothing,
}

impl Records {
    pub(crate) fn new(inner: Box<dyn Read + Send>, delimiter: u8) -> Self {
        Self {
            inner,
            delimiter,
            parser: ReaderBuilder::new().delimiter(delimiter).build(),
            buffer: Vec::new(),
            start: 0,
            ended: false,
            output: Vec::new(),
            ends: vec![0; 64],
        }
    }

    /// The next record that is not an empty line.
    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            let (length, problem) = match self.scan()? {
                Found::Nothing => return Ok(None),
                Found::Record(length) => (length, None),
                Found::Unclosed => {
                    // Only the line where the quote is opened is given up; the rest may be fine.
                    let rest = &self.buffer[self.start..];
                    let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
                    let found = "opens a quote that is never closed".to_owned();
                    (length, Some(Error::BadRow { found, expected: "a second quote, or none".into() }))
                }
                Found::TooLong => {
                    let bytes = self.pass_over()?;
                    let problem = Some(too_long(bytes));
                    return Ok(Some(Record { fields: csv::ByteRecord::new(), problem }));
                }
            };
            let line = self.start..self.start + length;
            self.start += length;
            let fields =
                if problem.is_some() { unquoted(&self.buffer[line], self.delimiter) } else { self.fields(line) };
            if !fields.is_empty() {
                return Ok(Some(Record { fields, problem }));
            }
        }
    }

    fn scan(&mut self) -> io::Result<Found> {
        let mut at = At::FieldStart;
        let mut length = 0;
        // Text behind a closing quote is let pass on one line. Where the field went over several, the quote was more
        // likely the opening one of a later row.
        let (mut several_lines, mut text_behind_quote) = (false, false);
        loop {
            while let Some(&byte) = self.buffer.get(self.start + length) {
                length += 1;
                several_lines |= at == At::Quoted && byte == b'\n';
                text_behind_quote |=
                    at == At::QuoteInQuoted && !matches!(byte, b'"' | b'\r' | b'\n') && byte != self.delimiter;
                at = match (at, byte) {
                    (At::FieldStart, b'"') | (At::QuoteInQuoted, b'"') => At::Quoted,
                    (At::Quoted, b'"') => At::QuoteInQuoted,
                    (At::Quoted, _) => At::Quoted,
                    (_, b'\n') if several_lines && text_behind_quote => return Ok(Found::Unclosed),
                    (_, b'\n') => return Ok(Found::Record(length)),
                    (_, byte) if byte == self.delimiter => At::FieldStart,
                    _ => At::Field,
                };
                if length > MAX_ROW_BYTES {
                    return Ok(if at == At::Quoted { Found::Unclosed } else { Found::TooLong });
                }
            }
            if !self.fill()? {
                return Ok(match at {
                    _ if length == 0 => Found::Nothing,
                    At::Quoted => Found::Unclosed,
                    _ => Found::Record(length),
                });
            }
        }
    }

    /// CellKind on; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let before = self.buffer.len();
        self.buffer.resize(before + READ_BYTES, 0);
        let outcome = loop {
            match self.inner.read(&mut self.buffer[before..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome,
            }
        };
        self.buffer.truncate(before + outcome.as_ref().copied().unwrap_or(0));
        self.ended = outcome? == 0;
        Ok(!self.ended)
    }

    /// Drops everything up to the next line; returns how much that was.
    fn pass_over(&mut self) -> io::Result<u64> {
        let mut bytes = 0;
        loop {
            let rest = &self.buffer[self.start..];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                self.start += end + 1;
                return Ok(bytes + end as u64);
            }
            bytes += rest.len() as u64;
            self.buffer.clear();
            self.start = 0;
            if !self.fill()? {
                return Ok(bytes);
            }
        }
    }

    fn fields(&mut self, line: std::ops::Range<usize>) -> csv::ByteRecord {
        self.parser.reset();
        self.output.resize(line.len() + 1, 0);
        let (mut read, mut written, mut count) = (line.start, 0, 0);
        loop {
            let input = &self.buffer[read..line.end];
            let (result, taken, put, ended) =
                self.parser.read_record(input, &mut self.output[written..], &mut self.ends[count..]);
            (read, written, count) = (read + taken, written + put, count + ended);
            match result {
                // All has been given; an empty input then says that no more comes.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::OutputFull => self.output.resize(2 * self.output.len(), 0),
                ReadRecordResult::Record | ReadRecordResult::End => break,
            }
        }
        let mut fields = csv::ByteRecord::with_capacity(written, count);
        let mut from = 0;
        for &end in &self.ends[..count] {
            fields.push_field(&self.output[from..end]);
            from = end;
        }
        fields
    }
}

/// Fields of a line whose quotes mean nothing.
fn unquoted(line: &[u8], delimiter: u8) -> csv::ByteRecord {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.split(|byte| *byte == delimiter).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    #[track_caller]
    fn records(bytes: &[u8]) -> Vec<(Vec<String>, bool)> {
        let mut records = Records::new(Box::new(io::Cursor::new(bytes.to_vec())), b',');
        let mut all = Vec::new();
        while let Some(record) = records.next().unwrap() {
            let fields = record.fields.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
            all.push((fields, record.problem.is_some()));
        }
        all
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &[(&[&str], bool)]) {
        let expected: Vec<(Vec<String>, bool)> =
            expected.iter().map(|(fields, bad)| (fields.iter().map(ToString::to_string).collect(), *bad)).collect();
        assert_eq!(records(bytes), expected);
    }

    #[test]
    fn quotes_hold_delimiters_line_ends_and_quotes() {
        check(b"a,\"b\nc,\"\"d\"\"\"\r\ne,f", &[(&["a", "b\nc,\"d\""], false), (&["e", "f"], false)]);
        check(b"say \"hi\",5\"\n", &[(&["say \"hi\"", "5\""], false)]);
        check(b"\n\r\na\n\n\"\"\n", &[(&["a"], false), (&[""], false)]);
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_its_own_line_only() {
        check(
            b"a,b\n1,\"open\n2,fine\n3,\"also\nfine\"\n",
            &[(&["a", "b"], false), (&["1", "\"open"], true), (&["2", "fine"], false), (&["3", "also\nfine"], false)],
        );
        check(b"a,b\n1,\"open\n2,fine\n", &[(&["a", "b"], false), (&["1", "\"open"], true), (&["2", "fine"], false)]);
    }

    #[test]
    fn records_of_every_width_and_length_come_out_whole() {
        let wide = vec!["x"; 500].join(",");
        let long = "y".repeat(200_000);
        let found = records(format!("{wide}\n{long},z\n").as_bytes());
        assert_eq!(found[0].0.len(), 500);
        assert_eq!(found[1].0, [long.as_str(), "z"]);
    }

    #[test]
    fn a_record_over_the_limit_is_passed_over() {
        let mut bytes = vec![b'x'; MAX_ROW_BYTES + 10];
        bytes.extend_from_slice(b"\nafter,it\n");
        let found = records(&bytes);
        assert!(found[0].1);
        assert_eq!(found[1], (vec!["after".into(), "it".into()], false));
    }

    /// Cells with what matters to a reader of CSV more often than chance would have it.
    fn cell() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![prop::sample::select(b"\"\",\n\r ab".to_vec()), any::<u8>()], 0..12)
    }

    proptest! {
        #[test]
        fn what_the_csv_crate_writes_is_read_as_it_was(rows in prop::collection::vec(prop::collection::vec(cell(), 1..5), 0..8)) {
            let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            rows.iter().for_each(|row| writer.write_record(row).unwrap());
            let written = writer.into_inner().unwrap();
            let mut records = Records::new(Box::new(io::Cursor::new(written)), b',');
            for row in rows {
                let record = records.next().unwrap().unwrap();
                prop_assert!(record.problem.is_none());
                prop_assert_eq!(record.fields.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), row);
            }
            prop_assert!(records.next().unwrap().is_none());
        }

        #[test]
        fn any_bytes_come_to_an_end_and_sound_ones_are_read_as_the_csv_crate_reads_them(bytes in prop::collection::vec(cell(), 0..12)) {
            let bytes = bytes.concat();
            let mut records = Records::new(Box::new(io::Cursor::new(bytes.clone())), b',');
            let mut found = Vec::new();
            let mut sound = true;
            while let Some(record) = records.next().unwrap() {
                sound &= record.problem.is_none();
                found.push(record.fields);
                prop_assert!(found.len() <= bytes.len());
            }
            let mut reader = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(&bytes[..]);
            let expected: Vec<_> = reader.byte_records().map(Result::unwrap).collect();
            // A lone carriage return ends a row there, and stands for itself here.
            if sound && !bytes.contains(&b'\r') {
                prop_assert_eq!(found, expected);
            }
        }
    }
}
