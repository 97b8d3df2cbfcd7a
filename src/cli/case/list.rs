//! `case list`: the cases of a policy set, and which of them somebody should look at.

use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cli::check::PolicySource;
use crate::cli::source::SetSource;
use crate::cli::{Exit, complain};
use crate::diagnostic::excerpt;
use crate::policy::{Case, Mode};

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    source: PolicySource,
    /// The moment to look at, as 2026-11-20T22:15:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// How many days before its end a case counts as ending soon.
    #[arg(long, value_name = "DAYS", default_value_t = 14, value_parser = clap::value_parser!(u32).range(..=36_500))]
    within: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Listing<'c> {
    at: Timestamp,
    active: usize,
    scheduled: usize,
    ended: usize,
    shadow: usize,
    overdue: usize,
    ends_soon: usize,
    cases: Vec<Row<'c>>,
}

#[derive(Debug, Serialize)]
struct Row<'c> {
    id: &'c str,
    customer: &'c str,
    basis: &'static str,
    action: &'static str,
    mode: &'static str,
    /// `active`, `scheduled` or `ended`.
    state: State,
    /// Different names are not told apart here: what its file and lists hold.
    names: usize,
    effective: Option<Timestamp>,
    expires: Option<Timestamp>,
    review: Option<Date>,
    /// The day of its review has passed, and it has not ended.
    overdue: bool,
    ends_soon: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Active,
    Scheduled,
    Ended,
}

impl State {
    fn of(case: &Case, at: Timestamp) -> Self {
        if case.expires.is_some_and(|end| end <= at) {
            Self::Ended
        } else if case.in_force(at) {
            Self::Active
        } else {
            Self::Scheduled
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Scheduled => "scheduled",
            Self::Ended => "ended",
        }
    }
}

pub(super) fn run(args: &ListArgs) -> Exit {
    let set = match args.source.locate() {
        Ok((directory, options)) => SetSource::Directory(directory).load().map(|set| set.at(&options.here)),
        Err(exit) => return exit,
    };
    let set = match set {
        Ok(set) => set,
        Err(exit) => return exit,
    };
    let at = args.at.unwrap_or_else(Timestamp::now);
    let soon = at.saturating_add(SignedDuration::from_hours(24 * i64::from(args.within)));
    // A moment so far off that the calendar ends before it.
    let soon = soon.unwrap_or(Timestamp::MAX);
    let row = |case| Row::of(case, set.patterns_of(case).count(), at, soon);
    let listing = Listing::of(set.cases.iter().map(row).collect(), at);
    if !args.json {
        listing.print();
        return Exit::Fine;
    }
    match serde_json::to_string(&listing) {
        Ok(line) => {
            say!("{line}");
            Exit::Fine
        }
        Err(error) => complain(Exit::Io, &error),
    }
}

impl<'c> Row<'c> {
    fn of(case: &'c Case, names: usize, at: Timestamp, soon: Timestamp) -> Self {
        let state = State::of(case, at);
        let today = at.to_zoned(TimeZone::UTC).date();
        Self {
            id: case.id.as_str(),
            customer: &case.customer,
            basis: case.basis.as_str(),
            action: case.action.as_str(),
            mode: case.mode.as_str(),
            state,
            names,
            effective: case.effective,
            expires: case.expires,
            review: case.review,
            overdue: state != State::Ended && case.review.is_some_and(|day| day < today),
            ends_soon: state != State::Ended && case.expires.is_some_and(|end| end <= soon),
        }
    }

    /// What somebody should know of it beside its state.
    fn remarks(&self) -> String {
        let mut remarks = Vec::new();
        if self.mode == Mode::Shadow.as_str() {
            remarks.push("shadow".to_owned());
        }
        match (self.state, self.effective, self.expires) {
            (State::Scheduled, Some(start), _) => remarks.push(format!("starts {start}")),
            (State::Ended, _, Some(end)) => remarks.push(format!("ended {end}")),
            (_, _, Some(end)) if self.ends_soon => remarks.push(format!("ends soon: {end}")),
            (_, _, Some(end)) => remarks.push(format!("ends {end}")),
            _ => {}
        }
        match self.review {
            Some(day) if self.overdue => remarks.push(format!("review overdue since {day}")),
            Some(day) if self.state != State::Ended => remarks.push(format!("review {day}")),
            _ => {}
        }
        remarks.join(", ")
    }
}

impl<'c> Listing<'c> {
    fn of(mut cases: Vec<Row<'c>>, at: Timestamp) -> Self {
        cases.sort_by(|a, b| a.state.cmp(&b.state).then_with(|| a.id.cmp(b.id)));
        let count = |is: fn(&Row<'c>) -> bool| cases.iter().filter(|row| is(row)).count();
        Self {
            at,
            active: count(|row| row.state == State::Active),
            scheduled: count(|row| row.state == State::Scheduled),
            ended: count(|row| row.state == State::Ended),
            shadow: count(|row| row.mode == Mode::Shadow.as_str()),
            overdue: count(|row| row.overdue),
            ends_soon: count(|row| row.ends_soon),
            cases,
        }
    }

    fn print(&self) {
        let width = |of: fn(&Row<'c>) -> usize| self.cases.iter().map(of).max().unwrap_or_default();
        let (id, basis) = (width(|row| row.id.len()), width(|row| row.basis.len()));
        for row in &self.cases {
            let Row { state, names, .. } = row;
            let plain = format!(
                "{:9}  {:id$}  {:basis$}  {:6}  {names:>8} names  {}  {}",
                state.as_str(),
                row.id,
                row.basis,
                row.action,
                excerpt(row.customer),
                row.remarks(),
            );
            say!("{}", plain.trim_end());
        }
        let Self { active, scheduled, ended, shadow, overdue, ends_soon, at, .. } = self;
        say!(
            "{active} active, {scheduled} scheduled, {ended} ended; {shadow} in shadow mode, {overdue} overdue for \
             review, {ends_soon} ending soon; at {at:.0}"
        );
    }
}
