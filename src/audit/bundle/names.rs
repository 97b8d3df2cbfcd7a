//! What the files of a bundle are called.

/// The manifest.
pub(super) const SUMS: &str = "SHA256SUMS";
/// For people.
pub(super) const README: &str = "README.md";
/// What was asked for.
pub(super) const ABOUT: &str = "bundle.json";
/// The verifier key.
pub(super) const KEY: &str = "log.pub";
/// What was found.
pub(super) const RECORDS: &str = "records.jsonl";
/// The records that the policy sets came into force with.
pub(super) const APPLIED: &str = "applied.jsonl";
/// All proofs, when there are many.
pub(super) const PROOFS: &str = "proofs.jsonl";
/// One proof a file, when there are few.
pub(super) const PROOF_FOLDER: &str = "proofs/";
/// One folder a revision.
pub(super) const POLICY_FOLDER: &str = "policies/";
/// The checkpoints.
pub(super) const CHECKPOINT: &str = "checkpoint";

/// The name of the checkpoint with this place among all of the bundle's, from 0.
pub(super) fn checkpoint(place: usize) -> String {
    if place == 0 { CHECKPOINT.to_owned() } else { format!("{CHECKPOINT}-{}", place + 1) }
}

/// The revision and the path in the policy directory of a file of a policy set.
pub(super) fn parse_policy(name: &str) -> Option<(u64, &str)> {
    let (revision, path) = name.strip_prefix(POLICY_FOLDER)?.split_once('/')?;
    Some((revision.parse().ok()?, path))
}
