//! A folder of files for one test, and jobs on them over the scripted fake.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use batch::{CorrectionReport, Corrections, Error, FileJob, JobSettings, Summary};
use engine::testing::{Script, settings, start};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use tables::{CsvOptions, IfExists, PathPolicy};
use tempfile::TempDir;

pub(crate) struct Project {
    folder: TempDir,
    pub(crate) script: Arc<Script>,
}

impl Project {
    pub(crate) fn new() -> Self {
        Self::with(Script::default())
    }

    pub(crate) fn with(script: Script) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), script: Arc::new(script) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}; {:?}", self.names()))
    }

    /// Names of all files, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// A job on a file of this folder, which may access nothing else.
    pub(crate) fn job(&self, name: &str) -> FileJob {
        FileJob {
            path: name.into(),
            output: None,
            text_column: None,
            label_column: None,
            csv_options: CsvOptions::default(),
            model: None,
            text_pair: None,
            pair_column: None,
            labels: Vec::new(),
            question: None,
            if_exists: IfExists::Refuse,
            settings: JobSettings::new(PathPolicy::within([self.root().to_owned()], 1 << 30), 8),
        }
    }

    /// Corrects rows of an output.
    pub(crate) async fn correct(&self, job: FileJob, corrections: &[(&str, &str)]) -> Result<CorrectionReport, Error> {
        let given: Vec<_> = corrections.iter().map(|(row, label)| (row.to_string(), label.to_string())).collect();
        let model = start(&self.script, settings()).ready(None).await?;
        let corrections = Corrections::parse(given.iter().map(|(row, label)| (row, label)), &model)?;
        job.correct(corrections).finished().await
    }

    pub(crate) async fn run(&self, job: FileJob) -> Result<Summary, Error> {
        job.start(start(&self.script, settings())).finished().await
    }
}

pub(crate) fn parquet(path: &Path, columns: Vec<(&str, ArrayRef)>, codec: Compression) {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)));
    let batch = batch.unwrap();
    let properties = WriterProperties::builder().set_compression(codec).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn gunzip(path: &Path) -> String {
    std::io::read_to_string(flate2::read::MultiGzDecoder::new(File::open(path).unwrap())).unwrap()
}

pub(crate) fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 3).unwrap()
}
