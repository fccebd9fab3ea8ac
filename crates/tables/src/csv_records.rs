//! Splits CSV into records and verbatim fields, and converts fields to and from text.
//!
//! Why not `csv::Reader`? With one unclosed quote it reads the rest of the file into memory as one
//! record, without an error. It also ends records at a carriage return inside a field, and drops
//! the spelling of fields, which distinguishes an empty string from a missing one.

use std::borrow::Cow;
use std::io::{self, Read};

use crate::error::Error;
use crate::limits::{BOM, MAX_COLUMNS, MAX_ROW_BYTES, too_long};

const READ_BYTES: usize = 1 << 16;

/// The fields of one record verbatim, quotes included.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Record {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Fields beyond the largest number of columns, which are in the last one.
    surplus: usize,
}

impl Record {
    pub(crate) fn push(&mut self, field: &[u8]) {
        self.bytes.extend_from_slice(field);
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, position: usize) -> Option<&[u8]> {
        let end = *self.ends.get(position)?;
        let start = if position == 0 { 0 } else { self.ends[position - 1] };
        Some(&self.bytes[start..end])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|position| self.get(position))
    }

    /// Returns the number of fields that the line has.
    pub(crate) fn width(&self) -> usize {
        self.len() + self.surplus
    }

    /// Returns about how much memory the record takes.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<usize>()
    }

    /// Splits a line. A quote is special only at the beginning of a field. Beyond the largest
    /// number of columns, the rest of the line is one field.
    fn split(line: &[u8], delimiter: u8) -> Self {
        let mut record = Self::default();
        let (mut state, mut start) = (State::FieldStart, 0);
        for (position, &byte) in line.iter().enumerate() {
            state = state.after(byte, delimiter);
            if state == State::FieldStart && record.len() < MAX_COLUMNS {
                record.push(&line[start..position]);
                start = position + 1;
            } else if state == State::FieldStart {
                record.surplus += 1;
            }
        }
        record.push(&line[start..]);
        record
    }

    /// Splits a line whose quotes are ordinary characters.
    fn split_unquoted(line: &[u8], delimiter: u8) -> Self {
        let mut record = Self::default();
        let fields = line.splitn(MAX_COLUMNS + 1, |byte| *byte == delimiter);
        fields.for_each(|field| record.push(&encode(field, delimiter)));
        record
    }
}

/// Returns the text of a verbatim field.
pub(crate) fn decode(field: &[u8]) -> Cow<'_, [u8]> {
    let Some(inside) = field.strip_prefix(b"\"") else { return Cow::Borrowed(field) };
    let (mut text, mut quoted, mut bytes) = (Vec::with_capacity(inside.len()), true, inside.iter().copied().peekable());
    while let Some(byte) = bytes.next() {
        if quoted && byte == b'"' && bytes.next_if_eq(&b'"').is_none() {
            quoted = false;
            continue;
        }
        text.push(byte);
    }
    Cow::Owned(text)
}

/// Returns a text as a field, in quotes if it needs them.
pub(crate) fn encode(text: &[u8], delimiter: u8) -> Cow<'_, [u8]> {
    if !text.iter().any(|&byte| byte == delimiter || matches!(byte, b'"' | b'\r' | b'\n')) {
        return Cow::Borrowed(text);
    }
    let mut field = vec![b'"'];
    for &byte in text {
        if byte == b'"' {
            field.push(byte);
        }
        field.push(byte);
    }
    field.push(b'"');
    Cow::Owned(field)
}

/// Returns a field for the output: verbatim if every reader understands it in the same way.
pub(crate) fn rewrite(field: &[u8], delimiter: u8) -> Cow<'_, [u8]> {
    let plain = |byte: &u8| *byte != delimiter && !matches!(byte, b'\r' | b'\n');
    if field.first() == Some(&b'"') || field.iter().all(plain) {
        Cow::Borrowed(field)
    } else {
        encode(field, delimiter)
    }
}

/// Reads the records of a stream, one of bounded length at a time.
pub(crate) struct Records {
    inner: Box<dyn Read + Send>,
    delimiter: u8,
    /// The last byte of a line.
    line_end: u8,
    /// Whether an empty line is a record with one empty field.
    pub(crate) has_empty_lines: bool,
    /// Bytes read but not yet returned, from `start` on.
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
}

/// The position of a scan within a record.
#[derive(Clone, Copy, PartialEq)]
enum State {
    FieldStart,
    Field,
    Quoted,
    /// After a quote inside a quoted field: the end of the field, or the first of two quotes.
    QuoteInQuoted,
}

impl State {
    fn after(self, byte: u8, delimiter: u8) -> Self {
        match (self, byte) {
            (Self::FieldStart | Self::QuoteInQuoted, b'"') => Self::Quoted,
            (Self::Quoted, b'"') => Self::QuoteInQuoted,
            (Self::Quoted, _) => Self::Quoted,
            (_, byte) if byte == delimiter => Self::FieldStart,
            _ => Self::Field,
        }
    }
}

/// The outcome of a scan from `start`.
enum Found {
    /// A record of this length, its line end included.
    Record(usize),
    /// A quote that is not closed before the end of the file, or within the longest row.
    Unclosed,
    TooLong,
    Nothing,
}

impl Records {
    /// Reads the records, after a byte order mark if there is one. Lines end with `line_end`, which
    /// is a line feed (with or without a carriage return before it) or a carriage return.
    pub(crate) fn new(inner: Box<dyn Read + Send>, delimiter: u8, line_end: u8) -> io::Result<Self> {
        let (has_empty_lines, buffer) = (false, Vec::new());
        let mut records = Self { inner, delimiter, line_end, has_empty_lines, buffer, start: 0, ended: false };
        while records.buffer.len() < BOM.len() && records.fill()? {}
        if records.buffer.starts_with(BOM) {
            records.start = BOM.len();
        }
        Ok(records)
    }

    /// Returns the next record and what is wrong with it.
    pub(crate) fn next(&mut self) -> io::Result<Option<(Record, Option<Error>)>> {
        loop {
            let (length, problem) = match self.scan()? {
                Found::Nothing => return Ok(None),
                Found::Record(length) => (length, None),
                Found::Unclosed => {
                    // Only the line with the opening quote is rejected. The lines after it may be
                    // valid.
                    let rest = &self.buffer[self.start..];
                    let end = rest.iter().position(|byte| *byte == self.line_end);
                    let found = "opens a quote that is never closed".to_owned();
                    let expected = "a second quote, or none".to_owned();
                    (end.map_or(rest.len(), |end| end + 1), Some(Error::BadRow { found, expected }))
                }
                Found::TooLong => {
                    let problem = too_long(self.skip_line()?);
                    return Ok(Some((Record::default(), Some(problem))));
                }
            };
            let line = &self.buffer[self.start..self.start + length];
            self.start += length;
            let line = line.strip_suffix(&[self.line_end]).unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() || self.has_empty_lines {
                let split = if problem.is_some() { Record::split_unquoted } else { Record::split };
                return Ok(Some((split(line, self.delimiter), problem)));
            }
        }
    }

    fn scan(&mut self) -> io::Result<Found> {
        let mut state = State::FieldStart;
        let mut length = 0;
        // Text after a closing quote is accepted within one line. If the field has several lines,
        // the quote was more likely the opening one of a later row.
        let (mut several_lines, mut text_after_quote) = (false, false);
        loop {
            while let Some(&byte) = self.buffer.get(self.start + length) {
                length += 1;
                if byte == self.line_end && state != State::Quoted {
                    let unclosed = several_lines && text_after_quote;
                    return Ok(if unclosed { Found::Unclosed } else { Found::Record(length) });
                }
                several_lines |= byte == self.line_end;
                let next = state.after(byte, self.delimiter);
                text_after_quote |= state == State::QuoteInQuoted && next == State::Field && byte != b'\r';
                state = next;
                if length > MAX_ROW_BYTES {
                    return Ok(if state == State::Quoted { Found::Unclosed } else { Found::TooLong });
                }
            }
            if !self.fill()? {
                return Ok(match state {
                    _ if length == 0 => Found::Nothing,
                    State::Quoted => Found::Unclosed,
                    _ => Found::Record(length),
                });
            }
        }
    }

    /// Reads more bytes; returns false at the end.
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

    /// Drops the rest of the line; returns its length.
    fn skip_line(&mut self) -> io::Result<u64> {
        let mut bytes = 0;
        loop {
            let rest = &self.buffer[self.start..];
            if let Some(end) = rest.iter().position(|byte| *byte == self.line_end) {
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
}

#[cfg(test)]
mod tests;
