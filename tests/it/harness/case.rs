//! Case files as tests write them: valid by default, one change at a time.

use std::fmt::Write as _;

use jiff::Timestamp;

/// A case file being written.
#[derive(Debug, Clone)]
pub struct CaseFile {
    id: String,
    basis: String,
    hosts: Vec<String>,
    keys: String,
    tables: String,
}

impl CaseFile {
    /// A case that blocks these hosts with a page, status 403.
    pub fn new(id: &str, hosts: &[&str]) -> Self {
        Self {
            id: id.to_owned(),
            basis: "terms-of-service".to_owned(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            keys: String::new(),
            tables: String::new(),
        }
    }

    /// On a court's order, so that the status is 451.
    pub fn by_court_order(mut self) -> Self {
        self.basis = "court-order".to_owned();
        self.table(
            "[legal]\nauthority = \"Regional Court of Example\"\nreference = \"12 O 345/26\"\n\
             url = \"https://example.org/orders/345\"",
        )
    }

    /// Refuses instead of showing a page.
    pub fn refuse(self) -> Self {
        self.key("action = \"refuse\"")
    }

    /// Only watches.
    pub fn shadow(self) -> Self {
        self.key("mode = \"shadow\"")
    }

    /// In force from a moment on.
    pub fn effective(self, at: Timestamp) -> Self {
        self.key(&format!("effective = {at:.3}"))
    }

    /// In force until a moment.
    pub fn expires(self, at: Timestamp) -> Self {
        self.key(&format!("expires = {at:.3}"))
    }

    /// One more top-level line.
    pub fn key(mut self, line: &str) -> Self {
        writeln!(self.keys, "{line}").unwrap();
        self
    }

    /// One more table, or one more line in the table before it.
    pub fn table(mut self, text: &str) -> Self {
        writeln!(self.tables, "\n{text}").unwrap();
        self
    }

    /// The id, which is the name of the file too.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The text of the file.
    pub fn toml(&self) -> String {
        let Self { id, basis, hosts, keys, tables } = self;
        format!(
            "id = \"{id}\"\ncustomer = \"cust-{id}\"\nbasis = \"{basis}\"\ndecided = 2026-01-05T09:00:00Z\n\
             decided_by = [\"j.doe\"]\nsummary = \"internal words about {id}\"\n\
             statement = \"public words about {id}\"\nhosts = {hosts:?}\n{keys}{tables}"
        )
    }
}
