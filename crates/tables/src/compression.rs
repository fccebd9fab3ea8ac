//! gzip and zstd around a file, in both directions; which of them is told by the first bytes, not by the name.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

const BUFFER_BYTES: usize = 1 << 16;

impl Compression {
    pub(crate) fn of(first_bytes: &[u8]) -> Self {
        match first_bytes {
            [0x1F, 0x8B, ..] => Self::Gzip,
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// The compression that a name's last part asks for, and the name without it.
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

    pub(crate) fn decoder(self, file: File) -> io::Result<Box<dyn Read + Send>> {
        let file = BufReader::with_capacity(BUFFER_BYTES, file);
        Ok(match self {
            Self::None => Box::new(file),
            Self::Gzip => Box::new(MultiGzDecoder::new(file)),
            Self::Zstd => Box::new(zstd::Decoder::with_buffer(file)?),
        })
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

/// A file being written, which has to be finished: what is dropped before is cut short.
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

    #[test]
    fn names_say_their_compression() {
        assert_eq!(Compression::from_name("a.csv.GZ"), (Compression::Gzip, "a.csv"));
        assert_eq!(Compression::from_name("a.jsonl.zst"), (Compression::Zstd, "a.jsonl"));
        assert_eq!(Compression::from_name("a.csv"), (Compression::None, "a.csv"));
        assert_eq!(Compression::from_name("é"), (Compression::None, "é"));
    }
}
