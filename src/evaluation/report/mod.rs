//! An evaluation as one HTML page that needs nothing but a browser: measures, charts, the worst mistakes. The charts are
//! drawn in `plots`.

mod plots;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::evaluation::calibration::Threshold;
use crate::evaluation::{Class, Classification, Fit, Gold, Judged, Measures, Mistake, Probability, scores};
use plots::{ACCENT, GRID, INK, MOST_LABELS, OTHER};

/// How a page of ours is told from somebody's own file.
pub const GENERATOR: &str = "local-model-mcp eval";

/// What a page shows.
pub struct Page<'a> {
    pub model: &'a str,
    /// The file's name.
    pub data: &'a str,
    /// Sentences about model, data and calibration.
    pub notes: &'a [String],
    pub measures: &'a Measures,
    /// Measures in short, name and value.
    pub figures: &'a [(String, String)],
    pub threshold: Option<&'a Threshold>,
    pub rows: &'a [Judged],
    pub mistakes: &'a [Mistake],
}

impl Page<'_> {
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
                    style { (PreEscaped(style())) }
                }
                body {
                    h1 { (self.model) " on " (self.data) }
                    @for note in self.notes { p.note { (note) } }
                    dl.figures {
                        @for (name, value) in self.figures { div { dt { (name) } dd { (value) } } }
                    }
                    @match self.measures {
                        Measures::Classification(found) => { (self.classification(found)) }
                        Measures::MultiLabel(found) => { (classes(&found.classes, "rows")) }
                        Measures::Regression(_) => { (figure("Predicted and right numbers", &plots::scatter(&self.points()), "On the line they are the same.")) }
                        Measures::Tagging(found) => { (classes(&found.classes, "entities")) }
                    }
                    (self.worst())
                }
            }
        }
        .into_string()
    }

    fn classification(&self, found: &Classification) -> Markup {
        let names: Vec<String> = found.classes.iter().map(|class| class.label.to_string()).collect();
        let marked = self.threshold.map(|threshold| (threshold.coverage, threshold.accuracy));
        let curve = found.fit.as_ref().map_or_else(|| found.coverage.clone(), Fit::coverage);
        html! {
            div.charts {
                @if names.len() <= MOST_LABELS {
                    (figure("Confusion", &plots::confusion(&names, &found.confusion), "Rows by right label (down) and prediction (across); the shade is the share of the row."))
                }
                (figure("Confidence", &plots::histogram(&found.probability.bins), "How many rows have each confidence, as the server gives it."))
                @if let Some(fit) = &found.fit {
                    (reliability("Reliability at temperature 1", &fit.before))
                    (reliability(&format!("Reliability at temperature {}", fit.temperature), &fit.held_out))
                    p.note { "At the fitted temperature, each row was given the one fitted on the four fifths of the file that it is not in. \
                              Bars on the diagonal mean that confidence is accuracy; dots stand at each bar's mean confidence." }
                } @else {
                    (reliability("Reliability", &found.probability))
                }
                (figure("What is left above a threshold", &plots::coverage(&curve, marked), &match self.threshold {
                    Some(found) => format!("The dot: at a threshold of {} the model answers {:.1} % of the rows and is right in {:.1} % of those.",
                        found.threshold, 100.0 * found.coverage, 100.0 * found.accuracy),
                    None => "From left to right the threshold falls.".into(),
                }))
            }
            (classes(&found.classes, "rows"))
        }
    }

    fn points(&self) -> Vec<(f64, f64)> {
        let point = |judged: &Judged| match judged.gold {
            Gold::Number(gold) => scores(judged).first().map(|score| (gold, f64::from(*score))),
            _ => None,
        };
        self.rows.iter().filter_map(point).collect()
    }

    fn worst(&self) -> Markup {
        html! {
            @if !self.mistakes.is_empty() {
                h2 { "Worst mistakes" }
                div.wide { table {
                    thead { tr { th { "row" } th { "text" } th { "right" } th { "predicted" } th { "confidence" } } }
                    tbody {
                        @for mistake in self.mistakes {
                            tr {
                                td.number { (mistake.row) }
                                td.text { (mistake.text) }
                                td { (mistake.right) }
                                td { (mistake.prediction) }
                                td.number { @if let Some(confidence) = mistake.confidence { (format!("{confidence:.4}")) } }
                            }
                        }
                    }
                } }
            }
        }
    }
}

fn reliability(title: &str, probability: &Probability) -> Markup {
    let note = format!("Expected calibration error {:.4}", probability.expected_calibration_error);
    figure(title, &plots::reliability(&probability.bins), &note)
}

fn figure(title: &str, svg: &str, note: &str) -> Markup {
    html! {
        figure role="img" aria-label=(title) {
            h2 { (title) }
            (PreEscaped(svg))
            figcaption { (note) }
        }
    }
}

fn classes(classes: &[Class], counted: &str) -> Markup {
    html! {
        h2 { "By label" }
        div.wide { table {
            thead { tr { th { "label" } th { "precision" } th { "recall" } th { "F1" } th { (counted) } } }
            tbody {
                @for class in classes {
                    tr {
                        td { (class.label) }
                        @for value in [class.precision, class.recall, class.f1] { td.number { (format!("{value:.4}")) } }
                        td.number { (class.support) }
                    }
                }
            }
        } }
    }
}

/// Colours are told apart by lightness as well as by hue.
fn style() -> String {
    let colours = |ink: &str, paper: &str, grid: &str, accent: &str, other: &str| {
        format!("--ink:{ink};--paper:{paper};--grid:{grid};--accent:{accent};--other:{other}")
    };
    let light = colours("#1b1f24", "#ffffff", "#d4d9df", "#1f63c6", "#b4480f");
    let dark = colours("#e4e7eb", "#14181d", "#3a424c", "#6aa5ff", "#f0a05a");
    let mut style = format!(
        ":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\
         body{{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         h1{{font-size:1.5rem}}h2{{font-size:1.1rem;margin:1.5rem 0 .5rem}}.note,figcaption{{opacity:.8;font-size:.9rem;max-width:44rem}}\
         .figures{{display:flex;flex-wrap:wrap;gap:.75rem;margin:1.5rem 0}}.figures div{{border:1px solid var(--grid);border-radius:.5rem;padding:.5rem 1rem}}\
         dt{{font-size:.85rem;opacity:.8}}dd{{margin:0;font-size:1.25rem;font-variant-numeric:tabular-nums}}\
         .charts{{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}}.charts .note{{flex-basis:100%;margin:0}}figure{{margin:0;flex:0 1 440px;min-width:0}}\
         svg{{max-width:100%;height:auto}}.wide{{overflow-x:auto}}table{{border-collapse:collapse}}th,td{{text-align:left;padding:.3rem .8rem;border-bottom:1px solid var(--grid);vertical-align:top}}\
         .number{{text-align:right;font-variant-numeric:tabular-nums}}.text{{max-width:30rem;overflow-wrap:anywhere}}"
    );
    for (drawn, shown) in [(INK, "ink"), (GRID, "grid"), (ACCENT, "accent"), (OTHER, "other")] {
        style += &format!("[fill=\"{drawn}\"]{{fill:var(--{shown})}}[stroke=\"{drawn}\"]{{stroke:var(--{shown})}}");
    }
    style
}
