//! Opens files of every format and reads their first rows, within the limits on time and memory.

#![no_main]

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::sync::LazyLock;

use tables::{CellKind, CsvOptions, PathPolicy, TableFile};
use tempfile::TempDir;

const NAMES: [&str; 4] = ["in.parquet", "in.csv", "in.jsonl", "in.txt"];
const MAX_CHUNKS: usize = 16;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    // A panic in a library ends one job only, so it is no finding.
    panic::set_hook(Box::new(|_| {}));
    TempDir::new().expect("a folder can be made")
});

fn read(name: &str, policy: &PathPolicy) -> Result<(), tables::Error> {
    let mut table = TableFile::open(name.as_ref(), policy, CsvOptions::default())?;
    let first = table.columns().first().cloned().unwrap_or_default();
    let column = table.text_column(&[]).or_else(|_| table.column(&first, CellKind::List))?;
    table.rows(&[column])?.take(MAX_CHUNKS).try_for_each(|chunk| chunk.map(drop))
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, content)) = bytes.split_first() else { return };
    let name = NAMES[usize::from(*kind) % NAMES.len()];
    fs::write(FOLDER.path().join(name), content).expect("a file can be written");
    let policy = PathPolicy::within([FOLDER.path().to_owned()], 64 << 20);
    let _ = panic::catch_unwind(AssertUnwindSafe(|| read(name, &policy)));
});
