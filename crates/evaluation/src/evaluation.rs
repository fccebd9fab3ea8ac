//! One evaluation: a labelled file with the model's predictions, and everything computed from it.

use std::path::PathBuf;

use classifier::Calibration;
use serde_json::{Value, json};

use crate::mistakes::worst_mistakes;
use crate::{Coverage, Measures, Mistake, ScoredFile, Threshold, measure};

/// A scored file with its metrics.
pub struct Evaluation {
    /// The model's name.
    pub model: String,
    /// The file and the predictions.
    pub file: ScoredFile,
    /// The metrics.
    pub measures: Measures,
    /// The worst mistakes, worst first.
    pub mistakes: Vec<Mistake>,
    /// The target accuracy, 0 to 1.
    pub target_accuracy: f64,
    /// The threshold that reaches it, or the best point if none does; absent without a fitted
    /// temperature.
    pub threshold: Option<Result<Threshold, Option<Coverage>>>,
    /// The settings file the calibration was written to; set by the command that wrote it.
    pub written: Option<PathBuf>,
}

impl Evaluation {
    /// Computes all metrics of the file.
    pub fn new(model: String, file: ScoredFile, target_accuracy: f64) -> Self {
        let measures = measure(&file.info, &file.labels, &file.rows);
        Self {
            model,
            mistakes: worst_mistakes(&file),
            threshold: measures.fit().map(|fit| fit.threshold(target_accuracy)),
            file,
            measures,
            target_accuracy,
            written: None,
        }
    }

    /// Returns the threshold that reaches the target accuracy, if one does.
    pub fn threshold(&self) -> Option<&Threshold> {
        self.threshold.as_ref()?.as_ref().ok()
    }

    /// Returns the fitted calibration for the model's settings file. `date` is today's, as
    /// `2026-01-31`.
    pub fn calibration(&self, date: String) -> Option<Calibration> {
        Some(Calibration {
            temperature: self.measures.fit()?.temperature,
            data: self.file.name.clone(),
            data_sha256: self.file.sha256.clone(),
            rows: self.file.rows.len() as u64,
            date,
        })
    }

    /// Returns one JSON object with every metric in full precision. Absent values are left out.
    pub fn json(&self) -> Value {
        let file = &self.file;
        let mut object = json!({
            "model": self.model,
            "task": file.info.task.name(),
            "labels": file.labels.iter().map(|label| &**label).collect::<Vec<_>>(),
            "data": file.name,
            "data_sha256": file.sha256,
            "text_column": file.text_column,
            "label_column": file.label_column,
            "rows": file.total_rows,
            "judged": file.rows.len(),
            "unlabelled": file.unlabelled,
            "failed": file.failed,
            "reasons": file.reasons,
            "truncated": file.truncated,
            "seconds": file.duration.as_secs_f64(),
            "calibration": file.info.calibration.as_ref().map(ToString::to_string),
            "measures": self.measures,
            "target_accuracy": self.target_accuracy,
            "threshold": self.threshold(),
            "written": self.written.as_ref().map(|path| path.display().to_string()),
            "mistakes": self.mistakes,
        });
        if let Some(fields) = object.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        object
    }
}
