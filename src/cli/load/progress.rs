//! How far a run is, on a terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::load::{Plan, Progress};

/// A bar, or nothing when nobody looks.
pub(super) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    pub(super) fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let style = "{bar:30} {percent:>3} %  {prefix}  {msg}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar }
    }

    pub(super) fn begin(&self, plan: &Plan) {
        self.bar.reset();
        self.bar.set_length((plan.warm_up + plan.duration).as_millis() as u64);
        self.bar.set_prefix(format!("{:.0}/s", plan.rate));
    }

    pub(super) fn show(&self, progress: &Progress) {
        let Progress { elapsed, total, warming_up, done, failed, p99 } = progress;
        self.bar.set_position(elapsed.min(total).as_millis() as u64);
        let phase = if *warming_up { "warming up, " } else { "" };
        self.bar.set_message(format!("{phase}{done} answered, {failed} failed, p99 {p99:?}"));
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
