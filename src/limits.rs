//! Every bound in one place: what is refused, cut or counted beyond a size, and in which unit.
//!
//! A bound is there so that no input, broken or hostile, takes the edge's memory or time away from its
//! requests. None of them is a tuning knob: what an operator may change is in `[limits]` of `edge.toml`.

/// Largest `edge.toml`, in bytes.
pub const CONFIG_FILE_BYTES: u64 = 1024 * 1024;

/// Largest case file, in bytes. Long lists of names belong into a host list.
pub const CASE_FILE_BYTES: u64 = 1024 * 1024;

/// Largest host list, in bytes: about three million names of a usual length.
pub const LIST_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Largest block page template, in bytes. It is held once per case and language.
pub const PAGE_FILE_BYTES: u64 = 256 * 1024;

/// Most files in one policy set: cases, lists and pages together.
pub const FILES_PER_SET: usize = 100_000;

/// Most bytes in one policy set, all files together.
pub const SET_BYTES: u64 = 512 * 1024 * 1024;

/// Most characters in the path of a policy file, relative to the policy directory.
pub const PATH_CHARS: usize = 255;

/// Most host patterns in one policy set, lists included; a list that several cases name counts each time.
pub const HOSTS_PER_SET: usize = 10_000_000;

/// Most patterns written into `hosts` or `except` of one case file.
pub const HOSTS_PER_CASE_FILE: usize = 20_000;

/// Most lists, networks, exemptions or people that one case names, each.
pub const ITEMS_PER_CASE: usize = 10_000;

/// Longest line of a host list that is looked at, in bytes; a name has 253 at most.
pub const LIST_LINE_BYTES: usize = 1024;

/// Longest id of a case and longest name of an edge, in characters.
pub const ID_CHARS: usize = 64;

/// Longest short text of a case (customer, a person, an authority, a reference, a reason), in characters.
pub const SHORT_TEXT_CHARS: usize = 256;

/// Longest `summary` and `statement`, in characters.
pub const LONG_TEXT_CHARS: usize = 8_000;

/// Longest URL in a case, in bytes; it goes into a header field.
pub const URL_BYTES: usize = 2_000;

/// Most errors, and most warnings, that are kept with their text; the rest is counted.
pub const DIAGNOSTICS_KEPT: usize = 1_000;

/// Most errors, and most warnings, of one file that are kept with their text, so that one bad file leaves room
/// for the findings in others; the rest is counted.
pub const DIAGNOSTICS_KEPT_PER_FILE: usize = 100;

/// Most characters of somebody's text that a diagnostic repeats.
pub const EXCERPT_CHARS: usize = 80;

/// Largest TOML file whose syntax errors are all reported; of a larger one only the first is. A damaged
/// file can hold an error per byte.
pub const ALL_SYNTAX_ERRORS_BYTES: usize = 64 * 1024;

/// Longest word that a "did you mean" is looked for, in characters; the search is quadratic.
pub const SUGGESTION_CHARS: usize = 64;

/// Most `[[listen]]` and most `[[route]]` tables in `edge.toml`, each.
pub const TABLES_PER_CONFIG: usize = 10_000;

/// Most origins of one route.
pub const ORIGINS_PER_ROUTE: usize = 256;
