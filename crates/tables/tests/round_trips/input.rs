//! A folder with one input, which tests read and write again.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tables::{
    CellKind, CsvOptions, Error, IfExists, NewColumn, OutputFile, PathPolicy, TableFile, ValueKind, output_location,
};
use tempfile::TempDir;

/// A folder with one input.
pub(crate) struct Input {
    pub(crate) folder: TempDir,
    pub(crate) path: PathBuf,
}

impl Input {
    pub(crate) fn new(name: &str, content: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        Self { folder, path }
    }

    pub(crate) fn open(&self) -> TableFile {
        TableFile::open(&self.path, &PathPolicy::Unrestricted, CsvOptions::default()).unwrap()
    }

    /// Writes the rows again, each with `prediction` `p`; returns the path of the output.
    pub(crate) fn rewrite(&self) -> Result<PathBuf, Error> {
        let mut input = self.open();
        let location = output_location(&input, None, &PathPolicy::Unrestricted)?;
        let output = OutputFile::claim(location, &input, IfExists::Refuse)?;
        let partial = output.create()?;
        let new = NewColumn { name: "prediction".into(), kind: ValueKind::Text };
        let mut writer = input.writer(output.path(), &partial, vec![new])?;
        for chunk in input.rows(&[])? {
            let chunk = chunk?;
            let values = vec![vec![json!("p")]; chunk.rows.len()];
            writer.write(chunk, values)?;
        }
        writer.finish()?;
        output.commit(partial, &input)?;
        Ok(output.path().to_owned())
    }

    /// The cells of a column, in chunks.
    pub(crate) fn chunks(&self, column: &str, kind: CellKind) -> Vec<Vec<Result<String, Error>>> {
        let mut input = self.open();
        let column = input.column(column, kind).unwrap();
        let chunks = input.rows(&[column]).unwrap();
        chunks.map(|chunk| chunk.unwrap().rows.into_iter().map(|mut row| row.cells.remove(0)).collect()).collect()
    }

    pub(crate) fn texts(&self, column: &str, kind: CellKind) -> Vec<String> {
        self.chunks(column, kind).into_iter().flatten().map(Result::unwrap).collect()
    }
}
