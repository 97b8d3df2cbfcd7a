//! `approve`: puts a policy set in force that the guard holds back.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use clap::Args;
use serde_json::Value;

use super::node::node_of;
use super::{ConfigArgs, Exit, complain, edge, signer};
use crate::policy::Digest;
use crate::reload::{self, Held};
use crate::server;

#[derive(Debug, Args)]
pub(super) struct ApproveArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The digest of the set, as `interdict status` shows it under `held`.
    digest: String,
    /// A private key to sign the approval with, when `[guard]` names keys.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

pub(super) fn run(args: &ApproveArgs) -> Exit {
    let digest = &args.digest;
    if Digest::parse(digest).is_none() {
        return complain(Exit::Usage, &format!("`{}` is no digest: it has 64 digits", digest.escape_debug()));
    }
    let held = match held(args) {
        Ok(held) => held,
        Err(exit) => return exit,
    };
    if let Some(held) = &held {
        tell(held);
    }
    match &args.key {
        None => edge::ask(&args.config, &format!("approve {digest}")),
        Some(key) => match signed(args, key, held.as_ref()) {
            Ok(note) => edge::ask(&args.config, &format!("approve {digest} {}", BASE64.encode(note))),
            Err(exit) => exit,
        },
    }
}

/// What the edge holds back, when it is what is to be approved of.
fn held(args: &ApproveArgs) -> Result<Option<Held>, Exit> {
    let node = node_of(&args.config.config)?;
    let answer = server::ask(&node.policy.state, "held")
        .map_err(|error| complain(Exit::Io, &format!("{error}; is the edge running?")))?;
    let held = serde_json::from_str::<Value>(&answer).ok().and_then(|mut answer| {
        let held = answer.get_mut("held")?.take();
        serde_json::from_value::<Held>(held).ok()
    });
    Ok(held.filter(|held| held.digest == args.digest))
}

/// Says what is replaced by what, before anything is. The answer of the edge is for programs, and alone on its stream.
fn tell(held: &Held) {
    note!("revision {} ({}) is replaced by {}", held.revision, held.in_force, held.digest);
    note!("{}", held.replaces);
    for finding in &held.findings {
        note!("  held back for {finding}");
    }
}

/// The statement that this very set may come into force instead of the one that is.
fn signed(args: &ApproveArgs, key: &Path, held: Option<&Held>) -> Result<String, Exit> {
    let signer = signer::read(key)?;
    match held {
        Some(held) => Ok(reload::sign(&signer, held)),
        None => {
            let message = format!("no policy set with the digest `{}` is held back", args.digest);
            Err(complain(Exit::No, &message))
        }
    }
}
