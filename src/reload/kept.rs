//! Files of kept sets, by their digests.

use std::io;
use std::path::Path;

use super::store;
use crate::policy::{Digest, PolicyFile};

/// The file `name` of a kept set: a list is left where it is, anything else is at hand. `state` is the state directory.
pub(super) fn kept_file(state: &Path, name: &str, digest: Digest) -> io::Result<PolicyFile> {
    let sha256 = digest.to_string();
    if name.starts_with("lists/") {
        let bytes = state.join("objects").join(sha256).metadata()?.len();
        return Ok(PolicyFile { digest, bytes, content: None });
    }
    store::object(state, &sha256).map(PolicyFile::new).map_err(io::Error::other)
}
