//! Finds the files of a model folder. Files that lie outside the folder are never read, and the
//! size of each file is checked before it is read.
//!
//! The content of the files is parsed in `config`, `vocabulary` and `tokenizer`.

use std::borrow::Cow;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use crate::error::{EXPORT, Error, SAVE_TOKENIZER};
use crate::foreign;

/// The largest tokenizers in use take 33 MB (256,000 pieces).
const MAX_TOKENIZER_BYTES: u64 = 64 << 20;
/// Enough for the largest number of labels, each named twice.
const MAX_CONFIG_BYTES: u64 = 16 << 20;
/// Files that the folder's owner wrote by hand.
const MAX_OWN_BYTES: u64 = 1 << 20;

/// The files that define the tokenizer, in order of preference.
pub(crate) enum Vocabulary {
    /// `tokenizer.json`, which contains everything.
    Tokenizer(Cow<'static, [u8]>),
    /// `vocab.txt` of a BERT model.
    WordPiece(String),
    /// `vocab.json` and `merges.txt` of a GPT-2 or RoBERTa model.
    ByteLevelBpe { vocab: String, merges: String },
    /// A list of words, described in `local-model.toml`.
    Words(String),
    /// None: the graph takes the text itself.
    Text,
}

impl Vocabulary {
    /// Returns the content of each file.
    pub(crate) fn files(&self) -> Vec<&[u8]> {
        match self {
            Self::Tokenizer(bytes) => vec![&**bytes],
            Self::WordPiece(vocab) | Self::Words(vocab) => vec![vocab.as_bytes()],
            Self::ByteLevelBpe { vocab, merges } => vec![vocab.as_bytes(), merges.as_bytes()],
            Self::Text => Vec::new(),
        }
    }
}

/// An existing model folder.
pub(crate) struct Folder<'a> {
    path: Cow<'a, Path>,
    /// The model folder with links resolved, for comparisons.
    real: PathBuf,
}

impl<'a> Folder<'a> {
    pub(crate) fn open(path: &'a Path) -> Result<Self, Error> {
        match fs::canonicalize(path) {
            Ok(real) if real.is_dir() => Ok(Self { path: path.into(), real }),
            Ok(_) => Err(Error::FolderIsFile { path: path.into() }),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::FolderMissing { folder: path.into() }),
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a folder in this one, or `None` if there is none. Its files must lie in the model
    /// folder too.
    pub(crate) fn subfolder(&self, name: &str) -> Option<Self> {
        let path = self.path.join(name);
        path.is_dir().then(|| Self { path: path.into(), real: self.real.clone() })
    }

    pub(crate) fn missing(&self, file: &str, remedy: &str) -> Error {
        Error::FileMissing { folder: self.path.to_path_buf(), file: file.into(), remedy: remedy.into() }
    }

    /// Returns the path of a regular file, or `None` if there is none.
    ///
    /// # Errors
    /// `FileOutside` for a link that leads out of the folder.
    pub(crate) fn file(&self, name: impl AsRef<Path>) -> Result<Option<PathBuf>, Error> {
        let path = self.path.join(name);
        match fs::canonicalize(&path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(unreadable(&path, &error)),
            Ok(real) if !real.starts_with(&self.real) => {
                Err(Error::FileOutside { folder: self.path.to_path_buf(), file: path.display().to_string() })
            }
            Ok(real) => Ok(real.is_file().then_some(path)),
        }
    }

    /// Returns the content of a text file, or `None` if there is none.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Error> {
        let Some(path) = self.file(name)? else { return Ok(None) };
        let limit = match name {
            "tokenizer.json" | "vocab.txt" | "vocab.json" | "merges.txt" => MAX_TOKENIZER_BYTES,
            "local-model.toml" | "warmup.txt" => MAX_OWN_BYTES,
            _ => MAX_CONFIG_BYTES,
        };
        check_size(&path, limit)?;
        fs::read_to_string(&path).map(Some).map_err(|error| unreadable(&path, &error))
    }

    /// Returns the graph file and the reason for choosing it: named in the settings, one of the usual
    /// names, or the only graph.
    pub(crate) fn graph(&self, named: Option<&str>, usual: &[&str]) -> Result<(PathBuf, &'static str), Error> {
        if let Some(name) = named {
            if !stays_inside(Path::new(name)) {
                return Err(Error::FileOutside { folder: self.path.to_path_buf(), file: name.into() });
            }
            let path = self.file(name)?.ok_or_else(|| self.missing(name, "correct `graph` in `local-model.toml`"))?;
            // Under another name the runtime could read the file as its own format, which is not
            // inspected.
            if !has_onnx_extension(&path) {
                let message = "it is named as the graph, expected a name that ends in `.onnx`".into();
                return Err(Error::FileInvalid { path, message, remedy: EXPORT.into() });
            }
            return Ok((path, "named in local-model.toml"));
        }
        for name in usual {
            if let Some(path) = self.file(name)? {
                return Ok((path, "the usual name"));
            }
        }
        let mut found: Vec<String> = ["", "onnx"]
            .iter()
            .filter_map(|place| Some((place, fs::read_dir(self.path.join(place)).ok()?)))
            .flat_map(|(place, entries)| entries.flatten().map(move |entry| Path::new(place).join(entry.file_name())))
            .filter(|path| has_onnx_extension(path))
            .map(|path| path.display().to_string())
            .collect();
        found.sort();
        match found.as_slice() {
            [] => Err(self.missing(usual[0], &foreign::remedy(self))),
            [only] => {
                let path = self.file(only)?.ok_or_else(|| self.missing(only, EXPORT))?;
                Ok((path, "the only graph in the folder"))
            }
            _ => Err(Error::GraphAmbiguous { folder: self.path.to_path_buf(), found }),
        }
    }

    /// Returns a weights file that the graph names, checked before the runtime follows the name.
    pub(crate) fn weights(&self, graph: &Path, name: &str) -> Result<PathBuf, Error> {
        let outside = || Error::FileOutside { folder: self.path.to_path_buf(), file: name.into() };
        let parent = graph.parent().and_then(|parent| parent.strip_prefix(&self.path).ok()).ok_or_else(outside)?;
        // The runtime interprets this name as a memory address.
        if !stays_inside(Path::new(name)) || name.contains("_ORT_MEM_ADDR_") {
            return Err(outside());
        }
        self.file(parent.join(name))?.ok_or_else(|| {
            self.missing(&parent.join(name).display().to_string(), "copy the graph's weights next to it")
        })
    }

    /// Returns the files of the tokenizer: `vocab.txt` if the folder's owner describes its words.
    pub(crate) fn vocabulary(&self, has_words: bool) -> Result<Vocabulary, Error> {
        if has_words {
            let remedy = "write one word a line, or remove the table `vocabulary` from `local-model.toml`";
            let words = self.text("vocab.txt")?.map(Vocabulary::Words);
            return words.ok_or_else(|| self.missing("vocab.txt", remedy));
        }
        if let Some(tokenizer) = self.text("tokenizer.json")? {
            return Ok(Vocabulary::Tokenizer(Cow::Owned(tokenizer.into_bytes())));
        }
        if let Some(vocab) = self.text("vocab.txt")? {
            return Ok(Vocabulary::WordPiece(vocab));
        }
        if let (Some(vocab), Some(merges)) = (self.text("vocab.json")?, self.text("merges.txt")?) {
            return Ok(Vocabulary::ByteLevelBpe { vocab, merges });
        }
        for name in ["spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "spm.model"] {
            if self.file(name)?.is_some() {
                return Err(self.missing("tokenizer.json", &format!("`{name}` alone is not enough; {SAVE_TOKENIZER}")));
            }
        }
        Err(self.missing("tokenizer.json", SAVE_TOKENIZER))
    }
}

/// Returns the size of a file, before any of it is read.
///
/// # Errors
/// `FileInvalid` if it has more than `limit` bytes.
pub(crate) fn check_size(path: &Path, limit: u64) -> Result<u64, Error> {
    let bytes = fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
    if bytes > limit {
        let message = format!("it has {bytes} bytes, expected at most {limit}");
        return Err(Error::FileInvalid { path: path.into(), message, remedy: "replace it by the right file".into() });
    }
    Ok(bytes)
}

pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::FileUnreadable { path: path.into(), message: error.to_string() }
}

/// Returns whether a relative path stays inside the folder at every step.
fn stays_inside(path: &Path) -> bool {
    path.components().count() > 0 && path.components().all(|part| matches!(part, Component::Normal(_)))
}

fn has_onnx_extension(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "onnx")
}
