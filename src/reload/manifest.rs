//! The manifest of a policy set and the signatures over it.
//!
//! `manifest` lists every file of the set with its SHA-256, in the form of `sha256sum`, under a serial number that only
//! rises. `manifest.sig` is a signed note (C2SP signed-note, Ed25519) that names the serial and the SHA-256 of the
//! manifest; each signer adds a line. Both lie at the top of the policy directory.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::hex;
use crate::audit::merkle::{NoteError, Signer, Verifier};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::policy::PolicyFiles;

/// The file that lists the others.
pub const MANIFEST: &str = "manifest";
/// The file with the signatures.
pub const SIGNATURES: &str = "manifest.sig";

const TITLE: &str = "interdict policy manifest v1";
const SIGNED_TITLE: &str = "interdict policy signature v1";
const SIGN: &str = "sign the set: `interdict policy sign --key FILE --policies DIR`";

/// What a set consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetManifest {
    /// Its number, higher than that of every set before it.
    pub serial: u64,
    /// The SHA-256 of each file, in hexadecimal, by its path in the policy directory.
    pub files: BTreeMap<String, String>,
}

impl SetManifest {
    /// The manifest of these files.
    #[must_use]
    pub fn of(files: &PolicyFiles, serial: u64) -> Self {
        let files = files.files.iter().map(|(path, file)| (path.clone(), file.digest.to_string()));
        Self { serial, files: files.collect() }
    }

    /// The text of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{TITLE}\nserial {}\n\n", self.serial);
        for (path, digest) in &self.files {
            text.push_str(&format!("{digest}  {path}\n"));
        }
        text
    }

    /// Reads exactly what [`SetManifest::to_text`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(TITLE)?.strip_prefix("\nserial ")?;
        let (serial, lines) = rest.split_once("\n\n")?;
        let mut files = BTreeMap::new();
        for line in lines.lines() {
            let (digest, path) = line.split_once("  ")?;
            files.insert(path.to_owned(), digest.to_owned());
        }
        let manifest = Self { serial: serial.parse().ok()?, files };
        // One text for one manifest: nothing hides in blanks, repeated lines or another order.
        (manifest.to_text() == text).then_some(manifest)
    }

    /// What of the files is not as the manifest says, each at its path.
    #[must_use]
    pub fn differences(&self, files: &PolicyFiles) -> Diagnostics {
        let there = Self::of(files, self.serial).files;
        let mut found = Diagnostics::new();
        for path in self.files.keys().filter(|path| !there.contains_key(*path)) {
            let message = "the manifest names this file, and it is not there";
            found.push(Diagnostic::error(path, message).with_hint("put the file back, or sign the set anew"));
        }
        for (path, digest) in &there {
            let message = match self.files.get(path) {
                None => "the manifest does not name this file",
                Some(signed) if signed != digest => "the file is another one than was signed",
                Some(_) => continue,
            };
            found.push(Diagnostic::error(path, message).with_hint(SIGN));
        }
        found
    }
}

/// What is signed: the serial and the SHA-256 of the manifest.
fn statement(manifest: &SetManifest) -> String {
    let digest = hex(&Sha256::digest(manifest.to_text()));
    format!("{SIGNED_TITLE}\nserial {}\nmanifest {digest}\n", manifest.serial)
}

/// The signatures over a manifest with one by `signer` added. What stood in `before` is kept when it is over the same
/// manifest, and an earlier signature by the same key is replaced.
#[must_use]
pub fn add_signature(manifest: &SetManifest, before: &str, signer: &Signer) -> String {
    let body = statement(manifest);
    let signed = signer.sign(&body);
    let Some(earlier) = before.strip_prefix(&body).and_then(|rest| rest.strip_prefix('\n')) else {
        return signed;
    };
    let ours = signed.strip_prefix(&body).unwrap_or_default().trim_start_matches('\n');
    let name = |line: &str| line.split(' ').nth(1).map(str::to_owned);
    let kept = earlier.lines().filter(|line| name(line) != name(ours));
    let lines: String = kept.map(|line| format!("{line}\n")).collect();
    format!("{body}\n{lines}{ours}")
}

/// Who has signed what, and that it is what lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The manifest.
    pub manifest: SetManifest,
    /// The names of the keys that have signed it.
    pub by: Vec<String>,
}

/// Holds a set against its manifest, and this against the signatures: `threshold` of `keys` have to be under it.
///
/// # Errors
/// Everything that is wrong, at the file it is wrong in.
pub fn verify(
    files: &PolicyFiles,
    manifest: &[u8],
    signatures: &[u8],
    keys: &[Verifier],
    threshold: usize,
) -> Result<Signed, Diagnostics> {
    let wrong =
        |file: &str, message: String| Diagnostics::from(Diagnostic::error(file, message).with_hint(SIGN));
    let text = std::str::from_utf8(manifest).ok();
    let Some(manifest) = text.and_then(SetManifest::parse) else {
        return Err(wrong(MANIFEST, "this is no manifest of a policy set".to_owned()));
    };
    let expected = statement(&manifest);
    let (mut by, mut broken) = (Vec::new(), Vec::new());
    for key in keys {
        match key.open(signatures) {
            Ok(body) if body == expected => by.push(key.name().to_owned()),
            Ok(_) => return Err(wrong(SIGNATURES, "the signatures are over another manifest".to_owned())),
            Err(NoteError::Signature) => broken.push(key.name()),
            Err(_) => {}
        }
    }
    if by.len() < threshold {
        let mut message = format!("{} of the {threshold} signatures needed are there", by.len());
        if !by.is_empty() {
            message.push_str(&format!(": by {}", by.join(", ")));
        }
        if !broken.is_empty() {
            message.push_str(&format!("; the one by {} does not fit", broken.join(", ")));
        }
        return Err(wrong(SIGNATURES, message));
    }
    let differences = manifest.differences(files);
    if differences.has_errors() {
        return Err(differences);
    }
    Ok(Signed { manifest, by })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> PolicyFiles {
        let mut files = PolicyFiles::new();
        files.insert("cases/a.toml", &b"a"[..]);
        files.insert("lists/a list  with blanks.txt", &b"b"[..]);
        files
    }

    fn signers() -> [Signer; 3] {
        [("ann", 1), ("bob", 2), ("eve", 3)].map(|(name, seed)| Signer::from_seed(name, [seed; 32]))
    }

    fn check(
        files: &PolicyFiles,
        manifest: &str,
        signatures: &str,
        threshold: usize,
    ) -> Result<Signed, String> {
        let [ann, bob, _] = signers();
        let keys = [ann.verifier(), bob.verifier()];
        verify(files, manifest.as_bytes(), signatures.as_bytes(), &keys, threshold)
            .map_err(|found| found.to_string())
    }

    #[test]
    fn a_manifest_is_read_back_as_it_was_written_and_in_no_other_form() {
        let manifest = SetManifest::of(&files(), 7);
        let text = manifest.to_text();
        assert_eq!(SetManifest::parse(&text), Some(manifest));
        let others = [
            text.replace("serial 7", "serial 07"),
            text.replace("serial 7", "serial +7"),
            format!("{text}\n"),
            text.trim_end().to_owned(),
            text.replace("  cases", " cases"),
            text.lines().rev().collect::<Vec<_>>().join("\n"),
            format!("{text}{}", text.lines().last().unwrap()),
            String::new(),
        ];
        for other in others {
            assert_eq!(SetManifest::parse(&other), None, "{other}");
        }
    }

    #[test]
    fn k_of_n_signatures_are_enough_and_fewer_are_not() {
        let manifest = SetManifest::of(&files(), 7);
        let text = manifest.to_text();
        let [ann, bob, eve] = signers();
        let one = add_signature(&manifest, "", &ann);
        assert_eq!(check(&files(), &text, &one, 1).unwrap().by, ["ann"]);
        let refused = check(&files(), &text, &one, 2).unwrap_err();
        assert!(
            refused.contains("manifest.sig:1:1: error: 1 of the 2 signatures needed are there: by ann"),
            "{refused}"
        );
        let foreign = add_signature(&manifest, &one, &eve);
        assert!(check(&files(), &text, &foreign, 2).is_err());
        let both = add_signature(&manifest, &foreign, &bob);
        assert_eq!(check(&files(), &text, &both, 2).unwrap().by, ["ann", "bob"]);
        // The same key once more is one signature.
        assert_eq!(add_signature(&manifest, &both, &bob).lines().count(), both.lines().count());
    }

    #[test]
    fn an_extra_a_missing_and_a_changed_file_are_told_by_name() {
        let manifest = SetManifest::of(&files(), 7);
        let signatures = add_signature(&manifest, "", &signers()[0]);
        let mut changed = files();
        changed.insert("cases/a.toml", &b"A"[..]);
        changed.insert("pages/extra.html", &b""[..]);
        changed.files.remove("lists/a list  with blanks.txt");
        let refused = check(&changed, &manifest.to_text(), &signatures, 1).unwrap_err();
        for expected in [
            "cases/a.toml:1:1: error: the file is another one than was signed",
            "lists/a list  with blanks.txt:1:1: error: the manifest names this file, and it is not there",
            "pages/extra.html:1:1: error: the manifest does not name this file",
        ] {
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn signatures_over_another_manifest_or_serial_do_not_count() {
        let (old, new) = (SetManifest::of(&PolicyFiles::new(), 6), SetManifest::of(&files(), 7));
        let signatures = add_signature(&old, "", &signers()[0]);
        assert!(
            check(&files(), &new.to_text(), &signatures, 1).unwrap_err().contains("over another manifest")
        );
        let raised = SetManifest { serial: 8, ..new.clone() };
        let signatures = add_signature(&new, "", &signers()[0]);
        assert!(check(&files(), &raised.to_text(), &signatures, 1).is_err());
        assert!(check(&files(), &new.to_text(), "", 1).unwrap_err().contains("0 of the 1 signatures"));
        let torn = signatures.replace("serial 7", "serial 9");
        assert!(
            check(&files(), &new.to_text(), &torn, 1).unwrap_err().contains("the one by ann does not fit")
        );
    }
}
