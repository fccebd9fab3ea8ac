//! Charts as SVG. They are drawn in a few colours that the page's style sheet replaces, so that one drawing serves light and
//! dark; shades are made by opacity.

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::evaluation::{BINS, Bin, Coverage};

/// Texts, axes.
pub(super) const INK: &str = "#101010";
/// Grid lines.
pub(super) const GRID: &str = "#D0D0D0";
/// What the chart is about.
pub(super) const ACCENT: &str = "#2060D0";
/// What it is compared with.
pub(super) const OTHER: &str = "#D06020";

const INK_COLOUR: RGBColor = RGBColor(0x10, 0x10, 0x10);
const GRID_COLOUR: RGBColor = RGBColor(0xD0, 0xD0, 0xD0);
const ACCENT_COLOUR: RGBColor = RGBColor(0x20, 0x60, 0xD0);
const OTHER_COLOUR: RGBColor = RGBColor(0xD0, 0x60, 0x20);

const SIZE: (u32, u32) = (440, 360);
const FONT: (&str, u32) = ("sans-serif", 13);
/// Beyond these a matrix is a table to be read as JSON.
pub(super) const MOST_LABELS: usize = 25;
/// Opacity of the fullest cell, so that its text can still be read.
const FULL: f64 = 0.7;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Failure = Box<dyn std::error::Error>;

/// Draws into a string. Nothing but a defect can make it fail, and then the page says so in the chart's place.
fn drawn(size: (u32, u32), draw: impl FnOnce(&Area) -> Result<(), Failure>) -> String {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let outcome = draw(&area).and_then(|()| area.present().map_err(Into::into));
    drop(area);
    match outcome {
        Ok(()) => svg,
        Err(error) => format!("<p>this chart could not be drawn: {}</p>", error.to_string().replace('<', "&lt;")),
    }
}

type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A chart with both axes named and a grid at their numbers, which `y_numbers` may write in its own way.
fn axes<'a>(
    area: &Area<'a>,
    (x_name, x): (&str, std::ops::Range<f64>),
    (y_name, y): (&str, std::ops::Range<f64>),
    y_numbers: Option<&dyn Fn(&f64) -> String>,
) -> Result<Chart<'a>, Failure> {
    let mut chart =
        ChartBuilder::on(area).margin(10).x_label_area_size(40).y_label_area_size(56).build_cartesian_2d(x, y)?;
    let mut mesh = chart.configure_mesh();
    if let Some(shown) = y_numbers {
        mesh.y_label_formatter(shown);
    }
    mesh.x_desc(x_name)
        .y_desc(y_name)
        .label_style(FONT.into_font().color(&INK_COLOUR))
        .axis_style(INK_COLOUR)
        .bold_line_style(GRID_COLOUR)
        .light_line_style(TRANSPARENT)
        .draw()?;
    Ok(chart)
}

/// How accurate answers of each confidence are, beside the diagonal on which the two agree.
pub(super) fn reliability(bins: &[Bin]) -> String {
    drawn(SIZE, |area| {
        let mut chart = axes(area, ("confidence", 0.0..1.0), ("accuracy", 0.0..1.0), None)?;
        let width = 1.0 / BINS as f64;
        chart.draw_series(bins.iter().enumerate().filter(|(_, bin)| bin.rows > 0).map(|(number, bin)| {
            let left = number as f64 * width;
            Rectangle::new(
                [(left + 0.002, 0.0), (left + width - 0.002, bin.accuracy)],
                ACCENT_COLOUR.mix(0.75).filled(),
            )
        }))?;
        chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], INK_COLOUR.stroke_width(1)))?;
        chart.draw_series(
            bins.iter()
                .filter(|bin| bin.rows > 0)
                .map(|bin| Circle::new((bin.mean_confidence, bin.accuracy), 3, OTHER_COLOUR.filled())),
        )?;
        Ok(())
    })
}

/// How many answers have each confidence.
pub(super) fn histogram(bins: &[Bin]) -> String {
    let most = bins.iter().map(|bin| bin.rows).max().unwrap_or_default().max(1);
    drawn(SIZE, |area| {
        let mut chart = axes(
            area,
            ("confidence", 0.0..1.0),
            ("rows", 0.0..most as f64 * 1.05),
            Some(&|rows| format!("{rows:.0}")),
        )?;
        let width = 1.0 / BINS as f64;
        chart.draw_series(bins.iter().enumerate().map(|(number, bin)| {
            let left = number as f64 * width;
            Rectangle::new(
                [(left + 0.002, 0.0), (left + width - 0.002, bin.rows as f64)],
                ACCENT_COLOUR.mix(0.75).filled(),
            )
        }))?;
        Ok(())
    })
}

/// Accuracy of the answers that remain, by the share that remains; `marked` is the point of the threshold in use or proposed.
pub(super) fn coverage(points: &[Coverage], marked: Option<(f64, f64)>) -> String {
    let line: Vec<(f64, f64)> =
        points.iter().filter_map(|point| point.accuracy.map(|accuracy| (point.coverage, accuracy))).collect();
    // What a handful of rows comes to is noise, but below the least there is nothing to see.
    let lowest = line.iter().filter(|point| point.0 > 0.02).map(|point| point.1).fold(1.0, f64::min);
    let bottom = ((lowest - 0.02) * 10.0).floor().max(0.0) / 10.0;
    drawn(SIZE, |area| {
        let mut chart = axes(area, ("share of the rows answered", 0.0..1.0), ("accuracy of those", bottom..1.0), None)?;
        chart.draw_series(LineSeries::new(
            line.into_iter().filter(|point| point.1 >= bottom),
            ACCENT_COLOUR.stroke_width(2),
        ))?;
        if let Some(point) = marked {
            chart.draw_series([Circle::new(point, 5, OTHER_COLOUR.filled())])?;
        }
        Ok(())
    })
}

/// Predicted numbers by right ones, beside the diagonal.
pub(super) fn scatter(points: &[(f64, f64)]) -> String {
    let all = || points.iter().flat_map(|(a, b)| [*a, *b]);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let room = ((high - low) * 0.05).max(1e-6);
    let range = (low - room)..(high + room);
    drawn(SIZE, |area| {
        let mut chart = axes(area, ("right", range.clone()), ("predicted", range.clone()), None)?;
        let diagonal = [(range.start, range.start), (range.end, range.end)];
        chart.draw_series(LineSeries::new(diagonal, INK_COLOUR.stroke_width(1)))?;
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, ACCENT_COLOUR.mix(0.5).filled())))?;
        Ok(())
    })
}

/// Rows by right label (down) and prediction (across), each row's shade its share.
pub(super) fn confusion(labels: &[String], matrix: &[Vec<u64>]) -> String {
    let pixels = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let count = pixels(labels.len());
    let cell = (520 / count).clamp(30, 90);
    let longest = labels.iter().map(|label| label.chars().count()).max().unwrap_or_default();
    let shown = |label: &str| -> String {
        if label.chars().count() > 18 { label.chars().take(17).chain(['…']).collect() } else { label.to_owned() }
    };
    let (left, top) = (40 + 8 * pixels(longest.min(18)), 64);
    let size = ((left + cell * count + 20) as u32, (top + cell * count + 20) as u32);
    drawn(size, |area| {
        let text = |anchor: Pos| FONT.into_font().color(&INK_COLOUR).pos(anchor);
        let centred = || text(Pos::new(HPos::Center, VPos::Center));
        area.draw(&Text::new("predicted", (left + cell * count / 2, 12), centred()))?;
        for (right, counts) in matrix.iter().enumerate() {
            let (y, support) = (top + cell * pixels(right), counts.iter().sum::<u64>().max(1));
            let name =
                Text::new(shown(&labels[right]), (left - 8, y + cell / 2), text(Pos::new(HPos::Right, VPos::Center)));
            area.draw(&name)?;
            for (predicted, rows) in counts.iter().enumerate() {
                let x = left + cell * pixels(predicted);
                let shade = ACCENT_COLOUR.mix(FULL * *rows as f64 / support as f64).filled();
                area.draw(&Rectangle::new([(x, y), (x + cell, y + cell)], shade))?;
                area.draw(&Rectangle::new([(x, y), (x + cell, y + cell)], GRID_COLOUR.stroke_width(1)))?;
                area.draw(&Text::new(rows.to_string(), (x + cell / 2, y + cell / 2), centred()))?;
            }
        }
        for (predicted, label) in labels.iter().enumerate() {
            let x = left + cell * pixels(predicted) + cell / 2;
            // Names that are wider than their column take turns on two lines.
            let line = if 8 * pixels(longest) > cell { pixels(predicted % 2) } else { 0 };
            area.draw(&Text::new(shown(label), (x, top - 12 - 18 * line), centred()))?;
        }
        Ok(())
    })
}
