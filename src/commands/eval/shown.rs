//! An evaluation in words and aligned numbers.

use crate::commands::eval::{Found, fit};
use crate::digest::hex;
use crate::evaluation::{Class, Classification, Measures};

/// Thresholds whose coverage is shown.
const THRESHOLDS: [f64; 8] = [0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];
/// A matrix wider than a terminal helps nobody; the page and `--json` have it.
const MOST_COLUMNS: usize = 10;

/// The whole of it for a terminal.
pub(super) fn readable(found: &Found) -> String {
    let mut lines: Vec<String> = figures(found).iter().map(|(name, value)| format!("{name:<18} {value}")).collect();
    lines.push(String::new());
    match &found.measures {
        Measures::Classification(measures) => {
            lines.extend(classes(&measures.classes, "rows"));
            lines.extend(confusion(measures));
            lines.extend(coverage(measures));
        }
        Measures::MultiLabel(measures) => lines.extend(classes(&measures.classes, "rows")),
        Measures::Tagging(measures) => lines.extend(classes(&measures.classes, "entities")),
        Measures::Regression(_) => {}
    }
    lines.extend(notes(found));
    lines.join("\n")
}

/// Measures in short, name and value.
pub(super) fn figures(found: &Found) -> Vec<(String, String)> {
    let four = |value: f64| format!("{value:.4}");
    let mut figures = vec![("rows".to_owned(), found.labelled.judged.len().to_string())];
    let mut put = |name: &str, value: String| figures.push((name.to_owned(), value));
    match &found.measures {
        Measures::Classification(measures) => {
            let [low, high] = measures.accuracy_interval;
            put("accuracy", format!("{:.4} ({low:.4} to {high:.4})", measures.accuracy));
            put("macro F1", four(measures.macro_f1));
            put("weighted F1", four(measures.weighted_f1));
            put("log loss", four(measures.probability.log_loss));
            put("Brier score", four(measures.probability.brier_score));
            put("calibration error", four(measures.probability.expected_calibration_error));
        }
        Measures::MultiLabel(measures) => {
            put("exact match", four(measures.exact_match));
            put("micro F1", four(measures.micro_f1));
            put("macro F1", four(measures.macro_f1));
            put("average precision", four(measures.mean_average_precision));
        }
        Measures::Regression(measures) => {
            put("mean abs. error", four(measures.mae));
            put("root mean sq. error", four(measures.rmse));
            put("Spearman", measures.spearman.map_or_else(|| "none: all numbers are the same".into(), four));
        }
        Measures::Tagging(measures) => {
            put("precision", four(measures.micro_precision));
            put("recall", four(measures.micro_recall));
            put("micro F1", four(measures.micro_f1));
            put("macro F1", four(measures.macro_f1));
            put("weighted F1", four(measures.weighted_f1));
        }
    }
    figures
}

/// Sentences about data and calibration.
pub(super) fn notes(found: &Found) -> Vec<String> {
    let labelled = &found.labelled;
    let mut notes = Vec::new();
    let mut note = |sentence: String| notes.push(sentence);
    note(format!(
        "{} of {} rows of {} have a right answer in `{}` and were answered from `{}`{}.",
        labelled.judged.len(),
        labelled.rows,
        found.data,
        labelled.label_column,
        labelled.text_column,
        if labelled.truncated > 0 {
            format!("; of {} the model did not read all", labelled.truncated)
        } else {
            String::new()
        },
    ));
    if labelled.failed.count > 0 {
        note(format!(
            "{} rows failed and are left out, the first of them {:?}: {}.",
            labelled.failed.count,
            labelled.failed.first,
            labelled.reasons.join("; ")
        ));
    }
    if let Some(calibration) = &labelled.info.calibration {
        note(format!("The model is calibrated: {calibration}."));
        if calibration.data_sha256 == hex(&labelled.digest) {
            note("It was calibrated on this very file, so the confidences look better here than elsewhere.".into());
        }
    }
    let Some(fit) = fit(&found.measures) else { return notes };
    let (before, after) = (&fit.before, &fit.held_out);
    note(if fit.temperature == 1.0 {
        "No temperature lowers the log loss of rows that it was not fitted on; it stays at 1.".into()
    } else {
        format!(
            "With a temperature of {} the calibration error of rows that it was not fitted on is {:.4} (at 1: {:.4}), their log loss {:.4} ({:.4}).",
            fit.temperature,
            after.expected_calibration_error,
            before.expected_calibration_error,
            after.log_loss,
            before.log_loss
        )
    });
    match &found.threshold {
        Some(Ok(threshold)) => note(format!(
            "With that temperature, {} % of the rows have a confidence of {} or more, and {} % of those answers are right; with thresholds chosen without the rows they are applied to, {} % and {} %.",
            percent(threshold.coverage),
            threshold.threshold,
            percent(threshold.accuracy),
            percent(threshold.held_out_coverage),
            threshold.held_out_accuracy.map_or_else(|| "none".into(), percent),
        )),
        Some(Err(best)) => note(format!(
            "No threshold makes {} % of the answers right{}.",
            percent(found.target_accuracy),
            best.and_then(|best| best.accuracy.map(|accuracy| (best, accuracy))).map_or_else(
                String::new,
                |(best, accuracy)| {
                    format!(
                        "; the best is {} % from {} on, which leaves {:.1} %",
                        percent(accuracy),
                        best.threshold,
                        100.0 * best.coverage
                    )
                }
            ),
        )),
        None => {}
    }
    match &found.written {
        Some(path) => note(format!("Written to {}; a running server has to be started again.", path.display())),
        None => note("`--calibrate` writes the two into the `local-model.toml` of a model folder.".into()),
    }
    notes
}

fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

fn classes(classes: &[Class], counted: &str) -> Vec<String> {
    let width = widest(classes.iter().map(|class| &*class.label));
    let mut lines = vec![format!("{:<width$}  precision  recall      F1  {counted}", "label")];
    lines.extend(classes.iter().map(|class| {
        let Class { label, precision, recall, f1, support } = class;
        format!("{label:<width$}  {precision:>9.4}  {recall:.4}  {f1:.4}  {support}")
    }));
    lines.push(String::new());
    lines
}

fn confusion(measures: &Classification) -> Vec<String> {
    let names: Vec<&str> = measures.classes.iter().map(|class| &*class.label).collect();
    if names.len() > MOST_COLUMNS {
        return Vec::new();
    }
    let width = widest(names.iter().copied());
    let mut lines = vec![format!("{:<width$}  predicted", "right")];
    let row = |name: &str, cells: Vec<String>| {
        let cells: Vec<String> =
            cells.iter().zip(&names).map(|(cell, name)| format!("{cell:>0$}", name.chars().count().max(6))).collect();
        format!("{name:<width$}  {}", cells.join("  "))
    };
    lines.push(row("", names.iter().map(ToString::to_string).collect()));
    for (name, counts) in names.iter().zip(&measures.confusion) {
        lines.push(row(name, counts.iter().map(ToString::to_string).collect()));
    }
    lines.push(String::new());
    lines
}

fn coverage(measures: &Classification) -> Vec<String> {
    let mut lines = vec!["threshold  answered  accuracy of those".to_owned()];
    for threshold in THRESHOLDS {
        let point = measures.coverage.iter().find(|point| point.threshold >= threshold);
        if let Some(accuracy) = point.and_then(|point| point.accuracy) {
            let answered = point.map_or(0.0, |point| 100.0 * point.coverage);
            lines.push(format!("{threshold:<9}  {answered:>6.1} %  {accuracy:.4}"));
        }
    }
    lines.push(String::new());
    lines
}

fn widest<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(|name| name.chars().count()).max().unwrap_or_default().max("label".len())
}
