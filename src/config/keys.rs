//! Public keys that a signature is asked of: vkeys of signed notes, as the audit log has them.

use super::Verifier;
use crate::document::Value;
use crate::limits;

/// A list of keys, each different from the others whatever its name is.
pub(super) fn keys(value: &Value<'_>) -> Vec<Verifier> {
    let mut known: Vec<Verifier> = Vec::new();
    for text in value.strings(limits::POLICY_KEYS) {
        let key = match Verifier::parse(text.as_str()) {
            Ok(key) => key,
            Err(error) => {
                let hint = "write the line of the file `NAME.pub` that `interdict policy keygen` has made";
                text.spot().error_with_hint(format_args!("`{}`: {error}", text.shown()), hint);
                continue;
            }
        };
        match known.iter().find(|other| other.public_key() == key.public_key() || other.name() == key.name())
        {
            Some(other) if other.public_key() == key.public_key() => {
                let message = format!("`{}` is the key of `{}` once more", key.name(), other.name());
                text.spot().error_with_hint(message, "one key counts once: remove one of the two");
            }
            Some(other) => {
                let message = format!("two keys have the name `{}`", other.name());
                text.spot().error_with_hint(message, "give each key a name of its own");
            }
            None => known.push(key),
        }
    }
    known
}

/// How many of the keys have to sign: 1 unless it is written, and never more than there are.
pub(super) fn needed(value: Option<Value<'_>>, keys: &[Verifier], without_keys: bool) -> usize {
    let Some(value) = value else { return 1 };
    let Some(number) = value.integer(1..=limits::POLICY_KEYS as u64) else { return 1 };
    let number = usize::try_from(number).unwrap_or(limits::POLICY_KEYS);
    if number > keys.len() && !(without_keys && number == 1) {
        let message = format!("{number} keys are asked for, and `keys` has {}", keys.len());
        value.spot().error_with_hint(message, "add keys, or ask for fewer");
    }
    number
}
