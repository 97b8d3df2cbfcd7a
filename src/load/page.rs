//! One page that stands by itself: no script, no resource from elsewhere, light and dark.

use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};
use serde::Serialize;

use super::chart::{self, ChartError};
use super::report::{Latency, Report};
use super::reporting::{PERCENTILES, shown, thousands};

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A picture could not be drawn.
    #[error(transparent)]
    Chart(#[from] ChartError),
    /// The page could not be put together.
    #[error("the page: {0}")]
    Template(#[from] minijinja::Error),
}

/// A line of the table of latencies.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    count: String,
    cells: Vec<String>,
}

/// The report as a page.
///
/// # Errors
/// When a picture or the page cannot be put together, which is a fault of this program.
pub fn page(report: &Report) -> Result<String, PageError> {
    let mut environment = Environment::new();
    environment.add_template("page.html", include_str!("page.html"))?;
    let rows = [
        ("all", Some(&report.all)),
        ("blocked", report.blocked.as_ref()),
        ("refused", report.refused.as_ref()),
        ("allowed", report.allowed.as_ref()),
    ];
    let rows: Vec<Row> = rows.into_iter().filter_map(|(name, latency)| Some(row(name, latency?))).collect();
    let cards = [
        ("answered a second", thousands(report.answered_rate)),
        ("median", report.all.shown(50.0)),
        ("p99", report.all.shown(99.0)),
        ("p99.9", report.all.shown(99.9)),
        ("slowest", report.all.shown_max()),
        ("failures", thousands(report.failure_count() as f64)),
    ];
    let columns: Vec<String> = PERCENTILES.iter().map(|percentile| format!("p{percentile}")).collect();
    let page = environment.get_template("page.html")?.render(context! {
        report => Value::from(Serde(report)),
        sound => report.is_sound(),
        headline => report.headline(),
        began => report.began.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        remarks => report.remarks(),
        cards, columns,
        rows => Value::from(Serde(rows)),
        hints => hints(report),
        percentiles => Value::from_safe_string(chart::percentiles(report)?),
        latencies => Value::from_safe_string(chart::latencies(report)?),
        throughput => Value::from_safe_string(chart::throughput(report)?),
        steps => steps(report),
    })?;
    Ok(page)
}

fn row(name: &'static str, latency: &Latency) -> Row {
    let mut cells: Vec<String> = PERCENTILES.iter().map(|percentile| latency.shown(*percentile)).collect();
    cells.push(latency.shown_max());
    Row { name, count: thousands(latency.count as f64), cells }
}

/// What a second says when it is pointed at.
fn hints(report: &Report) -> Vec<String> {
    let hint = |(at, second): (usize, &super::report::Second)| {
        let swaps = report.swaps.iter().filter(|swap| swap.at_s as usize == at);
        let swaps: String =
            swaps.map(|swap| format!("\npolicies {} ({:.0} ms)", swap.result, swap.took_ms)).collect();
        format!(
            "second {at}\n{} answered, {} failed\nmedian {}\np99 {}\nslowest {}{swaps}",
            thousands(second.requests as f64),
            second.failures,
            shown(second.p50_us),
            shown(second.p99_us),
            shown(second.max_us)
        )
    };
    report.seconds.iter().enumerate().map(hint).collect()
}

/// Rates that were tried: rate, answered, latency, what came of it.
fn steps(report: &Report) -> Vec<(String, String, String, &'static str)> {
    let steps = report.search.iter().flat_map(|search| &search.steps);
    steps
        .map(|step| {
            let word = match (step.held, step.fell_behind) {
                (true, _) => "holds",
                (false, true) => "no, and the generator fell behind",
                (false, false) => "no",
            };
            (thousands(step.rate), thousands(step.answered_rate), shown(step.latency_us), word)
        })
        .collect()
}
