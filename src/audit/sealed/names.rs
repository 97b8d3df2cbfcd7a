//! The names of what lies in an audit directory. Paths are relative to it.

use super::super::files::SEGMENTS;

/// Signer key, for its owner only.
pub(super) const KEY: &str = "log.key";
/// Verifier key.
pub(super) const PUBLIC_KEY: &str = "log.pub";
/// Where the trees began.
pub(super) const EPOCHS: &str = "epochs";
/// The newest checkpoint of an epoch, in [`tree`].
pub(super) const CHECKPOINT: &str = "checkpoint";

/// How a segment lies on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// Lines as they were written.
    Plain,
    /// Lines in zstd frames.
    Compressed,
    /// What its lines hold.
    Index,
    /// A file that was about to get one of the other names.
    Draft,
}

impl Form {
    fn suffix(self) -> &'static str {
        match self {
            Self::Plain => ".jsonl",
            Self::Compressed => ".jsonl.zst",
            Self::Index => ".idx",
            Self::Draft => ".new",
        }
    }
}

/// The name of the segment that starts with `first`, in [`SEGMENTS`].
pub(super) fn segment_name(first: u64, form: Form) -> String {
    format!("{first:020}{}", form.suffix())
}

/// `segments/` and the name.
pub(super) fn segment(first: u64, form: Form) -> String {
    format!("{SEGMENTS}/{}", segment_name(first, form))
}

/// Reads a name in [`SEGMENTS`] back; what is no segment's is none.
pub(super) fn parse_segment(name: &str) -> Option<(u64, Form)> {
    let (digits, suffix) = name.split_at_checked(20)?;
    let first = number(digits)?;
    let form = [Form::Plain, Form::Compressed, Form::Index].into_iter().find(|form| form.suffix() == suffix);
    match form {
        Some(form) => Some((first, form)),
        None if suffix.ends_with(Form::Draft.suffix()) => Some((first, Form::Draft)),
        None => None,
    }
}

/// The folder of an epoch's tree.
pub(super) fn tree(epoch: u64) -> String {
    format!("tree/{epoch}")
}

/// The folder of the checkpoints that are kept.
pub(super) fn checkpoints(epoch: u64) -> String {
    format!("tree/{epoch}/checkpoints")
}

/// The name of the kept checkpoint of a tree of `size` leaves.
pub(super) fn kept_checkpoint(size: u64) -> String {
    format!("{size:020}")
}

/// A number of digits alone: no sign, no blanks.
pub(super) fn number(digits: &str) -> Option<u64> {
    (!digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// A path as folder and name.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_read_back_and_other_names_are_not_segments() {
        for form in [Form::Plain, Form::Compressed, Form::Index] {
            assert_eq!(parse_segment(&segment_name(u64::MAX, form)), Some((u64::MAX, form)));
        }
        assert_eq!(parse_segment("00000000000000000007.jsonl.zst.new"), Some((7, Form::Draft)));
        for name in
            ["", "7.jsonl", "0000000000000000000x.jsonl", "00000000000000000001", "+0000000000000000001.idx"]
        {
            assert_eq!(parse_segment(name), None, "{name}");
        }
        assert_eq!(parse_segment("99999999999999999999.idx"), None, "more than 64 bits");
    }
}
