//! The pictures of a report, as SVG text.
//!
//! Colours are those of a light page; the style sheet of the page gives each its counterpart on a dark one.

use std::fmt::Display;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::report::{Latency, Report};
use super::reporting::{shown, thousands};

const SIZE: (u32, u32) = (1040, 300);
const TALL: (u32, u32) = (1040, 360);
/// Octets of the picture left of and below what is drawn; the page lays its hints over the rest.
const LEFT: u32 = 80;
const BELOW: u32 = 34;
const MARGIN: u32 = 12;

pub(super) const ALL: RGBColor = RGBColor(79, 70, 229);
pub(super) const BLOCKED: RGBColor = RGBColor(217, 119, 6);
pub(super) const REFUSED: RGBColor = RGBColor(190, 24, 93);
pub(super) const ALLOWED: RGBColor = RGBColor(13, 148, 136);
const MEDIAN: RGBColor = RGBColor(14, 165, 164);
const P99: RGBColor = RGBColor(80, 72, 230);
const MOST: RGBColor = RGBColor(219, 39, 119);
const RATE: RGBColor = RGBColor(37, 99, 235);
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
        let mut chart = ChartBuilder::on(area)
            .margin(MARGIN)
            .x_label_area_size(BELOW)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(0.0..nines, (least..most).log_scale())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(GRID)
            .x_labels(nines as usize + 1)
            .x_label_formatter(&|nines| percentile_label(*nines))
            .y_label_formatter(&|latency| shown(*latency))
            .label_style(("sans-serif", 16).into_font().color(&INK))
            .draw()
            .map_err(failed)?;
        for (points, colour) in curves {
            chart.draw_series(LineSeries::new(points, colour.stroke_width(2))).map_err(failed)?;
        }
        Ok(())
    })
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
    let points = |of: fn(&super::report::Second) -> f64| -> Vec<(f64, f64)> {
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
        let mut chart = ChartBuilder::on(area)
            .margin(MARGIN)
            .x_label_area_size(BELOW)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(0.0..length, (least..most).log_scale())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(GRID)
            .x_label_formatter(&|second| format!("{second:.0} s"))
            .y_label_formatter(&|latency| shown(*latency))
            .label_style(("sans-serif", 16).into_font().color(&INK))
            .draw()
            .map_err(failed)?;
        let swaps = report.swaps.iter().filter(|swap| swap.at_s < length);
        let marks = swaps.map(|swap| PathElement::new(vec![(swap.at_s, least), (swap.at_s, most)], SWAP));
        chart.draw_series(marks).map_err(failed)?;
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

/// The requests of each second.
pub(super) fn throughput(report: &Report) -> Result<String, ChartError> {
    let most = report.seconds.iter().map(|second| second.requests + second.failures).max().unwrap_or(1);
    let (most, length) = (most.max(1) as f64 * 1.1, report.seconds.len().max(1) as f64);
    let bars =
        |of: fn(&super::report::Second) -> (u64, u64), colour: RGBColor| -> Vec<Rectangle<(f64, f64)>> {
            let bar = |(at, second): (usize, &super::report::Second)| {
                let (from, to) = of(second);
                let at = at as f64;
                let corners = [(at + 0.06, from as f64), (at + 0.94, to as f64)];
                (to > from).then(|| Rectangle::new(corners, colour.filled()))
            };
            report.seconds.iter().enumerate().filter_map(bar).collect()
        };
    draw(SIZE, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(MARGIN)
            .x_label_area_size(BELOW)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(0.0..length, 0.0..most)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(GRID)
            .y_labels(6)
            .x_label_formatter(&|second| format!("{second:.0} s"))
            .y_label_formatter(&|requests| thousands(*requests))
            .label_style(("sans-serif", 16).into_font().color(&INK))
            .draw()
            .map_err(failed)?;
        chart.draw_series(bars(|second| (0, second.requests), RATE)).map_err(failed)?;
        let failures = bars(|second| (second.requests, second.requests + second.failures), FAILED);
        chart.draw_series(failures).map_err(failed)?;
        let swaps = report.swaps.iter().filter(|swap| swap.at_s < length);
        let marks = swaps.map(|swap| PathElement::new(vec![(swap.at_s, 0.0), (swap.at_s, most)], SWAP));
        chart.draw_series(marks).map_err(failed)?;
        Ok(())
    })
}
