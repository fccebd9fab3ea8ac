//! Charts as SVG. They are drawn in four colors that the report's style sheet replaces, so that one
//! drawing serves light and dark mode. Shades use opacity.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::probability::BINS;
use crate::{Bin, Class, Coverage};

/// Text and axes. `report.css` names these four colors too.
const INK: RGBColor = RGBColor(0x10, 0x10, 0x10);
const GRID: RGBColor = RGBColor(0xD0, 0xD0, 0xD0);
/// The subject of a chart.
const ACCENT: RGBColor = RGBColor(0x20, 0x60, 0xD0);
/// The comparison with the subject.
const OTHER: RGBColor = RGBColor(0xD0, 0x60, 0x20);

const SIZE: (u32, u32) = (440, 360);
const FONT: (&str, u32) = ("sans-serif", 13);
/// Maximum number of labels in a confusion matrix. A larger one is unreadable as a chart.
pub(super) const MAX_LABELS: usize = 25;
/// Maximum length of a label in a confusion matrix, in characters.
const MAX_LABEL_CHARACTERS: usize = 18;
/// Opacity of the fullest cell, low enough that its text stays readable.
const FULL: f64 = 0.7;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Failure = Box<dyn std::error::Error>;

/// Draws into a string. Only a bug can make it fail; the report then has the error in place of the
/// chart.
fn draw_svg(size: (u32, u32), draw: impl FnOnce(&Area) -> Result<(), Failure>) -> String {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let outcome = draw(&area).and_then(|()| area.present().map_err(Into::into));
    drop(area);
    match outcome {
        Ok(()) => svg,
        Err(error) => {
            let message = error.to_string().replace('<', "&lt;");
            format!("<p>this chart could not be drawn: {message}</p>")
        }
    }
}

/// Draws two named axes with a grid. `format_y` formats the numbers of the second axis.
fn draw_axes<'a>(
    area: &Area<'a>,
    (x_name, x): (&str, Range<f64>),
    (y_name, y): (&str, Range<f64>),
    format_y: Option<&dyn Fn(&f64) -> String>,
) -> Result<Chart<'a>, Failure> {
    let mut builder = ChartBuilder::on(area);
    builder.margin(10).x_label_area_size(40).y_label_area_size(56);
    let mut chart = builder.build_cartesian_2d(x, y)?;
    let mut mesh = chart.configure_mesh();
    if let Some(format_y) = format_y {
        mesh.y_label_formatter(format_y);
    }
    mesh.x_desc(x_name)
        .y_desc(y_name)
        .label_style(FONT.into_font().color(&INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .draw()?;
    Ok(chart)
}

/// Draws one bar for each bin that has rows.
fn draw_bars(chart: &mut Chart, bins: &[Bin], height: fn(&Bin) -> f64) -> Result<(), Failure> {
    let width = 1.0 / BINS as f64;
    let filled = bins.iter().enumerate().filter(|(_, bin)| bin.rows > 0);
    chart.draw_series(filled.map(|(index, bin)| {
        let left = index as f64 * width;
        let corners = [(left + 0.002, 0.0), (left + width - 0.002, height(bin))];
        Rectangle::new(corners, ACCENT.mix(0.75).filled())
    }))?;
    Ok(())
}

/// Accuracy by confidence, with the diagonal on which the two are equal.
pub(super) fn reliability(bins: &[Bin]) -> String {
    draw_svg(SIZE, |area| {
        let mut chart = draw_axes(area, ("confidence", 0.0..1.0), ("accuracy", 0.0..1.0), None)?;
        draw_bars(&mut chart, bins, |bin| bin.accuracy)?;
        chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], INK.stroke_width(1)))?;
        let filled = bins.iter().filter(|bin| bin.rows > 0);
        let dot = |bin: &Bin| Circle::new((bin.mean_confidence, bin.accuracy), 3, OTHER.filled());
        chart.draw_series(filled.map(dot))?;
        Ok(())
    })
}

/// The number of rows by confidence.
pub(super) fn histogram(bins: &[Bin]) -> String {
    let most = bins.iter().map(|bin| bin.rows).max().unwrap_or_default().max(1);
    draw_svg(SIZE, |area| {
        let rows = ("rows", 0.0..most as f64 * 1.05);
        let integer = |rows: &f64| format!("{rows:.0}");
        let mut chart = draw_axes(area, ("confidence", 0.0..1.0), rows, Some(&integer))?;
        draw_bars(&mut chart, bins, |bin| bin.rows as f64)
    })
}

/// Accuracy of the rows that remain above a threshold, by their share. `dot` marks one threshold.
pub(super) fn coverage(points: &[Coverage], dot: Option<(f64, f64)>) -> String {
    let point = |point: &Coverage| point.accuracy.map(|accuracy| (point.coverage, accuracy));
    let line: Vec<(f64, f64)> = points.iter().filter_map(point).collect();
    // The accuracy of a handful of rows is noise, which must not set the lower end of the axis.
    let many_rows = line.iter().filter(|point| point.0 > 0.02);
    let lowest = many_rows.map(|point| point.1).fold(1.0, f64::min);
    let bottom = ((lowest - 0.02) * 10.0).floor().max(0.0) / 10.0;
    draw_svg(SIZE, |area| {
        let x = ("share of rows answered", 0.0..1.0);
        let mut chart = draw_axes(area, x, ("accuracy of the answers", bottom..1.0), None)?;
        let visible = line.into_iter().filter(|point| point.1 >= bottom);
        chart.draw_series(LineSeries::new(visible, ACCENT.stroke_width(2)))?;
        if let Some(dot) = dot {
            chart.draw_series([Circle::new(dot, 5, OTHER.filled())])?;
        }
        Ok(())
    })
}

/// Predicted numbers by correct ones, with the diagonal.
pub(super) fn scatter(points: &[(f64, f64)]) -> String {
    let all = || points.iter().flat_map(|(a, b)| [*a, *b]);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let margin = ((high - low) * 0.05).max(1e-6);
    let range = (low - margin)..(high + margin);
    draw_svg(SIZE, |area| {
        let (x, y) = (("correct", range.clone()), ("predicted", range.clone()));
        let mut chart = draw_axes(area, x, y, None)?;
        let diagonal = [(range.start, range.start), (range.end, range.end)];
        chart.draw_series(LineSeries::new(diagonal, INK.stroke_width(1)))?;
        let dot = |point: &(f64, f64)| Circle::new(*point, 3, ACCENT.mix(0.5).filled());
        chart.draw_series(points.iter().map(dot))?;
        Ok(())
    })
}

/// Rows by correct label (down) and predicted label (across). The shade is the share of the
/// matrix row.
pub(super) fn confusion(classes: &[Class], matrix: &[Vec<u64>]) -> String {
    let labels: Vec<String> = classes.iter().map(|class| elide(&class.label)).collect();
    let count = pixels(labels.len());
    let cell = (520 / count).clamp(30, 90);
    let widest = labels.iter().map(|label| label.chars().count()).max().unwrap_or_default();
    let label_width = 8 * pixels(widest);
    let (left, top) = (40 + label_width, 64);
    let size = ((left + cell * count + 20) as u32, (top + cell * count + 20) as u32);
    draw_svg(size, |area| {
        let text = |anchor: Pos| FONT.into_font().color(&INK).pos(anchor);
        let centered = || text(Pos::new(HPos::Center, VPos::Center));
        let at_right = || text(Pos::new(HPos::Right, VPos::Center));
        area.draw(&Text::new("predicted", (left + cell * count / 2, 12), centered()))?;
        for (index, (label, counts)) in labels.iter().zip(matrix).enumerate() {
            let y = top + cell * pixels(index);
            let support = counts.iter().sum::<u64>().max(1);
            area.draw(&Text::new(label.clone(), (left - 8, y + cell / 2), at_right()))?;
            for (predicted, rows) in counts.iter().enumerate() {
                let x = left + cell * pixels(predicted);
                let corners = [(x, y), (x + cell, y + cell)];
                let shade = ACCENT.mix(FULL * *rows as f64 / support as f64).filled();
                area.draw(&Rectangle::new(corners, shade))?;
                area.draw(&Rectangle::new(corners, GRID.stroke_width(1)))?;
                let middle = (x + cell / 2, y + cell / 2);
                area.draw(&Text::new(rows.to_string(), middle, centered()))?;
            }
        }
        for (index, label) in labels.iter().enumerate() {
            let x = left + cell * pixels(index) + cell / 2;
            // Labels wider than their column alternate between two lines.
            let line = if label_width > cell { pixels(index % 2) } else { 0 };
            area.draw(&Text::new(label.clone(), (x, top - 12 - 18 * line), centered()))?;
        }
        Ok(())
    })
}

fn pixels(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn elide(label: &str) -> String {
    if label.chars().count() > MAX_LABEL_CHARACTERS {
        label.chars().take(MAX_LABEL_CHARACTERS - 1).chain(['…']).collect()
    } else {
        label.to_owned()
    }
}
