//! The pictures of a report, as SVG text.
//!
//! Colours are those of a light page; the style sheet of the page gives each its counterpart on a dark one.

use std::fmt::Display;

use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use super::report::{Latency, Report, Second};
use super::reporting::{shown, thousands};

const SIZE: (u32, u32) = (1040, 300);
const TALL: (u32, u32) = (1040, 360);
/// Octets of the picture left of and below what is drawn; the page lays its hints over the rest.
const LEFT: u32 = 80;
const BELOW: u32 = 34;
const MARGIN: u32 = 12;
/// Right of a label that stands in the middle of its place at the end of an axis.
const HALF_A_LABEL: u32 = 48;

pub(super) const ALL: RGBColor = RGBColor(79, 70, 229);
pub(super) const BLOCKED: RGBColor = RGBColor(217, 119, 6);
pub(super) const REFUSED: RGBColor = RGBColor(190, 24, 93);
pub(super) const ALLOWED: RGBColor = RGBColor(13, 148, 136);
/// One hue for latencies second by second, the deeper the rarer: the hues above are for sorts of answers.
const MEDIAN: RGBColor = RGBColor(125, 190, 250);
const P99: RGBColor = RGBColor(37, 110, 225);
const MOST: RGBColor = RGBColor(22, 38, 95);
const RATE: RGBColor = RGBColor(130, 148, 172);
const FAILED: RGBColor = RGBColor(220, 38, 38);
const SWAP: RGBColor = RGBColor(148, 120, 20);
const INK: RGBColor = RGBColor(90, 98, 112);
const GRID: RGBColor = RGBColor(226, 230, 236);

/// A picture that could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("a chart: {0}")]
pub struct ChartError(String);

fn failed(error: impl Display) -> ChartError {
    ChartError(error.to_string())
}

fn draw(
    size: (u32, u32),
    paint: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), ChartError>,
) -> Result<String, ChartError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        paint(&area)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

/// Latencies against percentiles, which stand as far apart as they are rare: 90, 99, 99.9, …
pub(super) fn percentiles(report: &Report) -> Result<String, ChartError> {
    let lines = [(&report.blocked, BLOCKED), (&report.refused, REFUSED), (&report.allowed, ALLOWED)];
    let mut lines: Vec<(&Latency, RGBColor)> =
        lines.into_iter().filter_map(|(latency, colour)| Some((latency.as_ref()?, colour))).collect();
    if lines.len() != 1 {
        lines.push((&report.all, ALL));
    }
    let nines = (report.all.count.max(10) as f64).log10().ceil().min(7.0);
    let curves: Vec<(Vec<(f64, f64)>, RGBColor)> =
        lines.into_iter().map(|(latency, colour)| (curve(latency, nines), colour)).collect();
    let values = curves.iter().flat_map(|(points, _)| points.iter().map(|(_, latency)| *latency));
    let (least, most) = range(values);
    draw(TALL, |area| {
        let y = (least..most).log_scale().with_key_points(ticks(least, most));
        let mut chart = room(area, HALF_A_LABEL).build_cartesian_2d(0.0..nines, y).map_err(failed)?;
        let labels: Labels<'_> = (&|nines| percentile_label(*nines), &|latency| shown(*latency));
        grid(&mut chart, Some(nines as usize + 1), labels)?;
        for (points, colour) in curves {
            chart.draw_series(LineSeries::new(points, colour.stroke_width(2))).map_err(failed)?;
        }
        Ok(())
    })
}

/// What stands at the axes: below, and to the left.
type Labels<'l> = (&'l dyn Fn(&f64) -> String, &'l dyn Fn(&f64) -> String);

/// Room for a picture and its labels.
fn room<'a, 'b>(
    area: &'a DrawingArea<SVGBackend<'b>, Shift>,
    right: u32,
) -> ChartBuilder<'a, 'a, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder.margin(MARGIN).margin_right(right).x_label_area_size(BELOW).y_label_area_size(LEFT);
    builder
}

/// Axes and lines behind the picture; upright ones, and so many labels below, only when that is said.
fn grid<X, Y>(
    chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    upright: Option<usize>,
    (below, left): Labels<'_>,
) -> Result<(), ChartError>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut mesh = chart.configure_mesh();
    match upright {
        Some(labels) => mesh.x_labels(labels),
        None => mesh.disable_x_mesh(),
    };
    mesh.bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(GRID)
        .y_labels(6)
        .x_label_formatter(&below)
        .y_label_formatter(&left)
        .label_style(("sans-serif", 16).into_font().color(&INK))
        .draw()
        .map_err(failed)
}

/// Round latencies for a logarithmic axis, no more than have room beside each other.
fn ticks(least: f64, most: f64) -> Vec<f64> {
    let steps: &[f64] = match (most / least).log10() {
        decades if decades > 3.0 => &[1.0],
        decades if decades > 0.8 => &[1.0, 2.0, 5.0],
        _ => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0],
    };
    let decades = least.log10().floor() as i32..=most.log10().ceil() as i32;
    let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
    all.filter(|tick| (least..=most).contains(tick)).collect()
}

/// A line through the percentiles up to what the number of requests can tell.
fn curve(latency: &Latency, nines: f64) -> Vec<(f64, f64)> {
    let known = (latency.count.max(1) as f64).log10().min(nines);
    let steps = 200;
    let at = |step: i32| {
        let nines = known * f64::from(step) / f64::from(steps);
        (nines, latency.percentile_us(100.0 * (1.0 - 10_f64.powf(-nines))).max(1.0))
    };
    (0..=steps).map(at).collect()
}

fn percentile_label(nines: f64) -> String {
    match nines.round() as usize {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        more => format!("99.{} %", "9".repeat(more - 2)),
    }
}

/// A range on a logarithmic scale that holds all values.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) = values
        .filter(|value| *value > 0.0)
        .fold((f64::MAX, 1.0_f64), |(least, most), value| (least.min(value), most.max(value)));
    let least = least.min(most);
    (least * 0.8, most * 1.25)
}

/// The latencies of each second.
pub(super) fn latencies(report: &Report) -> Result<String, ChartError> {
    let points = |of: fn(&Second) -> f64| -> Vec<(f64, f64)> {
        let seconds = report.seconds.iter().enumerate().filter(|(_, second)| second.requests > 0);
        seconds.map(|(at, second)| (at as f64 + 0.5, of(second).max(1.0))).collect()
    };
    let lines = [
        (points(|second| second.max_us), MOST, 1),
        (points(|second| second.p99_us), P99, 2),
        (points(|second| second.p50_us), MEDIAN, 2),
    ];
    let (least, most) =
        range(lines.iter().flat_map(|(points, ..)| points.iter().map(|(_, latency)| *latency)));
    let length = report.seconds.len().max(1) as f64;
    draw(SIZE, |area| {
        let y = (least..most).log_scale().with_key_points(ticks(least, most));
        let mut chart = room(area, MARGIN).build_cartesian_2d(0.0..length, y).map_err(failed)?;
        grid(&mut chart, None, (&|second| format!("{second:.0} s"), &|latency| shown(*latency)))?;
        chart.draw_series(swaps(report, length, (least, most))).map_err(failed)?;
        for (points, colour, width) in lines {
            let dots = points
                .iter()
                .map(|point| Circle::new(*point, width + 1, colour.filled()))
                .collect::<Vec<_>>();
            chart.draw_series(LineSeries::new(points, colour.stroke_width(width))).map_err(failed)?;
            if length <= 60.0 {
                chart.draw_series(dots).map_err(failed)?;
            }
        }
        Ok(())
    })
}

/// A line for each swap of policies.
fn swaps(report: &Report, length: f64, (low, high): (f64, f64)) -> Vec<PathElement<(f64, f64)>> {
    let swaps = report.swaps.iter().filter(|swap| swap.at_s < length);
    swaps.map(|swap| PathElement::new(vec![(swap.at_s, low), (swap.at_s, high)], SWAP)).collect()
}

/// The requests of each second.
pub(super) fn throughput(report: &Report) -> Result<String, ChartError> {
    let most = report.seconds.iter().map(|second| second.requests + second.failures).max().unwrap_or(1);
    let (most, length) = (most.max(1) as f64 * 1.1, report.seconds.len().max(1) as f64);
    let bars = |of: fn(&Second) -> (u64, u64), colour: RGBColor| -> Vec<Rectangle<(f64, f64)>> {
        let bar = |(at, second): (usize, &Second)| {
            let (from, to) = of(second);
            let at = at as f64;
            let corners = [(at + 0.06, from as f64), (at + 0.94, to as f64)];
            (to > from).then(|| Rectangle::new(corners, colour.filled()))
        };
        report.seconds.iter().enumerate().filter_map(bar).collect()
    };
    draw(SIZE, |area| {
        let mut chart = room(area, MARGIN).build_cartesian_2d(0.0..length, 0.0..most).map_err(failed)?;
        grid(&mut chart, None, (&|second| format!("{second:.0} s"), &|requests| thousands(*requests)))?;
        chart.draw_series(bars(|second| (0, second.requests), RATE)).map_err(failed)?;
        let failures = bars(|second| (second.requests, second.requests + second.failures), FAILED);
        chart.draw_series(failures).map_err(failed)?;
        chart.draw_series(swaps(report, length, (0.0, most))).map_err(failed)?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_a_logarithmic_axis_are_few_and_apart_whatever_it_spans() {
        for (least, most) in [(80.0, 125.0), (50.0, 900.0), (9.0, 42_000.0), (0.8, 2e8), (1.0, 1.0)] {
            let ticks = ticks(least, most);
            assert!((1..=9).contains(&ticks.len()), "{least} to {most}: {ticks:?}");
            // Of 250 pixels in height, 16 for each.
            let room = (most / least).log10() * 16.0 / 250.0;
            let apart = |pair: &[f64]| (pair[1] / pair[0]).log10() >= room;
            assert!(ticks.windows(2).all(apart), "{least} to {most}: {ticks:?}");
        }
    }
}
