//! The edge of these tests: one host with a page, one that is refused, and every other forwarded.

use crate::harness::{CaseFile, Edge, Origin, Setup};

pub const PAGE: &str = "page.example";
pub const REFUSED: &str = "refused.example";
pub const ALLOWED: &str = "allowed.example";

pub fn edge(origin: &Origin) -> Edge {
    Setup::new()
        .origin(origin)
        .case(CaseFile::new("page", &[PAGE]))
        .case(CaseFile::new("refuse", &[REFUSED]).refuse())
        .start()
}
