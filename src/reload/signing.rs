//! Signed policy sets: which signatures are asked for, and that no old set comes back.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::manifest::{self, MANIFEST, SIGNATURES};
use crate::audit::merkle::Verifier;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::limits;
use crate::policy::PolicyFiles;

/// Whose signatures a set needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signers {
    /// Their keys; without any, sets need no signature.
    pub keys: Vec<Verifier>,
    /// How many of them have to sign.
    pub threshold: usize,
}

impl Default for Signers {
    fn default() -> Self {
        Self { keys: Vec::new(), threshold: 1 }
    }
}

/// The number of a signed set and who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credential {
    pub(super) serial: u64,
    pub(super) by: Vec<String>,
    digest: String,
}

/// Holds sets against their signatures.
#[derive(Debug)]
pub(super) struct Signing {
    signers: Signers,
    /// The policy directory.
    directory: PathBuf,
    /// The serial and digest of the newest signed set that was in force: `serial` in the state directory.
    place: PathBuf,
    /// The two files as they were when last read.
    marks: [Option<Mark>; 2],
}

/// Inode, size, and the times of the last change of content and status.
type Mark = (u64, u64, (i64, i64), (i64, i64));

impl Signing {
    pub(super) fn new(signers: Signers, directory: PathBuf, state: &Path) -> Self {
        Self { signers, directory, place: state.join("serial"), marks: [None, None] }
    }

    /// Whether sets need signatures.
    pub(super) fn is_on(&self) -> bool {
        !self.signers.keys.is_empty()
    }

    /// Whether the files of the signature have changed since they were last read.
    pub(super) fn is_stale(&self) -> bool {
        self.is_on() && self.marks != self.marks_now()
    }

    /// The set is about to be read, whatever comes of it: what changes in the files after this is new.
    pub(super) fn look(&mut self) {
        self.marks = self.marks_now();
    }

    fn marks_now(&self) -> [Option<Mark>; 2] {
        [MANIFEST, SIGNATURES].map(|name| {
            let meta = fs::metadata(self.directory.join(name)).ok()?;
            let times = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
            Some((meta.ino(), meta.size(), times.0, times.1))
        })
    }

    /// Whether the set may be taken as far as signatures go; nothing when none is asked for.
    pub(super) fn check(&self, files: &PolicyFiles) -> Result<Option<Credential>, Diagnostics> {
        if self.signers.keys.is_empty() {
            return Ok(None);
        }
        let manifest = read(&self.directory, MANIFEST, limits::MANIFEST_BYTES)?;
        let signatures = read(&self.directory, SIGNATURES, limits::SIGNATURE_BYTES)?;
        let Signers { keys, threshold } = &self.signers;
        let signed = manifest::verify(files, &manifest, &signatures, keys, *threshold)?;
        let credential =
            Credential { serial: signed.manifest.serial, by: signed.by, digest: files.digest().to_string() };
        self.is_new(&credential)?;
        Ok(Some(credential))
    }

    /// Serials rise; the very set that was taken under one may be read again.
    fn is_new(&self, credential: &Credential) -> Result<(), Diagnostics> {
        let wrong = |message: String, hint: String| {
            Err(Diagnostics::from(Diagnostic::error(MANIFEST, message).with_hint(hint)))
        };
        if credential.serial > limits::LARGEST_NUMBER {
            // After it there could be no other.
            let message = format!("serial {} is above {}", credential.serial, limits::LARGEST_NUMBER);
            return wrong(message, "sign the set with a lower one".to_owned());
        }
        let text = match fs::read_to_string(&self.place) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                let hint = "repair the state directory; without the serial an old set could come back";
                return wrong(format!("cannot read `{}`: {error}", self.place.display()), hint.to_owned());
            }
        };
        let known =
            text.trim().split_once(' ').and_then(|(serial, digest)| Some((serial.parse().ok()?, digest)));
        let Some((newest, digest)): Option<(u64, &str)> = known else {
            let hint = "write the serial of the newest set, a blank and its digest into it";
            return wrong(format!("`{}` is damaged", self.place.display()), hint.to_owned());
        };
        let is_same = credential.serial == newest && credential.digest == digest;
        if credential.serial > newest || is_same {
            return Ok(());
        }
        let message = format!(
            "serial {} is not above {newest}, which has been in force: it is an old set",
            credential.serial
        );
        wrong(message, format!("sign the set with `--serial {}`", newest.saturating_add(1)))
    }

    /// The set comes into force: its serial is the newest. It is written and not synced, since a block does not wait
    /// for a disk; it outlives the process, and [`Signing::sync`] makes it outlive the machine.
    pub(super) fn note(&self, credential: &Credential) {
        let draft = self.place.with_extension("new");
        let text = format!("{} {}\n", credential.serial, credential.digest);
        if let Err(error) = fs::write(&draft, text).and_then(|()| fs::rename(&draft, &self.place)) {
            tracing::error!(%error, serial = credential.serial, "the serial of the set could not be written down");
        }
    }

    /// Makes the serial outlive the machine.
    pub(super) fn sync(&self) {
        let directory = self.place.parent().unwrap_or(Path::new("."));
        let synced = File::open(&self.place).and_then(|file| file.sync_all());
        if let Err(error) = synced.and_then(|()| File::open(directory)?.sync_all()) {
            tracing::error!(%error, "the serial of the set could not be synced");
        }
    }
}

/// Reads one of the two files, and no more than it may have.
pub(super) fn read(directory: &Path, name: &str, most: u64) -> Result<Vec<u8>, Diagnostics> {
    let wrong = |message: String| {
        let hint = "sign the set: `interdict policy sign --key FILE --policies DIR`";
        Diagnostics::from(Diagnostic::error(name, message).with_hint(hint))
    };
    let mut bytes = Vec::new();
    let read = File::open(directory.join(name)).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(wrong("the policy set has to be signed, and this file is not there".to_owned()))
        }
        Err(error) => Err(wrong(format!("cannot read the file: {error}"))),
        Ok(_) if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > most => {
            Err(wrong(format!("the file has more than {most} bytes")))
        }
        Ok(_) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::merkle::Signer;
    use crate::reload::manifest::{SetManifest, add_signature};

    fn files(content: &str) -> PolicyFiles {
        let mut files = PolicyFiles::new();
        files.insert("cases/a.toml", content.as_bytes());
        files
    }

    fn put(directory: &Path, files: &PolicyFiles, serial: u64) {
        let manifest = SetManifest::of(files, serial);
        fs::write(directory.join(MANIFEST), manifest.to_text()).unwrap();
        let signer = Signer::from_seed("ann", [1; 32]);
        fs::write(directory.join(SIGNATURES), add_signature(&manifest, "", &signer)).unwrap();
    }

    fn signing(directory: &Path) -> Signing {
        let keys = vec![Signer::from_seed("ann", [1; 32]).verifier()];
        Signing::new(Signers { keys, threshold: 1 }, directory.to_owned(), directory)
    }

    #[test]
    fn an_old_set_does_not_come_back_and_the_newest_one_may_be_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut signing = signing(directory.path());
        assert!(signing.check(&files("a")).is_err(), "nothing is signed");
        for (content, serial) in [("a", 3), ("b", 9)] {
            put(directory.path(), &files(content), serial);
            assert!(signing.is_stale());
            signing.look();
            let credential = signing.check(&files(content)).unwrap().unwrap();
            assert_eq!((credential.serial, &credential.by[..]), (serial, &["ann".to_owned()][..]));
            signing.note(&credential);
            signing.sync();
            assert!(!signing.is_stale());
        }
        signing.check(&files("b")).unwrap();
        put(directory.path(), &files("a"), 3);
        let refused = signing.check(&files("a")).unwrap_err().to_string();
        assert!(refused.contains("serial 3 is not above 9") && refused.contains("--serial 10"), "{refused}");
        // The same number for other content is an old number, too.
        put(directory.path(), &files("a"), 9);
        signing.check(&files("a")).unwrap_err();
        put(directory.path(), &files("a"), 10);
        signing.check(&files("a")).unwrap();
    }

    #[test]
    fn a_serial_after_which_there_could_be_no_other_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let signing = signing(directory.path());
        for (serial, may_be) in
            [(limits::LARGEST_NUMBER, true), (limits::LARGEST_NUMBER + 1, false), (u64::MAX, false)]
        {
            put(directory.path(), &files("a"), serial);
            assert_eq!(signing.check(&files("a")).is_ok(), may_be, "{serial}");
        }
    }

    #[test]
    fn a_serial_that_cannot_be_read_lets_nothing_in() {
        let directory = tempfile::tempdir().unwrap();
        put(directory.path(), &files("a"), 3);
        fs::write(directory.path().join("serial"), "three").unwrap();
        signing(directory.path()).check(&files("a")).unwrap_err();
    }

    #[test]
    fn without_keys_nothing_is_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let signing = Signing::new(Signers::default(), directory.path().to_owned(), directory.path());
        assert_eq!(signing.check(&files("a")), Ok(None));
        assert!(!signing.is_stale());
    }
}
