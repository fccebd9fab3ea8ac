//! An evaluation as one HTML file that loads nothing from elsewhere: metrics, charts, the worst
//! mistakes. `charts` draws the charts.

mod charts;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Class, Classification, Fit, Measures, Mistake, Probability, ScoredRow, Threshold};

/// Marks a report as written by this program, so that only reports are overwritten.
pub const GENERATOR: &str = "local-model-mcp eval";

/// Light and dark colors, which replace the colors of the charts.
const STYLE: &str = include_str!("report.css");

/// The content of a report.
pub struct HtmlReport<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The file's name.
    pub data: &'a str,
    /// Sentences about model, data and calibration.
    pub notes: &'a [String],
    /// All metrics.
    pub measures: &'a Measures,
    /// Name and value of the most important metrics.
    pub figures: &'a [(String, String)],
    /// The threshold that reaches the target accuracy, if one does.
    pub threshold: Option<&'a Threshold>,
    /// The evaluated rows.
    pub rows: &'a [ScoredRow],
    /// The worst mistakes, worst first.
    pub mistakes: &'a [Mistake],
}

impl HtmlReport<'_> {
    /// Returns the HTML file.
    pub fn html(&self) -> String {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="generator" content=(GENERATOR);
                    meta name="color-scheme" content="light dark";
                    title { (self.model) " on " (self.data) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { (self.model) " on " (self.data) }
                    @for note in self.notes { p.note { (note) } }
                    dl.figures {
                        @for (name, value) in self.figures { div { dt { (name) } dd { (value) } } }
                    }
                    (self.charts())
                    (self.mistake_table())
                }
            }
        }
        .into_string()
    }

    fn charts(&self) -> Markup {
        match self.measures {
            Measures::Classification(measures) => self.classification(measures),
            Measures::MultiLabel(measures) => class_table(&measures.classes, "rows"),
            Measures::Tagging(measures) => class_table(&measures.classes, "entities"),
            Measures::Regression(_) => {
                let points: Vec<(f64, f64)> = self.rows.iter().filter_map(ScoredRow::numbers).collect();
                let caption = "Predictions on the line are correct.";
                figure("Predicted and correct numbers", &charts::scatter(&points), caption)
            }
        }
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
            (class_table(&measures.classes, "rows"))
        }
    }

    fn coverage(&self, measures: &Classification) -> Markup {
        let curve = measures.fit.as_ref().map_or_else(|| measures.coverage.clone(), Fit::coverage);
        let dot = self.threshold.map(|threshold| (threshold.coverage, threshold.accuracy));
        let caption = self.threshold.map_or_else(
            || "The threshold falls from left to right.".to_owned(),
            |threshold| {
                format!(
                    "Dot: with a threshold of {}, {:.1} % of the rows are answered and {:.1} % of \
                     those answers are correct.",
                    threshold.threshold,
                    100.0 * threshold.coverage,
                    100.0 * threshold.accuracy
                )
            },
        );
        figure("Accuracy and coverage by threshold", &charts::coverage(&curve, dot), &caption)
    }

    fn mistake_table(&self) -> Markup {
        let heads = ["row", "text", "correct", "predicted", "confidence"];
        html! {
            @if !self.mistakes.is_empty() {
                h2 { "Worst mistakes" }
                div.wide { table {
                    thead { tr { @for head in heads { th { (head) } } } }
                    tbody {
                        @for mistake in self.mistakes {
                            tr {
                                td.number { (mistake.row) }
                                td.text { (mistake.text) }
                                td { (mistake.right) }
                                td { (mistake.prediction) }
                                td.number {
                                    @if let Some(confidence) = mistake.confidence {
                                        (format!("{confidence:.4}"))
                                    }
                                }
                            }
                        }
                    }
                } }
            }
        }
    }
}

fn reliability(title: &str, probability: &Probability) -> Markup {
    let caption = format!("Expected calibration error {:.4}", probability.expected_calibration_error);
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

/// A table by label. `counted` names what `support` counts.
fn class_table(classes: &[Class], counted: &str) -> Markup {
    html! {
        h2 { "By label" }
        div.wide { table {
            thead { tr { @for head in ["label", "precision", "recall", "F1", counted] { th { (head) } } } }
            tbody {
                @for class in classes {
                    tr {
                        td { (class.label) }
                        @for value in [class.precision, class.recall, class.f1] {
                            td.number { (format!("{value:.4}")) }
                        }
                        td.number { (class.support) }
                    }
                }
            }
        } }
    }
}
