//! Content that the text and HTML reports share: the main metrics, the table by label, and
//! sentences about the file and the calibration.

use crate::error::count;
use crate::{Class, Coverage, Evaluation, Fit, Measures, Threshold};

/// A header and rows. The first column is text, the others are numbers.
pub(super) type Table = Vec<Vec<String>>;

impl Evaluation {
    /// Returns name and value of the most important metrics.
    pub(super) fn metrics(&self) -> Vec<(&'static str, String)> {
        let four = |value: f64| format!("{value:.4}");
        let mut metrics = vec![("rows", self.file.rows.len().to_string())];
        // Zeros would look like perfect measures, or like a useless model.
        if self.file.rows.is_empty() {
            return metrics;
        }
        match &self.measures {
            Measures::Classification(measures) => {
                let [low, high] = measures.accuracy_interval;
                let probability = &measures.probability;
                metrics.extend([
                    ("accuracy", format!("{:.4} ({low:.4} to {high:.4})", measures.accuracy)),
                    ("macro F1", four(measures.macro_f1)),
                    ("weighted F1", four(measures.weighted_f1)),
                    ("log loss", four(probability.log_loss)),
                    ("Brier score", four(probability.brier_score)),
                    ("calibration error", four(probability.expected_calibration_error)),
                ]);
            }
            Measures::MultiLabel(measures) => metrics.extend([
                ("exact match", four(measures.exact_match)),
                ("micro F1", four(measures.micro_f1)),
                ("macro F1", four(measures.macro_f1)),
                ("average precision", four(measures.mean_average_precision)),
            ]),
            Measures::Regression(measures) => metrics.extend([
                ("mean abs. error", four(measures.mae)),
                ("RMSE", four(measures.rmse)),
                ("Spearman", measures.spearman.map_or_else(|| "undefined".into(), four)),
            ]),
            Measures::Tagging(measures) => metrics.extend([
                ("precision", four(measures.micro_precision)),
                ("recall", four(measures.micro_recall)),
                ("micro F1", four(measures.micro_f1)),
                ("macro F1", four(measures.macro_f1)),
                ("weighted F1", four(measures.weighted_f1)),
            ]),
        }
        metrics
    }

    /// Returns the table by label, if the task has labels.
    pub(super) fn class_table(&self) -> Option<Table> {
        let (classes, counted) = match &self.measures {
            Measures::Classification(measures) => (&measures.classes, "rows"),
            Measures::MultiLabel(measures) => (&measures.classes, "rows"),
            Measures::Tagging(measures) => (&measures.classes, "entities"),
            Measures::Regression(_) => return None,
        };
        let head = ["label", "precision", "recall", "F1", counted].map(str::to_owned).to_vec();
        let row = |class: &Class| {
            let shares = [class.precision, class.recall, class.f1].map(|share| format!("{share:.4}"));
            let label = class.label.to_string();
            std::iter::once(label).chain(shares).chain([class.support.to_string()]).collect()
        };
        Some(std::iter::once(head).chain(classes.iter().map(row)).collect())
    }

    /// Returns sentences about the file and the calibration.
    pub(super) fn notes(&self) -> Vec<String> {
        let file = &self.file;
        let mut notes = vec![format!(
            "{} of {} rows of {} have a label in `{}` and were classified from `{}`.",
            file.rows.len(),
            file.total_rows,
            file.name,
            file.label_column,
            file.text_column,
        )];
        if file.truncated > 0 {
            let texts = count(file.truncated, "text");
            notes.push(format!("The model read only a part of {texts}, because of its limit."));
        }
        if file.failed > 0 {
            let first: Vec<String> = file.first_failed.iter().map(u64::to_string).collect();
            notes.push(format!(
                "Left out because of errors: {} (first: {}): {}.",
                count(file.failed, "row"),
                first.join(", "),
                file.reasons.join("; ")
            ));
        }
        if let Some(calibration) = &file.info.calibration {
            notes.push(format!("The model is calibrated: {calibration}."));
            if calibration.data_sha256 == file.sha256 {
                let caution = "It was calibrated on this very file, so confidence looks better \
                               here than on other data.";
                notes.push(caution.into());
            }
        }
        if let Some(fit) = self.measures.fit() {
            notes.push(describe_fit(fit));
            notes.extend(self.threshold.as_ref().map(|threshold| match threshold {
                Ok(threshold) => describe_threshold(threshold),
                Err(best) => describe_missed_target(self.target_accuracy, best.as_ref()),
            }));
            notes.push(self.describe_written());
        }
        notes
    }

    /// Describes what `--calibrate` wrote, or would write.
    fn describe_written(&self) -> String {
        let Some(path) = &self.written else {
            return "`--calibrate` writes temperature and threshold into the `local-model.toml` of \
                    a model folder."
                .into();
        };
        let written = match (self.threshold(), self.file.info.threshold) {
            (Some(_), _) => "Wrote temperature and threshold".to_owned(),
            (None, None) => "Wrote the temperature, without a threshold".to_owned(),
            (None, Some(old)) => {
                format!("Wrote the temperature, without a threshold, and removed the earlier threshold of {old}")
            }
        };
        format!("{written}: {}. Restart running servers to use it.", path.display())
    }
}

fn describe_fit(fit: &Fit) -> String {
    let (before, after) = (&fit.before, &fit.held_out);
    if fit.temperature == 1.0 {
        return "No temperature lowers the log loss on held-out rows, so it stays at 1.".into();
    }
    format!(
        "A temperature of {} changes the calibration error on held-out rows from {:.4} to {:.4} \
         and their log loss from {:.4} to {:.4}.",
        fit.temperature,
        before.expected_calibration_error,
        after.expected_calibration_error,
        before.log_loss,
        after.log_loss
    )
}

fn describe_threshold(threshold: &Threshold) -> String {
    format!(
        "With it, {} % of the rows have a confidence of {} or more, and {} % of those are \
         correct. On held-out rows: {} % and {} %.",
        percent(threshold.coverage),
        threshold.threshold,
        percent(threshold.accuracy),
        percent(threshold.held_out_coverage),
        threshold.held_out_accuracy.map_or_else(|| "none".into(), percent),
    )
}

fn describe_missed_target(target: f64, best: Option<&Coverage>) -> String {
    let missed = format!("No threshold makes {} % of the answers correct", percent(target));
    let Some((best, accuracy)) = best.and_then(|best| Some((best, best.accuracy?))) else {
        return missed + ".";
    };
    format!(
        "{missed}; the best is {} %, for the {} % of the rows with a confidence of {} or more.",
        percent(accuracy),
        percent(best.coverage),
        best.threshold,
    )
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}
