//! What kind of file a file is: by its first bytes, and by its name where those leave a choice.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use crate::Error;
use crate::compression::Compression;
use crate::csv::{BOM, Dialect};
use crate::records::Records;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Csv(Dialect),
    JsonLines,
    /// Plain lines; their output is CSV, since a line has no room for a second column.
    Text,
    Parquet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub format: Format,
    pub compression: Compression,
}

/// What the caller says of a CSV file; the delimiter is found where it is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsvOptions {
    pub delimiter: Option<u8>,
    pub header: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { delimiter: None, header: true }
    }
}

/// So much of a file's beginning is looked at; a header is rarely longer.
const SAMPLE_BYTES: u64 = 64 << 10;
/// Delimiters that are looked for, the likeliest first.
const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

impl Layout {
    pub(crate) fn of(file: &mut File, path: &Path, reading: CsvOptions) -> Result<Self, Error> {
        let broken =
            |error: io::Error| Error::FileBroken { path: path.to_owned(), rows: 0, message: error.to_string() };
        let unknown = |found: &str, remedy: &str| Error::FormatUnknown {
            path: path.to_owned(),
            found: found.to_owned(),
            remedy: remedy.to_owned(),
        };
        let raw = sample(file).map_err(broken)?;
        let compression = Compression::of(&raw);
        let sample = match compression {
            Compression::None => raw,
            Compression::Gzip | Compression::Zstd => {
                let file = file.try_clone().map_err(broken)?;
                let mut inside = Vec::new();
                let decoder = compression.decoder(file).map_err(broken)?;
                // A stream that is cut short still has a beginning; that it is cut is found when it is read.
                let _ = decoder.take(SAMPLE_BYTES).read_to_end(&mut inside);
                file_start(path, inside)?
            }
        };
        if sample.is_empty() {
            return Err(Error::NoRows { found: "no bytes" });
        }
        match sample.as_slice() {
            [b'P', b'A', b'R', b'1', ..] if compression == Compression::None => {
                return Ok(Self { format: Format::Parquet, compression });
            }
            [b'P', b'A', b'R', b'1', ..] => {
                return Err(unknown("Parquet inside gzip or zstd", "unpack it; Parquet compresses its columns itself"));
            }
            [b'P', b'K', 3, 4, ..] => {
                return Err(unknown("a zip or Excel file", "unpack it, or save the sheet as CSV"));
            }
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
                return Err(unknown("UTF-16", "convert it: `iconv -f UTF-16 -t UTF-8`"));
            }
            // A stray NUL may be in any text; every eighth byte is in none.
            sample if sample.iter().filter(|byte| **byte == 0).count() * 8 > sample.len() => {
                return Err(unknown("binary or UTF-16 without a mark", "convert it, with `iconv` for example"));
            }
            _ => {}
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let extension =
            Path::new(Compression::from_name(&name).1).extension().map(|part| part.to_string_lossy().into_owned());
        let text = sample.strip_prefix(BOM).unwrap_or(&sample);
        let object = starts_with_object(text);
        let format = match extension.as_deref() {
            Some("jsonl" | "ndjson") => Format::JsonLines,
            // A CSV header that reads as a JSON object is a JSON file with the wrong name.
            _ if object => Format::JsonLines,
            Some("csv" | "tsv" | "tab") => Format::Csv(dialect(&sample, extension.as_deref(), reading)),
            Some("txt" | "text") if reading.delimiter.is_none() => Format::Text,
            Some("json") => {
                return Err(unknown("JSON that is not one object a line", "convert it: `jq -c '.[]'`"));
            }
            Some("parquet" | "pq") => {
                return Err(unknown("no Parquet, whatever its name says", "name it after what it is"));
            }
            _ if reading.delimiter.is_some() => Format::Csv(dialect(&sample, None, reading)),
            _ => return Err(unknown("of no known extension", "rename it after what it holds")),
        };
        Ok(Self { format, compression })
    }

    /// The usual extension of an output, compression included.
    pub(crate) fn extension(self) -> String {
        let format = match self.format {
            Format::Csv(Dialect { delimiter: b'\t', .. }) => ".tsv",
            Format::Csv(_) | Format::Text => ".csv",
            Format::JsonLines => ".jsonl",
            Format::Parquet => ".parquet",
        };
        format!("{format}{}", self.compression.suffix())
    }
}

fn sample(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(SAMPLE_BYTES).read_to_end(&mut bytes)?;
    file.rewind()?;
    Ok(bytes)
}

fn file_start(path: &Path, inside: Vec<u8>) -> Result<Vec<u8>, Error> {
    if inside.is_empty() {
        let message = "nothing could be unpacked from it".to_owned();
        return Err(Error::FileBroken { path: path.to_owned(), rows: 0, message });
    }
    Ok(inside)
}

/// Whether the first line is a JSON object, or the beginning of one longer than the sample.
fn starts_with_object(text: &[u8]) -> bool {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let whole = line.len() < text.len() || (text.len() as u64) < SAMPLE_BYTES;
    line.trim_ascii_start().starts_with(b"{")
        && (!whole || serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line).is_ok())
}

fn dialect(sample: &[u8], extension: Option<&str>, reading: CsvOptions) -> Dialect {
    let named = matches!(extension, Some("tsv" | "tab")).then_some(b'\t');
    let delimiter = reading.delimiter.or(named).unwrap_or_else(|| guessed_delimiter(sample));
    let crlf = sample.iter().position(|byte| *byte == b'\n').is_some_and(|end| sample[..end].ends_with(b"\r"));
    Dialect { delimiter, header: reading.header, bom: sample.starts_with(BOM), crlf }
}

/// The delimiter that splits the first record into most fields; a comma where none splits it.
fn guessed_delimiter(sample: &[u8]) -> u8 {
    let fields = |delimiter: u8| {
        let mut records = Records::new(Box::new(io::Cursor::new(sample.to_vec())), delimiter);
        records.next().ok().flatten().map_or(0, |record| record.fields.len())
    };
    // `max_by_key` takes the last of equals, so the likeliest comes last.
    DELIMITERS.into_iter().rev().max_by_key(|delimiter| fields(*delimiter)).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_is_the_one_that_splits_the_header() {
        assert_eq!(guessed_delimiter(b"id;text, long;label\n1;a;b\n"), b';');
        assert_eq!(guessed_delimiter(b"text\nhello, you\n"), b',');
        assert_eq!(guessed_delimiter(b"\"a;b;c\"\tb\n"), b'\t');
    }

    #[test]
    fn an_object_on_the_first_line_is_json_whatever_the_name() {
        assert!(starts_with_object(b" {\"a\": 1}\n"));
        assert!(!starts_with_object(b"{a},b\n1,2\n"));
        assert!(!starts_with_object(b"{\n  \"a\": 1\n}\n"));
    }
}
