//! The highest rate that holds a bound on latency: doubled until one does not, then halved in between.

use super::plan::{Bound, Plan};
use super::report::{Report, SearchReport, Step};
use super::run::{Run, RunError};
use crate::limits;

/// How near to each other the highest rate that held and the lowest that did not have to be.
const NEAR: f64 = 1.05;
/// The part of the rate that has to be answered.
const ANSWERED: f64 = 0.98;
/// How far below a found rate is gone when the long run does not hold it.
const STEP_DOWN: f64 = 0.95;
const STEPS_DOWN: usize = 5;

/// Searches from the rate of `plan` on, with short runs; then runs the plan whole at the rate it found, and somewhat
/// below when that does not hold. Returns the last run, its report and what was tried.
///
/// # Errors
/// What `run` says.
pub fn find(
    plan: &Plan,
    bound: Bound,
    run: &mut dyn FnMut(&Plan) -> Result<Run, RunError>,
) -> Result<(Run, Report), RunError> {
    let mut steps = Vec::new();
    let mut probe = plan.clone();
    probe.duration = limits::LOAD_STEP.min(plan.duration);
    let (mut held, mut broke) = (None, None);
    while steps.len() < limits::LOAD_STEPS {
        let Some(rate) = next_rate(plan.rate, held, broke) else { break };
        probe.rate = rate;
        let run = run(&probe)?;
        let mut report = run.report();
        let step = step(&report, bound);
        if run.is_interrupted() {
            steps.push(step);
            report.search = Some(SearchReport { bound, found: None, steps });
            return Ok((run, report));
        }
        if step.held {
            held = Some(rate);
        } else {
            broke = Some(rate);
        }
        steps.push(step);
    }
    let mut whole = plan.clone();
    whole.rate = held.unwrap_or(plan.rate);
    for left in (0..=STEPS_DOWN).rev() {
        let run = run(&whole)?;
        let mut report = run.report();
        let step = step(&report, bound);
        let holds = step.held && !run.is_interrupted();
        steps.push(step);
        if holds || left == 0 || held.is_none() || run.is_interrupted() {
            let found = holds.then_some(whole.rate);
            report.search = Some(SearchReport { bound, found, steps });
            return Ok((run, report));
        }
        whole.rate = (whole.rate * STEP_DOWN).max(1.0);
    }
    Err(RunError::Io(std::io::Error::other("the search ended without a run")))
}

/// The rate to try after the highest that held and the lowest that did not.
fn next_rate(first: f64, held: Option<f64>, broke: Option<f64>) -> Option<f64> {
    let most = limits::LOAD_RATE as f64;
    match (held, broke) {
        (None, None) => Some(first),
        (Some(held), None) => (held < most).then(|| (held * 2.0).min(most)),
        (None, Some(broke)) => (broke > 2.0).then(|| (broke / 2.0).floor()),
        (Some(held), Some(broke)) => (broke / held > NEAR).then(|| ((held + broke) / 2.0).floor()),
    }
}

fn step(report: &Report, bound: Bound) -> Step {
    let latency_us = report.all.percentile_us(bound.quantile * 100.0);
    let within = report.all.count > 0 && latency_us <= bound.most_us;
    let answered = is_answered(report, bound) && report.unsent == 0;
    Step {
        rate: report.rate,
        answered_rate: report.answered_rate,
        latency_us,
        fell_behind: report.generator.fell_behind,
        held: within && answered && report.failure_count() == 0,
    }
}

/// Whether the answers came as fast as the requests. Those that were due less than the bound before the end may still be
/// under way then; counted until the very last answer, one that is slow would speak for all of a short run.
fn is_answered(report: &Report, bound: Bound) -> bool {
    let whole = report.duration_s.floor().max(1.0);
    let came: u64 = report.seconds.iter().take(whole as usize).map(|second| second.requests).sum();
    let due = report.rate * (whole - bound.most_us / 1e6).max(0.0);
    came as f64 >= due * ANSWERED
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates that are tried when everything up to `limit` holds.
    fn tried(first: f64, limit: f64) -> (Vec<f64>, Option<f64>) {
        let (mut held, mut broke, mut rates) = (None, None, Vec::new());
        while let Some(rate) = next_rate(first, held, broke) {
            rates.push(rate);
            if rate <= limit {
                held = Some(rate)
            } else {
                broke = Some(rate)
            }
            assert!(rates.len() < limits::LOAD_STEPS);
        }
        (rates, held)
    }

    #[test]
    fn the_rate_that_is_found_holds_and_is_near_the_limit() {
        for limit in [1_000.0, 1_234.0, 77_777.0, 500_000.0] {
            let held = tried(1_000.0, limit).1.unwrap();
            assert!(held <= limit && limit / held < 1.06, "{held} for {limit}");
        }
        let held = tried(1_000.0, 300.0).1.unwrap();
        assert!(held <= 300.0 && 300.0 / held < 1.06, "{held} below the first rate");
    }

    #[test]
    fn the_search_ends_at_the_bound_of_rates_and_where_nothing_holds() {
        assert_eq!(tried(1_000.0, f64::MAX).1, Some(limits::LOAD_RATE as f64));
        assert_eq!(tried(1_000.0, 0.0).1, None);
    }
}
