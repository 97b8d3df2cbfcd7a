//! Two reports beside each other.

use std::fmt::Write as _;

use super::plan::Bound;
use super::report::{Latency, Report};
use super::reporting::{PERCENTILES, shown, thousands};

/// What a comparison says.
#[derive(Debug)]
pub struct Comparison {
    /// A table.
    pub text: String,
    /// Whether the second report holds what was asked of it.
    pub holds: bool,
}

/// Compares `after` with `before`. With `at_most`, the latency of `after` at the quantile may be `ratio` times that of
/// `before` at most. A report that is not sound never holds.
#[must_use]
pub fn compare(before: &Report, after: &Report, at_most: Option<(f64, f64)>) -> Comparison {
    type Number = fn(&Report) -> f64;
    type Part = fn(&Report) -> Option<&Latency>;
    let mut text = String::new();
    let mut row = |name: &str, a: String, b: String, ratio: Option<f64>| {
        let ratio =
            ratio.filter(|ratio| ratio.is_finite()).map_or(String::new(), |ratio| format!("{ratio:.2} ×"));
        // Writing into a text cannot fail.
        writeln!(text, "{name:<24} {a:>16} {b:>16} {ratio:>9}").ok();
    };
    row("", "A".to_owned(), "B".to_owned(), None);
    row("began", seconds(before), seconds(after), None);
    row("target", before.target.clone(), after.target.clone(), None);
    row("protocol", before.protocol.as_str().to_owned(), after.protocol.as_str().to_owned(), None);
    let numbers: [(&str, Number); 6] = [
        ("requests/s due", |report| report.rate),
        ("requests/s answered", |report| report.answered_rate),
        ("connections", |report| report.connections as f64),
        ("blocked, %", |report| report.blocked_share * 100.0),
        ("failures", |report| report.failure_count() as f64),
        ("never sent", |report| report.unsent as f64),
    ];
    for (name, number) in numbers {
        let (a, b) = (number(before), number(after));
        row(name, thousands(a), thousands(b), Some(b / a));
    }
    row("in the log", logged(before), logged(after), None);
    let parts: [(&str, Part); 4] = [
        ("all", |report| Some(&report.all)),
        ("blocked", |report| report.blocked.as_ref()),
        ("refused", |report| report.refused.as_ref()),
        ("allowed", |report| report.allowed.as_ref()),
    ];
    for (name, part) in parts {
        let (Some(a), Some(b)) = (part(before), part(after)) else { continue };
        for percentile in PERCENTILES.into_iter().take(6) {
            let ratio = Some(b.percentile_us(percentile) / a.percentile_us(percentile));
            let (a, b) = (a.shown(percentile), b.shown(percentile));
            row(&format!("{name} p{percentile}"), a, b, ratio);
        }
        row(&format!("{name} max"), a.shown_max(), b.shown_max(), Some(b.max_us / a.max_us));
    }
    let mut holds = before.is_sound() && after.is_sound();
    for (name, report) in [("A", before), ("B", after)] {
        if !report.is_sound() {
            writeln!(text, "{name}: NOT everything was right").ok();
        }
        if report.generator.fell_behind {
            writeln!(text, "{name}: the generator fell behind its schedule; these figures show its limit")
                .ok();
        }
    }
    if let Some((quantile, ratio)) = at_most {
        let percentile = quantile * 100.0;
        let found = after.all.percentile_us(percentile) / before.all.percentile_us(percentile);
        let within = found <= ratio;
        holds &= within;
        let word = if within { "holds" } else { "does NOT hold" };
        writeln!(text, "p{percentile} of B is {found:.2} times that of A: {word} {ratio} times").ok();
    }
    Comparison { text, holds }
}

/// What the log said, in a few letters.
fn logged(report: &Report) -> String {
    match (&report.audit, &report.audit_problem) {
        (_, Some(_)) => "unreadable".to_owned(),
        (None, None) => "not asked".to_owned(),
        (Some(audit), None) if audit.is_sound() => "everything".to_owned(),
        (Some(audit), None) => {
            let refusals = audit.refusals.saturating_sub(audit.refusal_records);
            format!("{} missing", audit.missing + audit.twice + refusals)
        }
    }
}

fn seconds(report: &Report) -> String {
    report.began.strftime("%m-%d %H:%M:%S").to_string()
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p{} = {}", self.quantile * 100.0, shown(self.most_us))
    }
}
