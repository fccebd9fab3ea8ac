//! gzip and zstd. An input is recognized by its first bytes; an output is compressed according to
//! its name.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

const BUFFER_BYTES: usize = 1 << 16;

impl Compression {
    pub(crate) fn from_bytes(first_bytes: &[u8]) -> Self {
        match first_bytes {
            [0x1F, 0x8B, ..] => Self::Gzip,
            // A frame, or a skippable frame.
            [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Returns the compression that a file name ends with, and the name without it.
    pub(crate) fn from_name(name: &str) -> (Self, &str) {
        let cut = |suffix: &str| name.len().checked_sub(suffix.len()).filter(|at| name.is_char_boundary(*at));
        for (suffix, compression) in [(".gz", Self::Gzip), (".zst", Self::Zstd), (".zstd", Self::Zstd)] {
            if let Some(at) = cut(suffix).filter(|at| name[*at..].eq_ignore_ascii_case(suffix)) {
                return (compression, &name[..at]);
            }
        }
        (Self::None, name)
    }

    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }

    /// Reads the content of the file, up to `limit` bytes.
    pub(crate) fn decoder(self, file: File, limit: Option<u64>) -> io::Result<Box<dyn Read + Send>> {
        let file = BufReader::with_capacity(BUFFER_BYTES, file);
        let inner: Box<dyn Read + Send> = match self {
            Self::None => return Ok(Box::new(file)),
            Self::Gzip => Box::new(GzipMembers(Some(GzDecoder::new(file)))),
            Self::Zstd => Box::new(zstd::Decoder::with_buffer(file)?),
        };
        Ok(Box::new(Limited { inner, left: limit.unwrap_or(u64::MAX) }))
    }

    pub(crate) fn encoder(self, file: File) -> io::Result<Encoder> {
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(match self {
            Self::None => Encoder::None(file),
            Self::Gzip => Encoder::Gzip(GzEncoder::new(file, flate2::Compression::default())),
            Self::Zstd => Encoder::Zstd(zstd::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)?),
        })
    }
}

/// Reads the members of a gzip file. Like `gzip`, ignores what follows the last one.
struct GzipMembers(Option<GzDecoder<BufReader<File>>>);

impl Read for GzipMembers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let more = matches!(member.get_mut().fill_buf()?, [0x1F] | [0x1F, 0x8B, ..]);
            self.0 = self.0.take().filter(|_| more).map(|member| GzDecoder::new(member.into_inner()));
        }
        Ok(0)
    }
}

/// Fails with [`io::ErrorKind::FileTooLarge`] after a number of bytes, because a small file may
/// unpack to a huge one.
struct Limited {
    inner: Box<dyn Read + Send>,
    left: u64,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(count)
    }
}

/// A file being written. It must be finished; otherwise it is truncated.
pub(crate) enum Encoder {
    None(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl Encoder {
    pub(crate) fn finish(self) -> io::Result<()> {
        let mut file = match self {
            Self::None(file) => file,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        file.flush()
    }
}

impl Write for Encoder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(file) => file.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::None(file) => file.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn decoded(content: &[u8], limit: Option<u64>) -> io::Result<String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        io::read_to_string(Compression::from_bytes(content).decoder(file, limit)?)
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_members_are_read_to_the_last_one_and_what_follows_is_ignored() {
        let two = [gzip("one "), gzip("two")].concat();
        assert_eq!(decoded(&two, None).unwrap(), "one two");
        assert_eq!(decoded(&[two.as_slice(), &[0; 512]].concat(), None).unwrap(), "one two");
        assert_eq!(
            decoded(&[two.as_slice(), b"\x1F"].concat(), None).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        assert!(decoded(&two[..two.len() - 3], None).is_err());
    }

    #[test]
    fn unpacked_bytes_count_against_the_limit() {
        for packed in [gzip(&"x".repeat(1000)), zstd::encode_all("x".repeat(1000).as_bytes(), 0).unwrap()] {
            assert_eq!(decoded(&packed, Some(1000)).unwrap().len(), 1000);
            assert_eq!(decoded(&packed, Some(999)).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        }
    }

    #[test]
    fn zstd_may_begin_with_a_frame_to_be_skipped() {
        let skipped = [0x50, 0x2A, 0x4D, 0x18, 2, 0, 0, 0, 1, 2];
        let packed = [skipped.as_slice(), &zstd::encode_all("text".as_bytes(), 0).unwrap()].concat();
        assert_eq!(decoded(&packed, None).unwrap(), "text");
    }

    #[test]
    fn names_say_their_compression() {
        assert_eq!(Compression::from_name("a.csv.GZ"), (Compression::Gzip, "a.csv"));
        assert_eq!(Compression::from_name("a.jsonl.zst"), (Compression::Zstd, "a.jsonl"));
        assert_eq!(Compression::from_name("a.csv"), (Compression::None, "a.csv"));
        assert_eq!(Compression::from_name("é"), (Compression::None, "é"));
    }
}
