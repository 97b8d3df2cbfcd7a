//! Which edge a command is about.

use std::path::Path;

use super::Exit;
use crate::config::{Config, Node};

/// Reads the configuration file of an edge. One that is wrong where commands need not look is told of, and ends none.
pub(super) fn node_of(path: &Path) -> Result<Node, Exit> {
    let error = match Config::load(path) {
        Ok(config) => return Ok(config.into()),
        Err(error) => error,
    };
    match Node::load(path) {
        Ok(node) => {
            note!("{error}");
            note!(
                "interdict: an edge does not start with this `{}`; its `[policy]` is used all the same",
                path.display()
            );
            Ok(node)
        }
        Err(_) => {
            note!("interdict: {error}");
            note!(
                "interdict: nothing was changed, and an edge that runs goes on with what it has read; \
                 name a good copy of the file with `--config`"
            );
            Err(Exit::Usage)
        }
    }
}
