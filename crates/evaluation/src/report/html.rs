//! The report as one HTML file that loads nothing from elsewhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::charts;
use super::content::{Table, percent};
use crate::{Classification, Evaluation, Fit, Measures, Probability, ScoredRow};

/// Marks a file as a report of this program, so that only reports are overwritten.
pub const GENERATOR: &str = "local-model-mcp eval";

/// Light and dark colors, which replace the colors of the charts.
const STYLE: &str = include_str!("report.css");

impl Evaluation {
    /// Returns an HTML file with metrics, charts and the worst mistakes.
    pub fn html(&self) -> String {
        let title = format!("{} on {}", self.model, self.file.name);
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="generator" content=(GENERATOR);
                    meta name="color-scheme" content="light dark";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { (title) }
                    @for note in self.notes() { p.note { (note) } }
                    dl.figures {
                        @for (name, value) in self.metrics() {
                            div { dt { (name) } dd { (value) } }
                        }
                    }
                    @match &self.measures {
                        Measures::Classification(measures) => (self.classification(measures)),
                        Measures::Regression(_) => (self.regression()),
                        Measures::MultiLabel(_) | Measures::Tagging(_) => {}
                    }
                    @if let Some(classes) = self.class_table() {
                        (table("By label", "", classes))
                    }
                    @if !self.mistakes.is_empty() {
                        (table("Worst mistakes", "mistakes", self.mistake_table()))
                    }
                }
            }
        }
        .into_string()
    }

    fn regression(&self) -> Markup {
        let points: Vec<(f64, f64)> = self.file.rows.iter().filter_map(ScoredRow::numbers).collect();
        let caption = "Predictions on the line are correct.";
        figure("Predicted and correct numbers", &charts::scatter(&points), caption)
    }

    fn classification(&self, measures: &Classification) -> Markup {
        html! {
            div.charts {
                @if measures.classes.len() <= charts::MAX_LABELS {
                    (figure(
                        "Confusion matrix",
                        &charts::confusion(&measures.classes, &measures.confusion),
                        "Rows by correct label (down) and predicted label (across). \
                         The shade is the share of the matrix row.",
                    ))
                }
                (figure(
                    "Confidence",
                    &charts::histogram(&measures.probability.bins),
                    "Rows by confidence, as the server reports it.",
                ))
                @if let Some(fit) = &measures.fit {
                    (reliability("Reliability at temperature 1", &fit.before))
                    (reliability(
                        &format!("Reliability at temperature {}", fit.temperature),
                        &fit.held_out,
                    ))
                    p.note {
                        "The second chart is cross-validated: each row has the temperature fitted \
                         on the four fifths of the file that do not contain it. Confidence equals \
                         accuracy where a bar ends on the diagonal. A dot marks the mean \
                         confidence of its bar."
                    }
                } @else {
                    (reliability("Reliability", &measures.probability))
                }
                (self.coverage(measures))
            }
        }
    }

    fn coverage(&self, measures: &Classification) -> Markup {
        let curve = measures.fit.as_ref().map_or_else(|| measures.coverage.clone(), Fit::coverage);
        let threshold = self.threshold();
        let dot = threshold.map(|threshold| (threshold.coverage, threshold.accuracy));
        let caption = threshold.map_or_else(
            || "The threshold falls from left to right.".to_owned(),
            |threshold| {
                format!(
                    "Dot: with a threshold of {}, {} % of the rows are answered and {} % of the \
                     answers are correct.",
                    threshold.threshold,
                    percent(threshold.coverage),
                    percent(threshold.accuracy)
                )
            },
        );
        figure("Accuracy and coverage by threshold", &charts::coverage(&curve, dot), &caption)
    }

    fn mistake_table(&self) -> Table {
        let head = ["row", "text", "correct", "predicted", "confidence"].map(str::to_owned);
        let rows = self.mistakes.iter().map(|mistake| {
            let confidence = mistake.confidence.map_or_else(String::new, |c| format!("{c:.4}"));
            let (right, prediction) = (mistake.right.clone(), mistake.prediction.clone());
            vec![mistake.row.to_string(), mistake.text.clone(), right, prediction, confidence]
        });
        std::iter::once(head.to_vec()).chain(rows).collect()
    }
}

fn reliability(title: &str, probability: &Probability) -> Markup {
    let error = probability.expected_calibration_error;
    let caption = format!("Expected calibration error {error:.4}");
    figure(title, &charts::reliability(&probability.bins), &caption)
}

fn figure(title: &str, svg: &str, caption: &str) -> Markup {
    html! {
        figure role="img" aria-label=(title) {
            h2 { (title) }
            (PreEscaped(svg))
            figcaption { (caption) }
        }
    }
}

fn table(title: &str, class: &str, table: Table) -> Markup {
    html! {
        h2 { (title) }
        div.wide { table class=(class) {
            @for (number, row) in table.iter().enumerate() {
                tr {
                    @for cell in row {
                        @if number == 0 { th { (cell) } } @else { td { (cell) } }
                    }
                }
            }
        } }
    }
}
