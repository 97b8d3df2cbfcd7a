//! Signed notes (C2SP signed-note) with Ed25519 (RFC 8032): a text, a blank line, and one line per signature.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

/// The kind of key in front of its bytes: Ed25519.
const ED25519: u8 = 1;
/// What a signature line starts with.
const DASH: &str = "\u{2014} ";
/// No note of ours is longer; it bounds what is read from a file.
const MAX_NOTE: usize = 1 << 20;
/// Signature lines of one note.
const MAX_SIGNATURES: usize = 100;

/// A key or a note cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text is no key: `<name>+<8 hex>+<base64>`, a private one with `PRIVATE+KEY+` in front.
    #[error("this is no key in the form of signed notes")]
    Key,
    /// The key's id is not the one that follows from its name and bytes.
    #[error("the key's id does not fit its name and bytes")]
    KeyId,
    /// It is no note: UTF-8 without control characters, a blank line, signature lines.
    #[error("this is no signed note")]
    Malformed,
    /// No signature is by the key.
    #[error("the note is not signed by this key")]
    NotSigned,
    /// A signature by the key is wrong.
    #[error("the signature does not fit the note")]
    Signature,
}

/// A name that a key may have: no blanks, no `+`, not empty.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_name_char)
}

fn is_name_char(char: char) -> bool {
    char != '+' && !char.is_whitespace() && !char.is_control()
}

/// `name` with `-` in place of what a key's name may not have.
fn to_name(name: &str) -> String {
    if name.is_empty() {
        return "-".to_owned();
    }
    name.chars().map(|char| if is_name_char(char) { char } else { '-' }).collect()
}

/// The first four bytes of SHA-256(name || newline || type || public key).
fn key_id(name: &str, public: &[u8; 32]) -> [u8; 4] {
    let hash =
        Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(public).finalize();
    let [a, b, c, d, ..]: [u8; 32] = hash.into();
    [a, b, c, d]
}

/// Splits `<name>+<8 hex>+<base64(0x01 || 32 bytes)>`.
fn parse_key(text: &str) -> Result<(&str, [u8; 4], [u8; 32]), NoteError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(bytes)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NoteError::Key);
    };
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !is_name(name) || id.len() != 8 || !id.bytes().all(is_hex) {
        return Err(NoteError::Key);
    }
    let id = u32::from_str_radix(id, 16).map_err(|_| NoteError::Key)?.to_be_bytes();
    let bytes = BASE64.decode(bytes).map_err(|_| NoteError::Key)?;
    match bytes.split_first() {
        Some((&ED25519, key)) => Ok((name, id, key.try_into().map_err(|_| NoteError::Key)?)),
        _ => Err(NoteError::Key),
    }
}

fn key_text(name: &str, id: [u8; 4], key: &[u8; 32]) -> String {
    let mut bytes = vec![ED25519];
    bytes.extend_from_slice(key);
    format!("{name}+{:08x}+{}", u32::from_be_bytes(id), BASE64.encode(bytes))
}

/// A private key and the name it signs under.
#[derive(Clone)]
pub struct Signer {
    name: String,
    key: SigningKey,
}

/// The key itself is never shown.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Signer {
    /// The key of 32 random bytes. Characters that a name may not have (blanks, `+`, controls) become `-`.
    #[must_use]
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Self {
        Self { name: to_name(name), key: SigningKey::from_bytes(&seed) }
    }

    /// Reads `PRIVATE+KEY+<name>+<8 hex>+<base64(0x01 || seed)>`, with or without a newline at the end.
    ///
    /// # Errors
    /// When it is no such key.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let (name, id, seed) = parse_key(text.strip_prefix("PRIVATE+KEY+").ok_or(NoteError::Key)?)?;
        let signer = Self { name: name.to_owned(), key: SigningKey::from_bytes(&seed) };
        if signer.id() == id { Ok(signer) } else { Err(NoteError::KeyId) }
    }

    /// The text that [`Self::parse`] reads, without a newline.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("PRIVATE+KEY+{}", key_text(&self.name, self.id(), self.key.as_bytes()))
    }

    /// The same key under another name, see [`Self::from_seed`].
    #[must_use]
    pub fn with_name(&self, name: &str) -> Self {
        Self { name: to_name(name), key: self.key.clone() }
    }

    /// The name it signs under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> [u8; 4] {
        key_id(&self.name, self.key.verifying_key().as_bytes())
    }

    /// What others need to check this key's signatures.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        Verifier { name: self.name.clone(), id: self.id(), key: self.key.verifying_key() }
    }

    /// The whole note: `body` (which ends with a newline), a blank line, the signature line.
    #[must_use]
    pub fn sign(&self, body: &str) -> String {
        let mut signature = self.id().to_vec();
        signature.extend_from_slice(&self.key.sign(body.as_bytes()).to_bytes());
        format!("{body}\n{DASH}{} {}\n", self.name, BASE64.encode(signature))
    }
}

/// A public key and the name it signs under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl Verifier {
    /// Reads a vkey, `<name>+<8 hex>+<base64(0x01 || public key)>`, with or without a newline at the end.
    ///
    /// # Errors
    /// When it is no such key.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, id, key) = parse_key(text.strip_suffix('\n').unwrap_or(text))?;
        if key_id(name, &key) != id {
            return Err(NoteError::KeyId);
        }
        let key = VerifyingKey::from_bytes(&key).map_err(|_| NoteError::Key)?;
        Ok(Self { name: name.to_owned(), id, key })
    }

    /// The vkey, without a newline.
    #[must_use]
    pub fn to_text(&self) -> String {
        key_text(&self.name, self.id, self.key.as_bytes())
    }

    /// The name that signatures must have.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same key under another name; what a name may not have becomes `-`.
    #[must_use]
    pub fn with_name(&self, name: &str) -> Self {
        let name = to_name(name);
        Self { id: key_id(&name, self.key.as_bytes()), name, key: self.key }
    }

    /// The 32 bytes of the key.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The text of a note that this key signed, its last newline included. Signatures by other keys do not count,
    /// neither for nor against it.
    ///
    /// # Errors
    /// When it is no note, this key did not sign it, or the signature is wrong.
    pub fn open(&self, note: &[u8]) -> Result<String, NoteError> {
        let (body, signatures) = split_note(note).ok_or(NoteError::Malformed)?;
        let mut signed = false;
        for (count, line) in signatures.lines().enumerate() {
            let (name, signature) =
                parse_signature(line).filter(|_| count < MAX_SIGNATURES).ok_or(NoteError::Malformed)?;
            if name == self.name
                && let Some(signature) = signature.strip_prefix(&self.id)
            {
                let signature = Signature::from_slice(signature).map_err(|_| NoteError::Signature)?;
                self.key.verify_strict(body.as_bytes(), &signature).map_err(|_| NoteError::Signature)?;
                signed = true;
            }
        }
        if signed { Ok(body.to_owned()) } else { Err(NoteError::NotSigned) }
    }
}

/// The text with its last newline, and the signature lines.
fn split_note(note: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(note).ok().filter(|text| text.len() <= MAX_NOTE)?;
    if text.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        return None;
    }
    let (body, signatures) = text.split_at_checked(text.rfind("\n\n")? + 1)?;
    let signatures = signatures.strip_prefix('\n')?;
    (signatures.len() > 1 && signatures.ends_with('\n')).then_some((body, signatures))
}

/// The name and the bytes (key id, then signature) of a signature line.
fn parse_signature(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, signature) = line.strip_prefix(DASH)?.split_once(' ')?;
    let signature = BASE64.decode(signature).ok().filter(|bytes| bytes.len() > 4)?;
    is_name(name).then_some((name, signature))
}
