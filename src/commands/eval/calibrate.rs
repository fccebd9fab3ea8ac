//! `eval --calibrate`: checks that a model can be calibrated, and writes the result into its
//! folder.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use classifier::write_calibration;
use evaluation::{Evaluation, MIN_ROWS, Measures};

use super::EvalArgs;

/// Returns the folder to write into, or `None` without `--calibrate`. Called before the file is
/// classified, which can take long.
pub(super) fn target_folder(arguments: &EvalArgs, model_folder: Option<PathBuf>) -> anyhow::Result<Option<PathBuf>> {
    if !arguments.calibrate {
        return Ok(None);
    }
    if let Some(flag) = arguments.asked.flag() {
        return Err(anyhow!(
            "`--calibrate` was given with `{flag}`; expected one of them, since a calibration is for \
             the model's own labels; leave one out, or set the labels of a decision model in \
             `local-model.toml`"
        ));
    }
    model_folder.map(Some).ok_or_else(|| {
        anyhow!(
            "the built-in model cannot be calibrated; expected a model folder; copy \
             `models/sentiment` from the source and name the copy with `--model`"
        )
    })
}

/// Writes the fitted temperature and the threshold into the folder's settings file, and returns
/// its path.
pub(super) fn write(evaluation: &Evaluation, folder: &Path) -> anyhow::Result<PathBuf> {
    let date = chrono::Utc::now().format("%Y-%m-%d").to_string();
    let calibration = evaluation.calibration(date).ok_or_else(|| not_calibratable(evaluation))?;
    let threshold = evaluation.threshold().map(|threshold| threshold.threshold);
    Ok(write_calibration(folder, &calibration, threshold)?)
}

fn not_calibratable(evaluation: &Evaluation) -> anyhow::Error {
    let (model, rows) = (&evaluation.model, evaluation.file.rows.len());
    if !matches!(evaluation.measures, Measures::Classification(_)) {
        let task = evaluation.file.info.task.name();
        return anyhow!(
            "model `{model}` is for {task}; a calibration needs exactly one label a text; evaluate \
             without `--calibrate`"
        );
    }
    let rows = if rows == 1 { "1 row has a label".into() } else { format!("{rows} rows have a label") };
    anyhow!("{rows}; expected at least {MIN_ROWS} to calibrate on; label more rows")
}
