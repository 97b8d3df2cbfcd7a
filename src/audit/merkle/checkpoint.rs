//! Checkpoints (C2SP tlog-checkpoint): what a log says of itself, and signs.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use super::{
    hash::Hash,
    note::{NoteError, Signer, Verifier},
    range::MAX_SIZE,
};

/// The note is no checkpoint of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note or its signature is wrong.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text is not that of a checkpoint.
    #[error("the note is no checkpoint: {0}")]
    Malformed(&'static str),
    /// It is a checkpoint of another log.
    #[error("the checkpoint is of the log `{found}`, not of `{expected}`")]
    Origin {
        /// The name of the key.
        expected: String,
        /// What the checkpoint says.
        found: String,
    },
}

/// The size and root of a log at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: a line of text, the same as the name of its key.
    pub origin: String,
    /// Leaves of the tree.
    pub size: u64,
    /// The root of the tree.
    pub root: Hash,
    /// Lines of our own after the three of every checkpoint; none is empty or holds a newline.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// The text that is signed; every line ends with a newline.
    #[must_use]
    pub fn body(&self) -> String {
        let mut body = format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root));
        for line in &self.extensions {
            // Writing into a text cannot fail.
            writeln!(body, "{line}").ok();
        }
        body
    }

    /// Reads the text of a checkpoint; what it takes it writes back byte for byte.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(body: &str) -> Result<Self, CheckpointError> {
        let malformed = CheckpointError::Malformed;
        let lines = body.strip_suffix('\n').ok_or(malformed("its last line has no end"))?;
        let mut lines = lines.split('\n');
        let origin = lines.next().filter(|line| !line.is_empty()).ok_or(malformed("no origin"))?;
        let size = lines.next().and_then(parse_size).ok_or(malformed("no size"))?;
        let root = lines.next().and_then(|line| BASE64.decode(line).ok()?.try_into().ok());
        let root = root.ok_or(malformed("no root"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(malformed("an empty line"));
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions })
    }

    /// The checkpoint as a signed note.
    #[must_use]
    pub fn sign(&self, signer: &Signer) -> String {
        signer.sign(&self.body())
    }

    /// The checkpoint in a note that this key signed.
    ///
    /// # Errors
    /// When the key did not sign it, it is no checkpoint, or its origin is not the key's name.
    pub fn open(note: &[u8], verifier: &Verifier) -> Result<Self, CheckpointError> {
        let checkpoint = Self::parse(&verifier.open(note)?)?;
        if checkpoint.origin != verifier.name() {
            let expected = verifier.name().to_owned();
            return Err(CheckpointError::Origin { expected, found: checkpoint.origin });
        }
        Ok(checkpoint)
    }

    /// The rest of the first extension line that starts with `key` and a blank.
    #[must_use]
    pub fn extension(&self, key: &str) -> Option<&str> {
        self.extensions.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
    }
}

/// A decimal number without leading zeros or sign.
fn parse_size(text: &str) -> Option<u64> {
    let size = text.parse::<u64>().ok().filter(|size| *size <= MAX_SIZE)?;
    (size.to_string() == text).then_some(size)
}
