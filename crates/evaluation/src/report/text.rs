//! The report for a terminal.

use super::content::{Table, percent};
use crate::{Classification, Coverage, Evaluation, Measures};

/// Thresholds in the coverage table.
const THRESHOLDS: [f64; 8] = [0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];
/// Maximum number of labels in a confusion matrix. A larger one is wider than a terminal; JSON and
/// HTML include it.
const MAX_LABELS: usize = 10;

impl Evaluation {
    /// Returns metrics, aligned tables, and sentences about the file and the calibration.
    pub fn text(&self) -> String {
        let metrics = self.metrics();
        let mut blocks: Vec<String> =
            vec![metrics.iter().map(|(name, value)| format!("{name:<18} {value}\n")).collect()];
        blocks.extend(self.class_table().map(format_table));
        if let Measures::Classification(measures) = &self.measures {
            if measures.classes.len() <= MAX_LABELS {
                blocks.push(format_table(confusion_table(measures)));
            }
            blocks.push(format_table(coverage_table(&measures.coverage)));
        }
        blocks.push(self.notes().join("\n"));
        blocks.join("\n")
    }
}

fn confusion_table(measures: &Classification) -> Table {
    let labels = || measures.classes.iter().map(|class| class.label.to_string());
    let head = std::iter::once("correct \\ predicted".to_owned()).chain(labels()).collect();
    let row = |(label, counts): (String, &Vec<u64>)| {
        std::iter::once(label).chain(counts.iter().map(u64::to_string)).collect()
    };
    std::iter::once(head).chain(labels().zip(&measures.confusion).map(row)).collect()
}

fn coverage_table(points: &[Coverage]) -> Table {
    let head = ["threshold", "answered", "accuracy"].map(str::to_owned).to_vec();
    let row = |threshold: &f64| {
        let point = points.iter().find(|point| point.threshold >= *threshold)?;
        let answered = format!("{} %", percent(point.coverage));
        Some(vec![threshold.to_string(), answered, format!("{:.4}", point.accuracy?)])
    };
    std::iter::once(head).chain(THRESHOLDS.iter().filter_map(row)).collect()
}

/// Aligns the first column left and the others right.
fn format_table(table: Table) -> String {
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..table[0].len()).filter_map(width).collect();
    let format_row = |row: &Vec<String>| {
        let numbers = row.iter().zip(&widths).skip(1);
        let numbers: String = numbers.map(|(cell, width)| format!("  {cell:>width$}")).collect();
        format!("{:<1$}{numbers}\n", row[0], widths[0])
    };
    table.iter().map(format_row).collect()
}
