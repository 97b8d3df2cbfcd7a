//! `policy`: keys and signatures of policy sets.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{Exit, complain, place, signer};
use crate::audit::merkle::{Signer, Verifier};
use crate::config::Config;
use crate::limits;
use crate::policy::PolicyFiles;
use crate::reload::{self, MANIFEST, SIGNATURES, SetManifest, SourceError};

#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Make a key to sign policy sets or approvals with.
    Keygen(KeygenArgs),
    /// Sign a policy directory: writes `manifest` and `manifest.sig`, or adds a signature to them.
    Sign(SignArgs),
    /// Tell whether a policy directory is signed as the configuration asks: 0 when it is, 1 when not.
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
struct KeygenArgs {
    /// The name it signs under, like `j.doe`; no blanks and no `+`.
    #[arg(long)]
    name: String,
    /// The file of the private key; the public one goes beside it as FILE.pub.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct SignArgs {
    /// The private key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The policy directory.
    #[arg(long, value_name = "DIR", default_value = "policies")]
    policies: PathBuf,
    /// The serial of the set [default: that of the manifest when it is still right, else one more]
    #[arg(long, value_name = "NUMBER")]
    serial: Option<u64>,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// The policy directory [default: the one in --config]
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// The configuration with `keys` and `threshold`.
    #[arg(long, value_name = "FILE", default_value = "edge.toml")]
    config: PathBuf,
}

pub(super) fn run(args: &PolicyArgs) -> Exit {
    let outcome = match &args.command {
        PolicyCommand::Keygen(args) => keygen(args),
        PolicyCommand::Sign(args) => sign(args),
        PolicyCommand::Verify(args) => verify(args),
    };
    outcome.unwrap_or_else(|exit| exit)
}

fn keygen(args: &KeygenArgs) -> Result<Exit, Exit> {
    let mut seed = [0; 32];
    let random = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut seed));
    random.map_err(|error| complain(Exit::Io, &format!("no random numbers: {error}")))?;
    let signer = Signer::from_seed(&args.name, seed);
    if signer.name() != args.name {
        let message = format!("`{}` is no name of a key: no blanks, no `+`", args.name.escape_debug());
        return Err(complain(Exit::Usage, &message));
    }
    let public = signer::make(&args.out, &signer)?;
    say!("{}", signer.verifier().to_text());
    note!("the private key is in `{}`, the public one in `{}`", args.out.display(), public.display());
    Ok(Exit::Fine)
}

fn sign(args: &SignArgs) -> Result<Exit, Exit> {
    let signer = signer::read(&args.key)?;
    let files = files(&args.policies)?;
    let text = |name: &str, most| match read(&args.policies.join(name), most) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(complain(Exit::Io, &format!("`{name}`: {error}"))),
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    };
    let before = SetManifest::parse(&text(MANIFEST, limits::MANIFEST_BYTES)?);
    let serial = args.serial.unwrap_or_else(|| match &before {
        Some(before) if *before == SetManifest::of(&files, before.serial) => before.serial,
        Some(before) => before.serial.saturating_add(1),
        None => 1,
    });
    if serial > limits::LARGEST_NUMBER {
        let message =
            format!("a serial is at most {}: after it there could be no other", limits::LARGEST_NUMBER);
        return Err(complain(Exit::Usage, &message));
    }
    // A line break in a name would make one line of the manifest two.
    if let Some(path) = files.files.keys().find(|path| path.contains(char::is_control)) {
        let message = format!("the file name `{}` holds a control character", path.escape_debug());
        return Err(complain(Exit::No, &message));
    }
    let manifest = SetManifest::of(&files, serial);
    let signatures = reload::add_signature(&manifest, &text(SIGNATURES, limits::SIGNATURE_BYTES)?, &signer);
    // The manifest first: signatures without theirs would be over another one.
    for (name, content) in [(MANIFEST, manifest.to_text()), (SIGNATURES, signatures)] {
        place::put(&args.policies.join(name), true, |file| file.write_all(content.as_bytes()))
            .map_err(|error| complain(Exit::Io, &format!("`{name}`: {error}")))?;
    }
    let count = manifest.files.len();
    say!("serial {serial}, {count} files, signed by {}; digest {}", signer.name(), files.digest());
    Ok(Exit::Fine)
}

fn verify(args: &VerifyArgs) -> Result<Exit, Exit> {
    let config = Config::load(&args.config).map_err(|error| complain(Exit::Usage, &error))?;
    let keys: &[Verifier] = &config.policy.keys;
    if keys.is_empty() {
        let message = format!("`{}` names no keys in `[policy]`", args.config.display());
        return Err(complain(Exit::Usage, &message));
    }
    let directory = args.policies.as_ref().unwrap_or(&config.policy.directory);
    let files = files(directory)?;
    let bytes = |name: &str, most| {
        read(&directory.join(name), most).map_err(|error| {
            let exit = if error.kind() == io::ErrorKind::NotFound { Exit::No } else { Exit::Io };
            complain(exit, &format!("`{name}`: {error}"))
        })
    };
    let (manifest, signatures) =
        (bytes(MANIFEST, limits::MANIFEST_BYTES)?, bytes(SIGNATURES, limits::SIGNATURE_BYTES)?);
    match reload::verify(&files, &manifest, &signatures, keys, config.policy.threshold) {
        Ok(signed) => {
            say!("serial {}, signed by {}", signed.manifest.serial, signed.by.join(" and "));
            Ok(Exit::Fine)
        }
        Err(found) => {
            note!("{found}");
            Ok(Exit::No)
        }
    }
}

fn files(directory: &Path) -> Result<PolicyFiles, Exit> {
    match reload::read(directory) {
        Ok(snapshot) => Ok(snapshot.files),
        Err(SourceError::Unreadable(found, _)) => {
            note!("{found}");
            Err(Exit::No)
        }
        Err(error) => Err(complain(Exit::Io, &error)),
    }
}

/// One byte more than allowed is read at most; such a file is none of ours.
fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
