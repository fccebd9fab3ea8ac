//! Detects the format of a file by its first bytes, and by its name if they are ambiguous.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek};
use std::path::Path;

use crate::compression::Compression;
use crate::csv::{Dialect, LineEnd};
use crate::csv_records::Records;
use crate::error::Error;
use crate::limits::BOM;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Csv(Dialect),
    JsonLines,
    /// Plain text, one row per line. Its output is CSV.
    Text(LineEnd),
    Parquet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub format: Format,
    pub compression: Compression,
}

/// Properties of a CSV file that the caller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsvOptions {
    /// Detected if left out.
    pub delimiter: Option<u8>,
    pub header: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { delimiter: None, header: true }
    }
}

/// Bytes that are examined at the beginning of a file. A header is rarely longer.
const SAMPLE_BYTES: u64 = 64 << 10;
/// Number of records compared to detect the delimiter.
const SAMPLE_RECORDS: usize = 20;
/// Detectable delimiters, the most common first.
const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

impl Layout {
    /// Detects the layout of a file.
    ///
    /// # Errors
    /// `NoRows`, `FormatUnknown`, or `FileBroken` if it cannot be unpacked.
    pub(crate) fn detect(file: &mut File, path: &Path, options: CsvOptions) -> Result<Self, Error> {
        let (compression, sample) = sample(file).map_err(|error| Error::FileBroken {
            path: path.to_owned(),
            rows: 0,
            message: error.to_string(),
        })?;
        if sample.is_empty() {
            return Err(Error::NoRows { found: "no bytes" });
        }
        let unknown = |(found, remedy): (&str, &str)| {
            Err(Error::FormatUnknown { path: path.to_owned(), found: found.into(), remedy: remedy.into() })
        };
        match foreign(&sample, compression) {
            Some(problem) => return unknown(problem),
            None if sample.starts_with(b"PAR1") => return Ok(Self { format: Format::Parquet, compression }),
            None => {}
        }
        let (_, extension) = split_name(path);
        let csv = |tabs| Format::Csv(dialect(&sample, tabs, options));
        let format = match extension.as_str() {
            "jsonl" | "ndjson" => Format::JsonLines,
            // A CSV header that is a JSON object belongs to a JSON file with the wrong name.
            _ if starts_with_object(&sample) => Format::JsonLines,
            "csv" => csv(false),
            "tsv" | "tab" => csv(true),
            "txt" | "text" if options.delimiter.is_none() => Format::Text(text_line_end(&sample)),
            "json" => return unknown(("JSON that is not one object a line", "convert it: `jq -c '.[]'`")),
            "parquet" | "pq" => return unknown(("not Parquet, despite its name", "rename it after its content")),
            _ if options.delimiter.is_some() => csv(false),
            _ => return unknown(("a file with an unknown extension", "rename it after its content")),
        };
        Ok(Self { format, compression })
    }

    /// Returns the format of an output with this name, for an input of this layout.
    ///
    /// # Errors
    /// `OutputFormat` if the name is that of another format.
    pub(crate) fn for_output(self, output: &Path) -> Result<Self, Error> {
        let (compression, extension) = split_name(output);
        let is_csv = matches!(self.format, Format::Csv(_) | Format::Text(_));
        let (found, fits) = match extension.as_str() {
            "csv" => ("CSV", is_csv),
            "tsv" | "tab" => ("TSV", is_csv),
            "jsonl" | "ndjson" | "json" => ("JSON lines", self.format == Format::JsonLines),
            "parquet" | "pq" => ("Parquet", self.format == Format::Parquet),
            _ => ("another kind of file", self.format != Format::Parquet),
        };
        if !fits || compression != Compression::None && self.format == Format::Parquet {
            let expected = format!("`…{}`", self.extension());
            return Err(Error::OutputFormat { path: output.to_owned(), found, expected });
        }
        let plain = Dialect { delimiter: b',', header: true, bom: false, sep_line: false, line_end: LineEnd::Lf };
        let format = match self.format {
            Format::Csv(_) | Format::Text(_) => {
                let dialect = if let Format::Csv(dialect) = self.format { dialect } else { plain };
                let delimiter = match (extension.as_str(), dialect.delimiter) {
                    ("tsv" | "tab", _) => b'\t',
                    ("csv", b'\t') => b',',
                    (_, delimiter) => delimiter,
                };
                Format::Csv(Dialect { delimiter, ..dialect })
            }
            format => format,
        };
        Ok(Self { format, compression })
    }

    /// Returns the usual extension of an output, with that of the compression.
    pub(crate) fn extension(self) -> String {
        let format = match self.format {
            Format::Csv(Dialect { delimiter: b'\t', .. }) => ".tsv",
            Format::Csv(_) | Format::Text(_) => ".csv",
            Format::JsonLines => ".jsonl",
            Format::Parquet => ".parquet",
        };
        format!("{format}{}", self.compression.suffix())
    }
}

/// Returns the compression and the extension, in lower case, that a file name ends with.
fn split_name(path: &Path) -> (Compression, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let (compression, name) = Compression::from_name(&name);
    (compression, Path::new(name).extension().unwrap_or_default().to_string_lossy().into_owned())
}

/// Returns the compression of a file and the beginning of its content.
fn sample(file: &mut File) -> io::Result<(Compression, Vec<u8>)> {
    let mut sample = Vec::new();
    file.rewind()?;
    file.take(SAMPLE_BYTES).read_to_end(&mut sample)?;
    file.rewind()?;
    let compression = Compression::from_bytes(&sample);
    if compression != Compression::None {
        sample.clear();
        // A truncated stream still has a beginning. Reading it to the end reports the error.
        let _ = compression.decoder(file.try_clone()?, None)?.take(SAMPLE_BYTES).read_to_end(&mut sample);
        if sample.is_empty() {
            return Err(io::Error::other("it cannot be unpacked"));
        }
    }
    Ok((compression, sample))
}

/// Recognizes unsupported files; returns their kind and a remedy.
fn foreign(sample: &[u8], compression: Compression) -> Option<(&'static str, &'static str)> {
    Some(match sample {
        [b'P', b'A', b'R', b'1', ..] if compression != Compression::None => {
            ("Parquet inside gzip or zstd", "unpack it; Parquet compresses its columns itself")
        }
        [b'P', b'A', b'R', b'1', ..] => return None,
        [b'P', b'K', 3, 4, ..] => ("a zip or Excel file", "unpack it, or save the sheet as CSV"),
        [0xD0, 0xCF, 0x11, 0xE0, ..] => ("an old Excel file", "save the sheet as CSV"),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => ("UTF-16", "convert it: `iconv -f UTF-16 -t UTF-8`"),
        // A few zero bytes occur in text, but not one in eight.
        sample if sample.iter().filter(|byte| **byte == 0).count() * 8 > sample.len() => {
            ("binary or UTF-16 without a mark", "convert it, for example with `iconv`")
        }
        _ => return None,
    })
}

/// Returns whether the first line is a JSON object, or the beginning of one that is longer than the
/// sample.
fn starts_with_object(sample: &[u8]) -> bool {
    let text = sample.strip_prefix(BOM).unwrap_or(sample);
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let whole = line.len() < text.len() || (sample.len() as u64) < SAMPLE_BYTES;
    line.trim_ascii_start().starts_with(b"{")
        && (!whole || serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line).is_ok())
}

fn dialect(sample: &[u8], tabs: bool, options: CsvOptions) -> Dialect {
    let text = sample.strip_prefix(BOM).unwrap_or(sample);
    let line_end = line_end(text, options.delimiter);
    let named = match text {
        [b's', b'e', b'p', b'=', delimiter, b'\r' | b'\n', ..] => Some(*delimiter),
        _ => None,
    };
    let delimiter = options.delimiter.or(named).or(tabs.then_some(b'\t'));
    Dialect {
        delimiter: delimiter.unwrap_or_else(|| detect_delimiter(text, line_end)),
        header: options.header,
        bom: text.len() < sample.len(),
        sep_line: named.is_some(),
        line_end,
    }
}

/// Carriage returns end lines only if there are no line feeds at all.
fn text_line_end(text: &[u8]) -> LineEnd {
    if text.contains(&b'\r') && !text.contains(&b'\n') { LineEnd::Cr } else { LineEnd::Lf }
}

/// Carriage returns end lines only if there are no line feeds outside quotes, because they also
/// occur inside fields.
fn line_end(text: &[u8], delimiter: Option<u8>) -> LineEnd {
    let separates = |byte: u8| matches!(byte, b'\r' | b'\n') || DELIMITERS.contains(&byte) || Some(byte) == delimiter;
    // A quote in the middle of a field, as in `5" nails`, opens nothing.
    let (mut quoted, mut just_closed, mut before) = (false, false, b'\n');
    let mut carriage_return = false;
    for &byte in text {
        let opens = byte == b'"' && !quoted && (just_closed || separates(before));
        just_closed = byte == b'"' && quoted;
        quoted = opens || quoted && !just_closed;
        match byte {
            b'\n' if !quoted && before == b'\r' => return LineEnd::CrLf,
            b'\n' if !quoted => return LineEnd::Lf,
            b'\r' if !quoted => carriage_return = true,
            _ => {}
        }
        before = byte;
    }
    if carriage_return { LineEnd::Cr } else { LineEnd::Lf }
}

/// Returns the delimiter that splits the most records into as many fields as the header; among
/// ties, the one with the most fields. A comma if none splits the header.
fn detect_delimiter(text: &[u8], line_end: LineEnd) -> u8 {
    let fit = |delimiter: u8| {
        let records = Records::new(Box::new(Cursor::new(text.to_vec())), delimiter, line_end.last_byte());
        let Ok(mut records) = records else { return (0, 0) };
        let mut next = || records.next().ok().flatten().map(|(record, _)| record.len());
        let width = next().unwrap_or(0);
        let widths: Vec<usize> = std::iter::from_fn(next).take(SAMPLE_RECORDS).collect();
        let agreeing = widths.iter().filter(|other| **other == width).count();
        let share = if widths.is_empty() { 100 } else { 100 * agreeing / widths.len() };
        if width > 1 { (share, width) } else { (0, 0) }
    };
    // `max_by_key` returns the last of equal elements, so the most common delimiter comes last.
    DELIMITERS.into_iter().rev().max_by_key(|delimiter| fit(*delimiter)).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_is_the_one_that_splits_rows_as_it_splits_the_header() {
        for (text, expected) in [
            ("id;text, long;label\n1;a;b\n", b';'),
            ("text\nhello, you\n", b','),
            ("\"a;b;c\"\tb\n", b'\t'),
            ("text|rate (a|b|c|d),id\nhello,1\nyou,2\n", b','),
            ("id,text\n1,well, hello\n2,you\n", b','),
        ] {
            assert_eq!(detect_delimiter(text.as_bytes(), LineEnd::Lf), expected, "{text}");
        }
    }

    #[test]
    fn a_carriage_return_ends_lines_only_where_nothing_else_does() {
        for (text, expected) in [
            ("a,b\n1,x\ry\n", LineEnd::Lf),
            ("a,b\r\n1,2\r\n", LineEnd::CrLf),
            ("a,b\r1,\"x\ny\"\r", LineEnd::Cr),
            ("a,\"x\ry\"\n", LineEnd::Lf),
            ("a,5\" nail\n1,x\ry\n", LineEnd::Lf),
            ("\"a\"\"\n\",b\r1,2\r", LineEnd::Cr),
            ("\"\",b\r1,2\r", LineEnd::Cr),
            ("a", LineEnd::Lf),
        ] {
            assert_eq!(line_end(text.as_bytes(), None), expected, "{text}");
        }
    }

    #[test]
    fn an_object_in_the_first_line_means_json() {
        assert!(starts_with_object(b" {\"a\": 1}\n"));
        assert!(!starts_with_object(b"{a},b\n1,2\n"));
        assert!(!starts_with_object(b"{\n  \"a\": 1\n}\n"));
    }
}
