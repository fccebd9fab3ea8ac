//! Reads and writes the `[calibration]` table of `local-model.toml`.
//!
//! Fitting a temperature is not done here.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml_edit::{DocumentMut, Item, Table, value};

use crate::error::Error;
use crate::model_info::Calibration;

const FILE: &str = "local-model.toml";

/// The table as it stands in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CalibrationTable {
    pub temperature: f64,
    #[serde(default)]
    data: String,
    #[serde(default)]
    data_sha256: String,
    #[serde(default)]
    rows: u64,
    #[serde(default)]
    date: String,
}

impl CalibrationTable {
    pub(crate) fn is_valid(&self) -> bool {
        self.temperature > 0.0 && self.temperature <= 100.0
    }
}

impl From<CalibrationTable> for Calibration {
    fn from(table: CalibrationTable) -> Self {
        let CalibrationTable { temperature, data, data_sha256, rows, date } = table;
        Self { temperature, data, data_sha256, rows, date }
    }
}

/// Writes a calibration and its threshold into a model folder's `local-model.toml`. Without a
/// threshold, an earlier one is removed. Keeps everything else. Returns the file's path.
///
/// # Errors
/// `FileInvalid` if the file is not TOML, `NotWritten` if it cannot be read or written.
pub fn write(folder: &Path, calibration: &Calibration, threshold: Option<f64>) -> Result<PathBuf, Error> {
    let path = folder.join(FILE);
    let failed = |error: std::io::Error| Error::NotWritten { path: path.clone(), message: error.to_string() };
    let content = match std::fs::read_to_string(&path) {
        Ok(content) => content,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    let mut document = document(&path, &content)?;
    // An earlier threshold belongs to another temperature, so it is removed if there is no new one.
    match threshold {
        Some(threshold) => document["threshold"] = value(threshold),
        None => drop(document.remove("threshold")),
    }
    let mut table = Table::new();
    table["temperature"] = value(calibration.temperature);
    table["data"] = value(&calibration.data);
    table["data_sha256"] = value(&calibration.data_sha256);
    table["rows"] = value(i64::try_from(calibration.rows).unwrap_or(i64::MAX));
    table["date"] = value(&calibration.date);
    document["calibration"] = Item::Table(table);
    // Written to a temporary file and renamed, so that readers see the old or the new content.
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(document.to_string().as_bytes())?;
        file.as_file().sync_all()?;
        let permissions = std::fs::metadata(&path).map(|metadata| metadata.permissions());
        #[cfg(unix)]
        let permissions = permissions.or_else(|_| {
            use std::os::unix::fs::PermissionsExt;
            std::io::Result::Ok(std::fs::Permissions::from_mode(0o644))
        });
        if let Ok(permissions) = permissions {
            file.as_file().set_permissions(permissions)?;
        }
        file.persist(&path)?;
        Ok(())
    };
    write().map_err(failed)?;
    Ok(path)
}

/// Parses settings for a change that keeps everything else.
pub(crate) fn document(path: &Path, content: &str) -> Result<DocumentMut, Error> {
    content.parse().map_err(|error: toml_edit::TomlError| Error::FileInvalid {
        path: path.into(),
        message: error.message().to_owned(),
        remedy: "correct it first; models/README.md in the source lists its keys".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn calibration() -> Calibration {
        let data = "a \"b\".csv".to_owned();
        Calibration { temperature: 1.25, data, data_sha256: "ab".into(), rows: 7, date: "2026-01-31".into() }
    }

    #[test]
    fn other_keys_and_comments_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let before = "# mine\nlabels = [\"a\", \"b\"] # in this order\nthreshold = 0.5 # old\n\n[calibration]\ntemperature = 3.0\n";
        std::fs::write(folder.path().join(FILE), before).unwrap();
        let path = write(folder.path(), &calibration(), Some(0.75)).unwrap();
        let content = std::fs::read_to_string(&path).unwrap();
        assert!(content.starts_with("# mine\nlabels = [\"a\", \"b\"] # in this order\nthreshold = 0.75"), "{content}");
        let settings = Settings::parse(&path, &content).unwrap();
        assert_eq!(
            (settings.threshold, settings.calibration.map(Calibration::from)),
            (Some(0.75), Some(calibration()))
        );
    }

    #[test]
    fn an_earlier_threshold_does_not_stay_without_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "labels = [\"a\", \"b\"]\nthreshold = 0.5\n").unwrap();
        let path = write(folder.path(), &calibration(), None).unwrap();
        let settings = Settings::parse(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!((settings.threshold, settings.calibration.map(Calibration::from)), (None, Some(calibration())));
        assert_eq!(settings.labels.map(|labels| labels.names.len()), Some(2));
    }

    #[test]
    fn a_missing_file_is_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), &calibration(), None).unwrap();
        let settings = Settings::parse(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!((settings.threshold, settings.calibration.map(|table| table.temperature)), (None, Some(1.25)));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_not_toml_is_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "threshold = ").unwrap();
        assert!(matches!(write(folder.path(), &calibration(), None), Err(Error::FileInvalid { .. })));
        assert_eq!(std::fs::read_to_string(folder.path().join(FILE)).unwrap(), "threshold = ");
    }
}
