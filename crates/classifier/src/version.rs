//! Whether the files of a model folder have changed, from their directory entries alone.

use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The files of a model folder, other than graphs and weights. Others, such as a trainer's log, may
/// change all the time.
const READ: [&str; 13] = [
    "config.json",
    "decima.json",
    "laya_config.json",
    "local-model.toml",
    "merges.txt",
    "README.md",
    "rl_agent_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
    "warmup.txt",
];
/// Entries of a folder that are looked at, more than any model has.
const MAX_ENTRIES: usize = 1000;
/// Files that changed more recently may still be incomplete. A writer that pauses for longer is taken
/// for finished.
const SETTLED: Duration = Duration::from_secs(2);

/// The state of a folder's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Of names, sizes and times.
    digest: u64,
    changed: SystemTime,
}

impl Version {
    /// A state with this digest, whose newest file changed at this time.
    #[must_use]
    pub fn new(digest: u64, changed: SystemTime) -> Self {
        Self { digest, changed }
    }

    /// Reads the entries of a model folder, and those of graphs and tokenizers in its subfolders. `None` if there are
    /// none.
    #[must_use]
    pub fn of_model(folder: &Path) -> Option<Self> {
        let mut files = Vec::new();
        for subfolder in collect(folder, |name| READ.contains(&name) || is_of_graph(name), &mut files)? {
            let is_tokenizer = subfolder.ends_with("tokenizer");
            collect(&subfolder, |name| is_of_graph(name) || is_tokenizer && READ.contains(&name), &mut files);
        }
        Self::of_files(files)
    }

    /// Reads the entries of the files with these names in `folder`. `None` if there are none.
    #[must_use]
    pub fn of_named(folder: &Path, names: &[&str]) -> Option<Self> {
        let mut files = Vec::new();
        collect(folder, |name| names.contains(&name), &mut files)?;
        Self::of_files(files)
    }

    fn of_files(mut files: Vec<File>) -> Option<Self> {
        // Directories list their entries in any order.
        files.sort_unstable();
        let mut hasher = DefaultHasher::new();
        files.hash(&mut hasher);
        let changed = files.iter().map(|(_, _, changed)| *changed).max()?;
        Some(Self::new(hasher.finish(), changed))
    }

    /// Returns whether the files differ from `before` and have not changed for two seconds.
    #[must_use]
    pub fn replaces(&self, before: Option<&Self>) -> bool {
        // A time in the future says nothing.
        let is_settled = self.changed.elapsed().map_or(true, |age| age >= SETTLED);
        is_settled && before.is_none_or(|before| before.digest != self.digest)
    }
}

type File = (PathBuf, u64, SystemTime);

/// Returns the files of a model folder that are not read, sorted by name.
#[must_use]
pub fn unread_files(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    collect(folder, |name| !READ.contains(&name) && !is_of_graph(name), &mut files);
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut names: Vec<String> = files.iter().filter_map(|(path, ..)| name(path)).collect();
    names.sort();
    names
}

/// Returns whether a file of this name can hold a graph or its weights.
fn is_of_graph(name: &str) -> bool {
    name.contains(".onnx") || name.ends_with(".data")
}

/// Adds the files that are wanted, and returns the subfolders.
fn collect(folder: &Path, wanted: impl Fn(&str) -> bool, files: &mut Vec<File>) -> Option<Vec<PathBuf>> {
    let mut subfolders = Vec::new();
    for entry in fs::read_dir(folder).ok()?.flatten().take(MAX_ENTRIES) {
        let name = entry.file_name();
        // Follows links, since a model may be linked file by file.
        let Ok(metadata) = fs::metadata(entry.path()) else { continue };
        if metadata.is_dir() {
            subfolders.push(entry.path());
        } else if metadata.is_file() && name.to_str().is_some_and(&wanted) {
            files.push((entry.path(), metadata.len(), changed(&metadata)));
        }
    }
    Some(subfolders)
}

/// Returns when the file's content or entry last changed. A copy may keep its original's time of
/// modification; its entry is new all the same.
fn changed(metadata: &Metadata) -> SystemTime {
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let seconds = Duration::from_secs(u64::try_from(metadata.ctime()).unwrap_or_default());
        let nanoseconds = Duration::from_nanos(u64::try_from(metadata.ctime_nsec()).unwrap_or_default());
        modified.max(SystemTime::UNIX_EPOCH + seconds + nanoseconds)
    }
    #[cfg(not(unix))]
    modified
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(version: Version) -> Version {
        Version { changed: SystemTime::now() - 2 * SETTLED, ..version }
    }

    #[test]
    fn a_changed_file_replaces_once_it_is_settled() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("onnx")).unwrap();
        fs::write(folder.path().join("onnx/model.onnx"), "one").unwrap();
        let before = Version::of_model(folder.path()).unwrap();
        assert!(!settled(before).replaces(Some(&before)));
        fs::write(folder.path().join("onnx/model.onnx"), "longer").unwrap();
        let after = Version::of_model(folder.path()).unwrap();
        assert!(!after.replaces(Some(&before)), "it was written a moment ago");
        assert!(settled(after).replaces(Some(&before)));
        assert!(settled(after).replaces(None));
        let tomorrow = Version { changed: SystemTime::now() + Duration::from_secs(86_400), ..after };
        assert!(tomorrow.replaces(Some(&before)));
    }

    #[test]
    fn only_files_that_are_read_count() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
            Version::of_model(folder.path())
        };
        let before = write("model.onnx");
        for name in ["train.log", "trainer_state.json", "checkpoint-500/config.json"] {
            assert_eq!(write(name), before, "{name}");
        }
        assert_eq!(unread_files(folder.path()), ["train.log", "trainer_state.json"]);
        for name in ["config.json", "model.onnx_data", "onnx/weights.data", "README.md"] {
            let before = Version::of_model(folder.path());
            assert_ne!(write(name), before, "{name}");
        }
    }

    #[test]
    fn a_folder_without_files_has_no_version() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Version::of_model(folder.path()), None);
        assert_eq!(Version::of_model(&folder.path().join("missing")), None);
    }
}
