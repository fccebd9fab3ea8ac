//! What `optimize` found, as text and as JSON.

use std::path::PathBuf;

use engine::milliseconds;
use serde_json::{Value, json};

use super::agreement::Agreement;
use super::subject::Timing;

/// Rows with another label that are named.
const SHOWN_ROWS: usize = 10;

pub(super) struct Report {
    pub folder: PathBuf,
    /// The folder that was written.
    pub output: Option<PathBuf>,
    pub matrices: usize,
    pub tables: usize,
    pub attentions: usize,
    pub bytes_before: u64,
    pub bytes: u64,
    pub timings: Vec<Timing>,
    pub texts: usize,
    pub is_generated: bool,
    pub agreement: Agreement,
    /// Rows of the texts that disagree, worst first.
    pub worst: Vec<usize>,
    pub calibration_removed: bool,
}

impl Report {
    pub(super) fn json(&self) -> Value {
        let timing = |timing: &Timing| {
            json!({
                "tokens": timing.tokens,
                "before_ms": milliseconds(timing.before),
                "after_ms": milliseconds(timing.after),
                "speedup": rounded(speedup(timing), 2),
            })
        };
        json!({
            "folder": self.folder,
            "output": self.output,
            "matrices": self.matrices,
            "tables": self.tables,
            "attentions": self.attentions,
            "before_bytes": self.bytes_before,
            "after_bytes": self.bytes,
            "timings": self.timings.iter().map(timing).collect::<Vec<_>>(),
            "texts": self.texts,
            "generated_texts": self.is_generated,
            "agreement": rounded(self.agreement.share, 4),
            "agreement_of": self.agreement.unit,
            "mean_difference": rounded(self.agreement.mean_difference, 4),
            "largest_difference": rounded(self.agreement.largest_difference, 4),
            "rows_that_differ": self.worst,
            "calibration_removed": self.calibration_removed,
        })
    }

    /// Formats one finding per line, names aligned.
    pub(super) fn text(&self) -> String {
        let mut lines = Vec::new();
        let mut line = |name: &str, value: String| lines.push(format!("{name:<15} {value}"));
        line("in int8", format!("{} matrices, {} tables", self.matrices, self.tables));
        line("attention", format!("one operator each in {} layers", self.attentions));
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let ratio = self.bytes_before as f64 / self.bytes.max(1) as f64;
        let (before, after) = (megabytes(self.bytes_before), megabytes(self.bytes));
        line("size", format!("{before:.1} MB to {after:.1} MB ({ratio:.1} times smaller)"));
        for timing in &self.timings {
            let (before, after) = (milliseconds(timing.before), milliseconds(timing.after));
            let speed = format!("{before:.2} ms to {after:.2} ms ({:.1} times as fast)", speedup(timing));
            line(&format!("{} tokens", timing.tokens), speed);
        }
        let kind = if self.is_generated { "generated " } else { "" };
        line("compared on", format!("{} {kind}texts", self.texts));
        let Agreement { unit, share, mean_difference, largest_difference, .. } = &self.agreement;
        match *unit {
            "cosine" => line("agreement", format!("{share:.4} (mean cosine)")),
            unit => line("agreement", format!("{:.2} % of {unit}", 100.0 * share)),
        }
        line("difference", format!("{mean_difference:.4} on average, {largest_difference:.4} at most"));
        if !self.worst.is_empty() {
            let rows: Vec<String> = self.worst.iter().take(SHOWN_ROWS).map(ToString::to_string).collect();
            let more = if self.worst.len() > SHOWN_ROWS { ", …" } else { "" };
            line("differing rows", format!("{}{more}", rows.join(", ")));
        }
        if self.calibration_removed {
            let advice = "removed, since it belongs to the scores before; fit another with `eval --calibrate`";
            line("calibration", advice.into());
        }
        if let Some(output) = &self.output {
            line("written", output.display().to_string());
        }
        lines.join("\n") + "\n"
    }
}

fn speedup(timing: &Timing) -> f64 {
    timing.before.as_secs_f64() / timing.after.as_secs_f64().max(f64::MIN_POSITIVE)
}

fn rounded(number: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (number * factor).round() / factor
}
