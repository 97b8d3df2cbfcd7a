//! Host names as block lists have them, made up from a seed: the same ones on every machine.

#![allow(dead_code, reason = "each bench uses its part")]

use interdict::hostname::Hostname;
use interdict::policy::{Action, Basis, Case, CaseId, Form, Mode, Pattern};
use jiff::Timestamp;

use dice::Dice;

pub(crate) mod dice;
pub(crate) mod worded;

/// An endless supply of names: two to four labels, 8 to 40 octets, 22 on average.
pub(crate) struct Names(Dice);

impl Names {
    /// Names that no other seed gives.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Dice::new(seed))
    }

    fn label(&mut self, shortest: u64, longest: u64) -> String {
        let length = shortest + self.0.below(longest - shortest + 1);
        (0..length)
            .map(|_| char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[self.0.below(36) as usize]))
            .collect()
    }
}

impl Iterator for Names {
    type Item = Hostname;

    fn next(&mut self) -> Option<Hostname> {
        let mut name =
            format!("{}.{}", self.label(6, 18), ["example", "test", "invalid"][self.0.below(3) as usize]);
        for _ in 0..self.0.below(3) {
            name = format!("{}.{name}", self.label(2, 10));
        }
        Some(Hostname::parse(&name).unwrap())
    }
}

/// An enforced case on these names, every one as `.name`.
pub(crate) fn case(id: &str, names: impl Iterator<Item = Hostname>) -> Case {
    Case {
        id: CaseId::parse(id).unwrap(),
        customer: "cust-1".to_owned(),
        basis: Basis::Abuse,
        decided: Timestamp::UNIX_EPOCH,
        decided_by: Vec::new(),
        summary: String::new(),
        statement: "The service for this site was ended.".to_owned(),
        action: Action::Page,
        status: 403,
        mode: Mode::Enforce,
        effective: None,
        expires: None,
        review: None,
        hosts: names.map(|name| Pattern { form: Form::Subtree, name }).collect(),
        lists: Vec::new(),
        except: Vec::new(),
        origins: Vec::new(),
        page: "default".to_owned(),
        legal: None,
        exempt: Vec::new(),
        edges: Vec::new(),
    }
}
