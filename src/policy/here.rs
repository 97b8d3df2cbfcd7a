//! What of a policy set concerns one edge: a case may name its edges, and an edge may only watch.

use std::fmt;

use super::case::{Case, Mode};
use crate::limits;

/// Names of edges, `fra-*`: a `*` stands for any characters, also none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgePattern(String);

impl EdgePattern {
    /// Takes 1 to 64 letters, digits, `.`, `_`, `-` and `*`, or nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'*');
        let fits = (1..=limits::ID_CHARS).contains(&text.len()) && text.bytes().all(allowed);
        fits.then(|| Self(text.to_owned()))
    }

    /// Whether the edge with this name is meant. Letter case counts, as it does in an edge's name.
    #[must_use]
    pub fn covers(&self, edge: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| edge.strip_prefix(first)) else { return false };
        let Some(last) = self.0.contains('*').then(|| parts.next_back().unwrap_or_default()) else {
            return rest.is_empty();
        };
        // The earliest place is the best for every part but the last.
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else { return false };
            rest = after;
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for EdgePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The edge that a set is compiled for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Here {
    /// Its name; without one, every case is there.
    pub edge: Option<String>,
    /// Whether every case only watches, whatever its file says.
    pub shadow: bool,
}

impl Here {
    /// Whether a case is one of this edge's.
    #[must_use]
    pub fn has(&self, case: &Case) -> bool {
        let named = |edge: &String| case.edges.iter().any(|pattern| pattern.covers(edge));
        case.edges.is_empty() || self.edge.as_ref().is_none_or(named)
    }

    /// How this edge carries out a case of that mode.
    #[must_use]
    pub fn mode(&self, written: Mode) -> Mode {
        if self.shadow { Mode::Shadow } else { written }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::sample::case;

    /// The plain definition: a star takes nothing, or one character and is still there.
    fn covers(pattern: &[u8], edge: &[u8]) -> bool {
        match (pattern, edge) {
            ([], []) => true,
            ([b'*', rest @ ..], _) if covers(rest, edge) => true,
            ([b'*', ..], [_, after @ ..]) => covers(pattern, after),
            ([one, rest @ ..], [other, after @ ..]) => one == other && covers(rest, after),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_covers_what_the_plain_definition_does(pattern in "[ab*]{1,8}", edge in "[ab]{0,8}") {
            let parsed = EdgePattern::parse(&pattern).unwrap();
            prop_assert_eq!(parsed.covers(&edge), covers(pattern.as_bytes(), edge.as_bytes()));
        }
    }

    #[test]
    fn a_case_is_there_on_its_edges_and_one_without_edges_everywhere() {
        let edges = |texts: &[&str]| texts.iter().map(|text| EdgePattern::parse(text).unwrap()).collect();
        let cases = || {
            vec![Case { edges: edges(&["fra-*", "ams-1"]), ..case("a", &["a.test"]) }, case("b", &["b.test"])]
        };
        let count = |edge: Option<&str>| {
            let here = Here { edge: edge.map(str::to_owned), shadow: false };
            cases().iter().filter(|case| here.has(case)).count()
        };
        assert_eq!(
            [Some("fra-3"), Some("ams-1"), Some("ams-11"), Some("xfra-3"), None].map(count),
            [2, 2, 1, 1, 2]
        );
    }

    #[test]
    fn what_is_no_name_of_an_edge_is_no_pattern() {
        for text in ["", "fra 1", "fra/1", "fra?", &"a".repeat(65)] {
            assert_eq!(EdgePattern::parse(text), None, "{text}");
        }
    }
}
