//! Files of kept sets, by their digests.

use std::io;
use std::path::Path;

use super::store;
use crate::policy::{Digest, PolicyFile};

/// A list, left where it is; `state` is the state directory.
pub(super) fn kept_list(state: &Path, digest: Digest) -> io::Result<PolicyFile> {
    let bytes = state.join("objects").join(digest.to_string()).metadata()?.len();
    Ok(PolicyFile { digest, bytes, content: None })
}

/// Any other file, at hand.
pub(super) fn kept_file(state: &Path, digest: Digest) -> io::Result<PolicyFile> {
    store::object(state, &digest.to_string()).map(PolicyFile::new).map_err(io::Error::other)
}
