//! A copy of a model folder with another graph, for comparisons with the original before it
//! appears.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use onnx_facts::GraphFacts;
use toml_edit::DocumentMut;

use crate::calibration::document;
use crate::decision::Family;
use crate::error::{EXPORT, Error};
use crate::folder::{Folder, check_size, unreadable};
use crate::model_files::{MAX_GRAPH_BYTES, USUAL_GRAPHS};
use crate::new_folder::NewFolder;
use crate::settings::Settings;

const SETTINGS: &str = "local-model.toml";
/// Four bytes a weight. In int8, more would not fit one ONNX file.
const MAX_WEIGHTS_BYTES: u64 = 8 << 30;
/// Files for people or for the loader: configuration, tokenizer, card and licence. Other files are
/// graphs and checkpoints.
const COPIED: [&str; 6] = ["json", "txt", "toml", "md", "model", "jinja"];
/// The largest tokenizers in use take 33 MB.
const MAX_COPIED_BYTES: u64 = 64 << 20;

/// The files of weights next to a graph, by the names that the graph uses.
pub type WeightFiles = BTreeMap<String, Vec<u8>>;

/// A folder that has not appeared yet. It is removed unless it is published.
pub struct RewrittenFolder {
    folder: NewFolder,
    /// Size of the original's graph and weights.
    pub bytes_before: u64,
    /// Size of the graph.
    pub bytes: u64,
}

impl RewrittenFolder {
    /// Copies the folder `source` without its graph, and adds the graph that `rewrite` makes of it.
    /// Weights are read within the folder only. Links that lead out of it are not copied.
    ///
    /// # Errors
    /// `NotWritten` if `out` has content or cannot be written, `NotOptimizable` for decision models
    /// and too large graphs, errors of the folder, and those of `rewrite`.
    pub fn new<E: From<Error>>(
        source: &Path,
        out: &Path,
        rewrite: impl FnOnce(&[u8], &WeightFiles) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        let new = NewFolder::create(out)?;
        let folder = Folder::open(source)?;
        let settings = folder.text(SETTINGS)?.unwrap_or_default();
        if Family::of(&folder)?.is_some() {
            let reason = "it is a decision model, expected a classifier, a tagger or a sentence encoder".into();
            return Err(Error::NotOptimizable { folder: source.into(), reason }.into());
        }
        let named = Settings::parse(&source.join(SETTINGS), &settings)?.graph;
        let (graph, _) = folder.graph(named.as_deref(), &USUAL_GRAPHS)?;
        let (model, files) = read(&folder, &graph)?;
        let bytes_before = (model.len() + files.values().map(Vec::len).sum::<usize>()) as u64;
        let rewritten = rewrite(&model, &files)?;
        drop((model, files));
        new.write("model.onnx", &rewritten)?;
        for name in copied(&folder) {
            new.copy(&source.join(&name), &name)?;
        }
        if !settings.is_empty() {
            let mut settings = document(&source.join(SETTINGS), &settings)?;
            settings.remove("graph");
            new.write(SETTINGS, settings.to_string())?;
        }
        Ok(Self { folder: new, bytes_before, bytes: rewritten.len() as u64 })
    }

    /// Returns the folder before it appears.
    pub fn path(&self) -> PathBuf {
        self.folder.path()
    }

    /// Removes the calibration, which was fitted to the scores of the original, and the threshold
    /// that belongs to it. Returns whether there was one.
    ///
    /// # Errors
    /// `NotWritten`.
    pub fn remove_calibration(&self) -> Result<bool, Error> {
        let path = self.path().join(SETTINGS);
        let Ok(content) = fs::read_to_string(&path) else { return Ok(false) };
        let mut settings: DocumentMut = document(&path, &content)?;
        if settings.remove("calibration").is_none() {
            return Ok(false);
        }
        settings.remove("threshold");
        self.folder.write(SETTINGS, settings.to_string()).map(|()| true)
    }

    /// Gives the folder its name.
    ///
    /// # Errors
    /// `NotWritten` if something of this name has appeared.
    pub fn publish(self) -> Result<(), Error> {
        self.folder.publish()
    }
}

/// Reads a graph and the files of weights that it names, if all weights are few enough.
fn read(folder: &Folder<'_>, graph: &Path) -> Result<(Vec<u8>, WeightFiles), Error> {
    let content = |path: &Path| fs::read(path).map_err(|error| unreadable(path, &error));
    check_size(graph, MAX_GRAPH_BYTES)?;
    let model = content(graph)?;
    let invalid = |message| Error::FileInvalid { path: graph.into(), message, remedy: EXPORT.into() };
    let names = GraphFacts::parse(&model).map_err(invalid)?.external_files;
    let paths = names.iter().map(|name| folder.weights(graph, name)).collect::<Result<Vec<_>, _>>()?;
    let mut bytes = 0;
    for path in &paths {
        bytes += fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
    }
    if bytes > MAX_WEIGHTS_BYTES {
        let reason = format!(
            "its weights have {bytes} bytes, expected at most {MAX_WEIGHTS_BYTES}; in int8, more would not fit one \
             ONNX file of 2 GB"
        );
        return Err(Error::NotOptimizable { folder: folder.path().into(), reason });
    }
    let contents = paths.iter().map(|path| content(path)).collect::<Result<Vec<_>, _>>()?;
    let files = names.into_iter().zip(contents).collect();
    Ok((model, files))
}

/// Returns the names of the small files of a folder and of the folders in it.
fn copied(folder: &Folder<'_>) -> Vec<PathBuf> {
    let names = |place: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder.path().join(place)).into_iter().flatten().flatten();
        entries.map(|entry| place.join(entry.file_name())).collect()
    };
    let top = names(Path::new(""));
    let inner = top.iter().filter(|name| folder.path().join(name).is_dir()).flat_map(|name| names(name));
    let is_copied = |name: &PathBuf| {
        let is_hidden = name.iter().any(|part| part.as_encoded_bytes().starts_with(b"."));
        let extension = name.extension().map(|extension| extension.to_str().unwrap_or_default());
        let path = folder.file(name).ok().flatten();
        let is_small = path.and_then(|path| fs::metadata(path).ok()).is_some_and(|file| file.len() <= MAX_COPIED_BYTES);
        !is_hidden && extension.is_none_or(|extension| COPIED.contains(&extension)) && is_small
    };
    inner.chain(top.iter().cloned()).filter(is_copied).collect()
}
