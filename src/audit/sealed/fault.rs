//! What a failed step says of the open segment.

use std::io;

pub(super) enum Fault {
    /// The segment's file is sound: unsealed lines are cut off, and it goes on.
    Sound(io::Error),
    /// The file cannot be trusted any more: a failed write or sync, bytes that read back as others.
    Doubtful(io::Error),
    /// Unsealed lines are lost, and the segment is seen to already, or is by the next commit.
    Dropped(io::Error),
    /// The checkpoint is in place, though not for certain on the disk: no line is lost.
    Landed(io::Error),
    /// Whether the checkpoint is in place is unknown: the lines must neither be cut off nor be written again.
    Unsettled(io::Error),
}
