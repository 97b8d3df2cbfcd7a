//! Whether the tree of the last epoch can go on: the checkpoint is signed, and the lines have its root.

use jiff::Timestamp;

use super::{
    epoch::{Epoch, origin},
    names::{CHECKPOINT, checkpoints, kept_checkpoint},
    open::{Found, Survey},
    place::put,
    rebuild, tree,
};
use crate::audit::{
    files::Disk,
    merkle::{Checkpoint, Frontier, Verifier},
    problem::Problem,
};

/// A tree that goes on.
pub(super) struct Continued {
    pub(super) epoch: Epoch,
    pub(super) tree: Frontier,
    /// The newest checkpoint, as it is signed.
    pub(super) note: String,
    /// The caller's lines in it.
    pub(super) extensions: Vec<String>,
    /// Lines of the last segment that are under it.
    pub(super) local: usize,
    /// Whether the tree had the root that the witness knows, at its size; none when it was not looked at.
    pub(super) witnessed: Option<bool>,
}

/// Continues the last epoch, or says why not; where the damage is goes into `found`.
pub(super) fn continue_tree(
    disk: &dyn Disk,
    survey: &Survey,
    epoch: Epoch,
    now: Timestamp,
    found: &mut Found,
) -> Result<Continued, String> {
    if epoch.origin != origin(survey.signer.name(), epoch.number) {
        let what = format!("the origin `{}` is not that of the key", epoch.origin);
        found.report(Problem::File { path: epoch.path(), what });
        return Err("the key or the epoch was replaced".to_owned());
    }
    let verifier = survey.signer.verifier().with_name(&epoch.origin);
    let (checkpoint, note) = match newest(disk, survey, &epoch, &verifier, found)? {
        Some(newest) => newest,
        // The epoch was about to begin.
        None => begin(disk, survey, &epoch, now)?,
    };
    let extensions = tree::extensions(&checkpoint);
    // They are signed, whatever became of the lines.
    found.extensions.clone_from(&extensions);
    let (tree, local, witnessed) = grow(disk, survey, &epoch, &checkpoint, found)?;
    Ok(Continued { epoch, tree, note, extensions, local, witnessed })
}

/// Reads the newest checkpoint; none when there is not anything of the epoch yet.
fn newest(
    disk: &dyn Disk,
    survey: &Survey,
    epoch: &Epoch,
    verifier: &Verifier,
    found: &mut Found,
) -> Result<Option<(Checkpoint, String)>, String> {
    let path = tree::checkpoint_path(epoch.number);
    let kept = tree::kept_sizes(disk, epoch.number).unwrap_or_default();
    let what = match disk.read(&path) {
        Err(error) => error.to_string(),
        Ok(None) => {
            let has_segment = survey.entries.last().is_some_and(|last| last.first >= epoch.first_seq);
            if !has_segment && kept.is_empty() {
                return Ok(None);
            }
            "the checkpoint is missing".to_owned()
        }
        Ok(Some(note)) => match Checkpoint::open(&note, verifier) {
            Ok(checkpoint) if kept.last().is_none_or(|kept| *kept <= checkpoint.size) => {
                return Ok(Some((checkpoint, String::from_utf8_lossy(&note).into_owned())));
            }
            Ok(checkpoint) => format!("older than one that was kept: it has {} records", checkpoint.size),
            Err(error) => error.to_string(),
        },
    };
    found.report(Problem::File { path, what: what.clone() });
    // The lanes' numbers of an older checkpoint are better than none.
    found.extensions =
        kept.iter().rev().find_map(|size| kept_extensions(disk, epoch, *size, verifier)).unwrap_or_default();
    Err(format!("{CHECKPOINT}: {what}"))
}

fn kept_extensions(disk: &dyn Disk, epoch: &Epoch, size: u64, verifier: &Verifier) -> Option<Vec<String>> {
    let path = format!("{}/{}", checkpoints(epoch.number), kept_checkpoint(size));
    let note = disk.read(&path).ok()??;
    Some(tree::extensions(&Checkpoint::open(&note, verifier).ok()?))
}

/// Writes the first checkpoint of an epoch.
fn begin(
    disk: &dyn Disk,
    survey: &Survey,
    epoch: &Epoch,
    now: Timestamp,
) -> Result<(Checkpoint, String), String> {
    let note = tree::sign(epoch, &survey.signer, &Frontier::new(), now, &[]);
    put(disk, &tree::checkpoint_path(epoch.number), note.as_bytes()).map_err(|error| error.to_string())?;
    let verifier = survey.signer.verifier().with_name(&epoch.origin);
    let checkpoint = Checkpoint::open(note.as_bytes(), &verifier).map_err(|error| error.to_string())?;
    Ok((checkpoint, note))
}

type Grown = (Frontier, usize, Option<bool>);

/// The tree under the checkpoint, from the partial tiles at the start of the last segment and its lines.
fn grow(
    disk: &dyn Disk,
    survey: &Survey,
    epoch: &Epoch,
    checkpoint: &Checkpoint,
    found: &mut Found,
) -> Result<Grown, String> {
    let size = checkpoint.size;
    let last = survey.last.as_ref().filter(|scan| scan.first >= epoch.first_seq);
    let base = last.map_or(size, |scan| scan.first - epoch.first_seq);
    if base > size {
        let path = tree::checkpoint_path(epoch.number);
        let what = format!("it covers {size} records, the last segment starts after {base}");
        found.report(Problem::File { path, what: what.clone() });
        return Err(format!("{CHECKPOINT}: {what}"));
    }
    let local = usize::try_from(size - base).unwrap_or(usize::MAX);
    if let Some(scan) = last.filter(|scan| scan.lines.len() < local) {
        scan.problems(local).into_iter().for_each(|problem| found.report(problem));
        let (sealed, end) = (epoch.seq_after(size) - 1, scan.first + scan.lines.len() as u64);
        found.report(Problem::Cut { sealed, found: end.saturating_sub(1) });
        return Err("sealed records are missing".to_owned());
    }
    let from = |edge: Frontier| {
        let leaves = last.into_iter().flat_map(|scan| scan.lines.iter().take(local).map(|line| line.leaf));
        push_all(edge, leaves, survey)
    };
    let grown = rebuild::edge(disk, &survey.entries, epoch, base, found).map(from);
    if let Ok((tree, witnessed)) = &grown
        && tree.root() == checkpoint.root
    {
        return Ok((tree.clone(), local, *witnessed));
    }
    // Lines or tiles: those that fit the signature are right.
    let rebuilt = rebuild::from_lines(disk, &survey.entries, epoch, base);
    match rebuilt.map(|edge| (edge.clone(), from(edge))) {
        Ok((edge, (tree, witnessed))) if tree.root() == checkpoint.root => {
            let what =
                format!("the partial tiles at {base} records are not those of the lines; written anew");
            found.report(Problem::File { path: super::names::tree(epoch.number), what });
            tree::write_partials(disk, epoch.number, &edge).map_err(|error| error.to_string())?;
            Ok((tree, local, witnessed))
        }
        other => {
            let segment = last.map_or(survey.entries.last().map_or(0, |last| last.first), |scan| scan.first);
            if let Some(scan) = last {
                scan.problems(local).into_iter().for_each(|problem| found.report(problem));
            }
            if let Err(error) = other {
                found.report(Problem::Unreadable { segment, error: error.to_string() });
            }
            found.report(Problem::Root { epoch: epoch.number, size, segment });
            Err("the records do not have the root of the checkpoint".to_owned())
        }
    }
}

/// Adds leaves; looks at the root on the way, where the witness knows one.
fn push_all(
    mut tree: Frontier,
    leaves: impl Iterator<Item = [u8; 32]>,
    survey: &Survey,
) -> (Frontier, Option<bool>) {
    let witness = survey.witness.as_ref().filter(|witness| witness.epoch == survey.epochs.largest);
    let look = |tree: &Frontier| {
        witness.filter(|witness| witness.size == tree.size()).map(|witness| witness.has_root(&tree.root()))
    };
    let mut witnessed = look(&tree);
    let mut full = Vec::new();
    for leaf in leaves {
        tree.push(leaf, &mut full);
        full.clear();
        witnessed = witnessed.or_else(|| look(&tree));
    }
    (tree, witnessed)
}
