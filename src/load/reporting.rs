//! From what was counted to a report, and from a report to a text.

use std::fmt::Write as _;
use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Serializer, V2DeflateSerializer},
};

use super::judge::Fault;
use super::report::{FORMAT, Failures, Generator, Latency, Report, Second, Swap};
use super::run::Run;
use super::tally::{Tally, histogram};

/// The percentiles that reports name.
pub(super) const PERCENTILES: [f64; 7] = [50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 99.999];
/// A generator that is late with more than this part of its requests, or that uses more than that of a processor, was
/// the limit.
const LATE_SHARE: f64 = 0.01;
const BUSY: f64 = 0.9;

impl Run {
    /// The report; what the log says of it, and how its rate was found, is added by whoever knows.
    #[must_use]
    pub fn report(&self) -> Report {
        let (plan, tally) = (&self.plan, &self.tally);
        let mut all = histogram();
        for part in [&tally.pages, &tally.refusals, &tally.passed] {
            // All have the same bounds.
            all.add(part).ok();
        }
        let measured = all.len().saturating_sub(tally.unsent);
        Report {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            began: self.began,
            target: plan.target.to_string(),
            protocol: plan.protocol,
            connections: plan.connections,
            streams: if plan.protocol.is_http2() { plan.streams } else { 1 },
            threads: plan.threads,
            rate: plan.rate,
            duration_s: self.sending().as_secs_f64(),
            warm_up_s: plan.warm_up.as_secs_f64(),
            blocked_share: plan.blocked_share,
            hosts: [plan.blocked.len(), plan.allowed.len()],
            seed: plan.seed,
            sent: tally.sent,
            answered_rate: measured as f64 / self.measured_seconds(),
            unsent: tally.unsent,
            renewed: tally.renewed,
            failures: failures(tally),
            generator: self.generator(),
            all: latency(&all),
            blocked: some(&tally.pages),
            refused: some(&tally.refusals),
            allowed: some(&tally.passed),
            seconds: tally.seconds.iter().map(|one| second(&one.latency, one.failures)).collect(),
            swaps: self.swaps.clone(),
            audit: None,
            audit_problem: None,
            interrupted: self.is_interrupted(),
            search: None,
        }
    }

    /// How long was measured: as planned, or until it was told to stop.
    fn sending(&self) -> Duration {
        let (from, _) = self.tally.measured();
        self.tally.cut.map_or(self.plan.duration, |cut| cut.saturating_duration_since(from))
    }

    /// From the first request that counts to the last answer, and as long as was sent at least.
    fn measured_seconds(&self) -> f64 {
        let (from, ended) = self.tally.measured();
        let seconds = ended.saturating_duration_since(from).max(self.sending());
        // Told to stop in the warm-up, nothing was measured in no time.
        seconds.as_secs_f64().max(1e-3)
    }

    fn generator(&self) -> Generator {
        let Tally { lag, late, cpu, .. } = &self.tally;
        let at = |quantile| lag.value_at_quantile(quantile) as f64 / 1e3;
        let seconds = self.measured_seconds() + self.plan.warm_up.as_secs_f64();
        let processor = cpu.as_secs_f64() / seconds / self.plan.threads as f64;
        let late_share = *late as f64 / lag.len().max(1) as f64;
        Generator {
            lag_p50_us: at(0.5),
            lag_p99_us: at(0.99),
            lag_max_us: lag.max() as f64 / 1e3,
            late_sends: *late,
            processor,
            fell_behind: late_share > LATE_SHARE || processor > BUSY,
        }
    }
}

fn failures(tally: &Tally) -> Vec<Failures> {
    let named = Fault::ALL.iter().zip(&tally.faults).filter(|(_, fault)| fault.count > 0);
    named
        .map(|(kind, fault)| Failures {
            kind: kind.as_str().to_owned(),
            count: fault.count,
            example: fault.example.clone(),
        })
        .collect()
}

fn some(histogram: &Histogram<u64>) -> Option<Latency> {
    (!histogram.is_empty()).then(|| latency(histogram))
}

fn latency(histogram: &Histogram<u64>) -> Latency {
    let at = |percentile: f64| (percentile, histogram.value_at_percentile(percentile) as f64 / 1e3);
    Latency {
        count: histogram.len(),
        mean_us: histogram.mean() / 1e3,
        percentiles: PERCENTILES.into_iter().map(at).collect(),
        max_us: histogram.max() as f64 / 1e3,
        histogram_ns: histogram
            .iter_recorded()
            .map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
            .collect(),
        hdr_histogram: interchange(histogram),
    }
}

/// The histogram as HdrHistogram's tools exchange it; nothing where it cannot be had, since the same is there in pairs.
fn interchange(histogram: &Histogram<u64>) -> Option<String> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).ok()?;
    Some(STANDARD.encode(bytes))
}

fn second(histogram: &Histogram<u64>, failures: u64) -> Second {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    let max_us = histogram.max() as f64 / 1e3;
    Second { requests: histogram.len(), failures, p50_us: at(0.5), p99_us: at(0.99), max_us }
}

/// A latency for people: three digits and a unit.
pub(super) fn shown(microseconds: f64) -> String {
    let (value, unit) = match microseconds {
        us if us < 1_000.0 => (us, "µs"),
        us if us < 1_000_000.0 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    let digits = match value {
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// A number as it is, to two places behind the point.
fn exact(number: f64) -> String {
    let hundredths = (number * 100.0).round();
    match hundredths % 100.0 == 0.0 || number >= 1_000.0 {
        true => thousands(number),
        false => format!("{number:.2}").trim_end_matches('0').to_owned(),
    }
}

impl Latency {
    /// A percentile for people; nothing when nothing was measured.
    pub(super) fn shown(&self, percentile: f64) -> String {
        if self.count == 0 { "-".to_owned() } else { shown(self.percentile_us(percentile)) }
    }

    /// The greatest.
    pub(super) fn shown_max(&self) -> String {
        if self.count == 0 { "-".to_owned() } else { shown(self.max_us) }
    }
}

/// A number with its thousands apart.
pub(super) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Report {
    /// The report as a text of a few lines.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a text cannot fail.
        self.write(&mut text).ok();
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{}", self.headline())?;
        let heads = columns(|percentile| format!("p{percentile}"));
        writeln!(out, "{:<10} {:>11} {heads} {:>9}", "", "requests", "max")?;
        let rows = [
            ("all", Some(&self.all)),
            ("blocked", self.blocked.as_ref()),
            ("refused", self.refused.as_ref()),
            ("allowed", self.allowed.as_ref()),
        ];
        for (name, latency) in rows {
            let Some(latency) = latency else { continue };
            let cells = columns(|percentile| latency.shown(percentile));
            let count = thousands(latency.count as f64);
            writeln!(out, "{name:<10} {count:>11} {cells} {:>9}", latency.shown_max())?;
        }
        for failures in &self.failures {
            writeln!(out, "FAILED: {} {}, first: {}", failures.count, failures.kind, failures.example)?;
        }
        self.remarks().iter().try_for_each(|remark| writeln!(out, "{remark}"))?;
        let verdict = if self.is_sound() { "every answer was right" } else { "NOT everything was right" };
        writeln!(out, "{verdict}: {} requests, {} failures", self.sent, self.failure_count())
    }

    /// What was asked for, and what came of it.
    pub(super) fn headline(&self) -> String {
        format!(
            "{} {}: {} of {} requests/s answered, {} s, {} connections, {} % blocked",
            self.target,
            self.protocol.as_str(),
            exact(self.answered_rate),
            exact(self.rate),
            exact(self.duration_s),
            self.connections,
            exact(self.blocked_share * 100.0)
        )
    }

    /// What has to be known to read the figures right.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let generator = &self.generator;
        remarks.push(format!(
            "generator: sent {} late at the median, {} at p99, {} at most; {:.0} % of a processor a thread",
            shown(generator.lag_p50_us),
            shown(generator.lag_p99_us),
            shown(generator.lag_max_us),
            generator.processor * 100.0
        ));
        if self.interrupted {
            remarks.push(
                "INTERRUPTED: told to stop before all was sent; this is what was sent until then".to_owned(),
            );
        }
        if self.failure_count() > 0 {
            remarks.push("requests that failed are not in the percentiles".to_owned());
        }
        if generator.fell_behind {
            remarks.push(format!(
                "THE GENERATOR FELL BEHIND its schedule ({} requests over a millisecond late though a connection was \
                 free): these figures show its limit, not the edge's; give it a lower rate or more --threads",
                generator.late_sends
            ));
        }
        if self.unsent > 0 {
            remarks.push(format!(
                "{} requests were due and never sent: every connection was busy to the end. The edge does not hold \
                 this rate, or there are too few --connections",
                self.unsent
            ));
        }
        if self.renewed > 0 {
            remarks
                .push(format!("{} connections had ended between requests and were made again", self.renewed));
        }
        if !self.swaps.is_empty() {
            let told = |swap: &Swap| {
                let failed = if swap.failed { "FAILED: " } else { "" };
                format!("{failed}{} at {:.1} s", swap.result, swap.at_s)
            };
            let list: Vec<String> = self.swaps.iter().map(told).collect();
            remarks.push(format!("policies: {}", list.join(", ")));
        }
        remarks.extend(
            self.audit_problem.iter().map(|problem| format!("the log could NOT be asked: {problem}")),
        );
        remarks.extend(self.audit.as_ref().map(|audit| {
            format!(
                "log `{}`: {} ids, {} missing, {} twice; {} refusals, {} records of refusals; {} events owned up as \
                 missed{}",
                audit.directory,
                audit.ids,
                audit.missing,
                audit.twice,
                audit.refusals,
                audit.refusal_records,
                audit.gaps,
                if audit.examples.is_empty() { String::new() } else { format!("; missing: {}", audit.examples.join(" ")) }
            )
        }));
        if let Some(search) = &self.search {
            let bound = search.bound;
            remarks.push(match search.found {
                Some(rate) => format!("highest rate within {bound}: {}/s", thousands(rate)),
                None => format!("no rate was found within {bound}"),
            });
        }
        remarks
    }
}

/// The columns of percentiles.
fn columns(cell: impl Fn(f64) -> String) -> String {
    let cells: Vec<String> =
        PERCENTILES.iter().take(6).map(|percentile| format!("{:>9}", cell(*percentile))).collect();
    cells.join(" ")
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;

    use super::*;

    #[test]
    fn latencies_and_counts_are_written_for_people() {
        assert_eq!(
            [shown(1.234), shown(56.78), shown(1_500.0), shown(2_345_678.0)],
            ["1.23 µs", "56.8 µs", "1.50 ms", "2.35 s"]
        );
        assert_eq!(
            [exact(1.5), exact(1_000.0), exact(0.126), exact(2_345.6), exact(2.0), exact(12.999)],
            ["1.5", "1,000", "0.13", "2,346", "2", "13"]
        );
        assert_eq!([thousands(7.0), thousands(1_000.0), thousands(1_234_567.4)], ["7", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_report_has_its_histogram_in_the_form_that_tools_exchange() {
        let mut recorded = histogram();
        (1..=1_000_u64).for_each(|microseconds| recorded.record_n(microseconds * 1_000, 3).unwrap());
        let latency = latency(&recorded);
        let read = |text: &str| -> Histogram<u64> {
            Deserializer::new().deserialize(&mut STANDARD.decode(text).unwrap().as_slice()).unwrap()
        };
        let text = latency.hdr_histogram.unwrap();
        // The cookie of a compressed histogram of version 2, by which tools know it.
        assert!(text.starts_with("HISTF"), "{text}");
        assert_eq!(read(&text), recorded);
        assert!(read(&interchange(&histogram()).unwrap()).is_empty());
    }

    #[test]
    fn a_report_keeps_its_percentiles_in_its_histogram() {
        let mut recorded = histogram();
        (1..=100_000_u64).for_each(|microseconds| recorded.record(microseconds * 1_000).unwrap());
        let latency = latency(&recorded);
        for (percentile, microseconds) in &latency.percentiles {
            let read = latency.percentile_us(*percentile);
            assert!((read / microseconds - 1.0).abs() < 0.002, "p{percentile}: {read} for {microseconds}");
            assert!((read / (percentile * 1_000.0) - 1.0).abs() < 0.002, "p{percentile}: {read}");
        }
    }
}
