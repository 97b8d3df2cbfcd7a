//! Comments that begin with a `#`.

/// The line without its comment: a `#` begins one at the start of the line and after a blank.
pub(super) fn without_comment(text: &str) -> &str {
    let begins = |at: usize| at == 0 || text.get(..at).is_some_and(|before| before.ends_with([' ', '\t']));
    let comment = text.match_indices('#').find(|(at, _)| begins(*at));
    comment.and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}
