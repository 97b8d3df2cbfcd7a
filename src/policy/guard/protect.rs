//! `protect`: names and networks that no case touches.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::facts::CaseFacts;
use super::pattern::{covers, meeting, suffixes};
use super::{Protected, Rail, Violation, Violations};
use crate::network::canonical_network;
use crate::policy::{Form, Pattern};

const HINT: &str =
    "take it out, or add the protected name to `except`; `protect` in `[guard]` says what no case touches";

/// The protected names, found from above and from below.
pub(super) struct Index<'s> {
    /// The protected patterns on each name.
    on: HashMap<&'s str, Vec<&'s Pattern>>,
    /// The protected patterns below each name.
    below: HashMap<&'s str, Vec<&'s Pattern>>,
    networks: Vec<IpNet>,
}

impl<'s> Index<'s> {
    pub(super) fn new(protected: &'s Protected) -> Self {
        let mut index = Self {
            on: HashMap::new(),
            below: HashMap::new(),
            networks: protected.networks.iter().copied().map(canonical_network).collect(),
        };
        for pattern in &protected.names {
            index.on.entry(pattern.name.as_str()).or_default().push(pattern);
            for parent in pattern.name.suffixes().skip(1) {
                index.below.entry(parent).or_default().push(pattern);
            }
        }
        index
    }

    /// Holds one pattern of a case against what is protected.
    pub(super) fn check(&self, case: &CaseFacts, form: Form, name: &str, found: &mut Violations) {
        if !self.on.is_empty() {
            let above = suffixes(name).filter_map(|parent| self.on.get(parent));
            for protected in above.chain(self.below.get(name)).flatten() {
                let ours = (form, name);
                let Some(both) = meeting(ours, (protected.form, protected.name.as_str())) else { continue };
                let excepted = |except: &Pattern| covers((except.form, except.name.as_str()), both);
                if !case.except.iter().any(excepted) {
                    found.push(|| violation(case, &written(form, name), &protected.to_string()));
                }
            }
        }
        if let Some(network) = self.network_of(name) {
            found.push(|| violation(case, name, &network.to_string()));
        }
    }

    /// The protected network that a host is an address in.
    fn network_of(&self, name: &str) -> Option<IpNet> {
        if self.networks.is_empty() {
            return None;
        }
        let address: IpAddr = name.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
        self.networks.iter().copied().find(|network| network.contains(&address.to_canonical()))
    }

    /// Holds the origin networks of a case against those that are protected.
    pub(super) fn check_networks(&self, case: &CaseFacts, found: &mut Violations) {
        for ours in case.origins.iter().copied().map(canonical_network) {
            let meets = |theirs: &&IpNet| ours.contains(*theirs) || theirs.contains(&ours);
            if let Some(protected) = self.networks.iter().find(meets) {
                found.push(|| violation(case, &ours.to_string(), &protected.to_string()));
            }
        }
    }
}

fn violation(case: &CaseFacts, written: &str, protected: &str) -> Violation {
    Violation {
        rail: Rail::Protect,
        case: case.id.clone(),
        written: written.to_owned(),
        message: format!("`{written}` of case `{}` touches `{protected}`, which is protected", case.id),
        hint: HINT.to_owned(),
    }
}

/// A pattern as one writes it.
pub(super) fn written(form: Form, name: &str) -> String {
    format!("{}{name}", form.prefix())
}
