//! What a test says of signatures and guard rails.

use std::fmt::Write as _;

use super::{Edge, Setup};

impl Setup {
    /// One more line under `[guard]`.
    pub fn guard(mut self, line: &str) -> Self {
        writeln!(self.guard_keys, "{line}").unwrap();
        self
    }
}

impl Edge {
    /// How many reloads have had this result.
    #[track_caller]
    pub fn reloads(&self, result: &str) -> u64 {
        let line = format!("interdict_reloads_total{{result=\"{result}\"}} ");
        let text = self.admin("/metrics").text();
        text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
    }
}

/// The table `[guard]` of an edge under test. Its hosts are few, so that one of them is a large share of the traffic:
/// that rail is down unless the test asks for it.
pub(super) fn table(keys: &str) -> String {
    let traffic = "max_blocked_requests_percent";
    let default = if keys.contains(traffic) { String::new() } else { format!("{traffic} = 100\n") };
    format!("[guard]\n{default}{keys}")
}
