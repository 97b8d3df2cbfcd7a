//! `edges`: where a case is carried out.

use crate::document::Table;
use crate::limits;
use crate::policy::EdgePattern;

/// The patterns of the edges of a case; none when it is for every edge.
pub(super) fn edges(top: &Table<'_>) -> Vec<EdgePattern> {
    let Some(value) = top.optional("edges") else { return Vec::new() };
    if value.is_empty_list() {
        value.spot().error_with_hint("the case is for no edge", "name one, or remove `edges` for every edge");
    }
    let mut known = Vec::new();
    for text in value.strings(limits::ITEMS_PER_CASE) {
        match EdgePattern::parse(text.as_str()) {
            Some(pattern) => known.push(pattern),
            None => text.spot().error_with_hint(
                format_args!("`{}` is no name of an edge", text.shown()),
                "write 1 to 64 letters, digits, `.`, `_` and `-`, and `*` for any of them, like `fra-*`",
            ),
        }
    }
    known
}
