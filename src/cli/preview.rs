//! What a change would change: for `--dry-run`.

use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::check::compile_files;
use super::plural::some;
use crate::decide::{Explanation, Subject};
use crate::diagnostic::Diagnostics;
use crate::hostname::Hostname;
use crate::policy::{CompileOptions, Form, Pattern, PolicyFiles, Ruleset};
use crate::reload::{Difference, difference};

/// Two policy sets, held against each other.
pub(super) struct Preview {
    before: Ruleset,
    after: Ruleset,
    names: Difference,
    /// What is odd about the set after the change.
    pub(super) warnings: Diagnostics,
}

/// What happens to the requests for one name.
pub(super) struct Turn {
    host: String,
    before: Explanation,
    after: Explanation,
}

impl Preview {
    /// Compiles both; the one before may hold errors and counts as empty then.
    pub(super) fn of(
        before: &PolicyFiles,
        after: &PolicyFiles,
        options: &CompileOptions,
    ) -> Result<Self, Diagnostics> {
        let names = difference(before, after);
        let (after, warnings) = compile_files(after, options)?;
        let before = match compile_files(before, options) {
            Ok((before, _)) => before,
            Err(_) => compile_files(&PolicyFiles::new(), options)?.0,
        };
        Ok(Self { before, after, names, warnings })
    }

    /// How the verdict on these host patterns changes, for a client in no network.
    pub(super) fn turns(&self, hosts: &[String]) -> Vec<Turn> {
        let now = Timestamp::now();
        let client = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let turn = |host: &String| {
            let name = name_under(&Pattern::parse(host).ok()?)?;
            let names = [name];
            let subject = Subject { names: &names, client };
            let judged = |rules| Explanation::whole(rules, &subject, now);
            let [name] = &names;
            Some(Turn { host: name.to_string(), before: judged(&self.before), after: judged(&self.after) })
        };
        hosts.iter().filter_map(turn).collect()
    }

    /// Prints it: the names, then the verdicts.
    pub(super) fn print(&self, hosts: &[String]) {
        let Difference { added, removed } = self.names;
        say!("{} would be added, {removed} removed", some(added, "name"));
        for Turn { host, before, after } in self.turns(hosts) {
            say!("{host}");
            say!("  now:  {before}");
            say!("  then: {after}");
        }
    }

    /// The same as JSON.
    pub(super) fn to_json(&self, hosts: &[String]) -> Value {
        let turns = self.turns(hosts);
        let turns = turns
            .iter()
            .map(|Turn { host, before, after }| json!({ "host": host, "before": before, "after": after }));
        json!({ "names": self.names, "hosts": turns.collect::<Vec<_>>() })
    }
}

/// A name that a pattern covers.
fn name_under(pattern: &Pattern) -> Option<Hostname> {
    match pattern.form {
        Form::Exact | Form::Subtree => Some(pattern.name.clone()),
        Form::Below => Hostname::parse(&format!("www.{}", pattern.name)).ok(),
    }
}
