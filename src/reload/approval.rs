//! Who may approve of a set that is held back, and what they sign.

use jiff::Timestamp;

use super::held::{Approval, Held};
use crate::audit::merkle::{Signer, Verifier};

/// Whose approvals count, and how many are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approvers {
    /// Their keys. Without any, whoever may use the control socket approves.
    pub keys: Vec<Verifier>,
    /// So many.
    pub needed: usize,
}

impl Default for Approvers {
    fn default() -> Self {
        Self { keys: Vec::new(), needed: 1 }
    }
}

/// Why an approval does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// Nothing is held back, or something else.
    #[error("no policy set with the digest `{0}` is held back")]
    NotHeld(String),
    /// Keys are configured, and no signature came.
    #[error("an approval has to be signed: add `--key FILE` with one of the keys in `[guard]`")]
    Unsigned,
    /// None of the keys has signed this statement.
    #[error("the approval is not signed by a key in `[guard]`, or it is one of another change")]
    Foreign,
    /// The key has approved before.
    #[error("`{0}` has approved already, and another key is needed")]
    Twice(String),
    /// Another process numbers and keeps policy sets.
    #[error("this edge is being succeeded by another process; ask that one")]
    Succeeded,
}

/// What an approval says, word for word: one set instead of another, so that it can be used for no other change. With the
/// revision, which is never given again, and the moment it was held back it can be used for no other time either: when the
/// same two sets stand against each other once more, that is another decision.
#[must_use]
pub fn statement(held: &Held) -> String {
    let Held { digest, in_force, revision, since, .. } = held;
    format!(
        "interdict approval of a held policy set v2\nset {digest}\ninstead of {in_force}, revision {revision}\n\
         held since {since}\n"
    )
}

/// The statement, signed.
#[must_use]
pub fn sign(signer: &Signer, held: &Held) -> String {
    signer.sign(&statement(held))
}

impl Approvers {
    /// Takes an approval of what is held: a signed statement, or nothing where the user at the socket is enough.
    pub(super) fn approve(
        &self,
        held: &mut Held,
        note: Option<&str>,
        user: &str,
        at: Timestamp,
    ) -> Result<(), ApprovalError> {
        let approval = if self.keys.is_empty() {
            Approval { by: user.to_owned(), key: None, at }
        } else {
            let note = note.ok_or(ApprovalError::Unsigned)?;
            let expected = statement(held);
            let signed = |key: &&Verifier| key.open(note.as_bytes()).is_ok_and(|body| body == expected);
            let key = self.keys.iter().find(signed).ok_or(ApprovalError::Foreign)?;
            Approval { by: key.name().to_owned(), key: Some(super::hex(&key.public_key())), at }
        };
        let same = |other: &Approval| {
            other.key == approval.key && (approval.key.is_some() || other.by == approval.by)
        };
        if held.approvals.iter().any(same) {
            return Err(ApprovalError::Twice(approval.by));
        }
        held.approvals.push(approval);
        Ok(())
    }

    /// What of the approvals given so far still counts: those of keys that are configured now.
    pub(super) fn revise(&self, held: &mut Held) {
        let keys: Vec<String> = self.keys.iter().map(|key| super::hex(&key.public_key())).collect();
        held.approvals.retain(|approval| match &approval.key {
            Some(key) => keys.contains(key),
            None => keys.is_empty(),
        });
        held.needed = self.needed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reload::replacement::Replacement;

    fn signer(name: &str, seed: u8) -> Signer {
        Signer::from_seed(name, [seed; 32])
    }

    fn held() -> Held {
        let since = Timestamp::UNIX_EPOCH;
        Held {
            digest: "ab".repeat(32),
            in_force: "cd".repeat(32),
            revision: 7,
            since,
            findings: Vec::new(),
            needed: 2,
            approvals: Vec::new(),
            changes: Vec::new(),
            replaces: Replacement::default(),
        }
    }

    fn approvers(signers: &[&Signer]) -> Approvers {
        Approvers { keys: signers.iter().map(|signer| signer.verifier()).collect(), needed: 2 }
    }

    #[test]
    fn two_keys_approve_and_one_does_not_count_twice() {
        let (ann, bob) = (signer("ann", 1), signer("bob", 2));
        let (approvers, mut held) = (approvers(&[&ann, &bob]), held());
        let mut approve = |signer: &Signer| {
            let note = sign(signer, &held);
            let outcome = approvers.approve(&mut held, Some(&note), "uid 0", Timestamp::UNIX_EPOCH);
            (outcome, held.is_approved())
        };
        assert_eq!(approve(&ann), (Ok(()), false));
        assert_eq!(approve(&ann), (Err(ApprovalError::Twice("ann".to_owned())), false));
        // The same key under another name is no key of the list.
        assert_eq!(approve(&ann.with_name("carl")), (Err(ApprovalError::Foreign), false));
        assert_eq!(approve(&signer("bob", 3)), (Err(ApprovalError::Foreign), false));
        assert_eq!(approve(&bob), (Ok(()), true));
    }

    #[test]
    fn a_signature_under_another_change_or_other_words_is_worth_nothing() {
        let ann = signer("ann", 1);
        let (approvers, mut held) = (approvers(&[&ann]), held());
        let later = Timestamp::UNIX_EPOCH + std::time::Duration::from_nanos(1);
        let others = [
            sign(&ann, &Held { in_force: "00".repeat(32), ..held.clone() }),
            sign(&ann, &Held { digest: "00".repeat(32), ..held.clone() }),
            // The same two sets, at another time.
            sign(&ann, &Held { revision: 9, ..held.clone() }),
            sign(&ann, &Held { since: later, ..held.clone() }),
            ann.sign(&format!("interdict policy signature v1\nset {}\n", held.digest)),
            "no note".to_owned(),
        ];
        for note in others {
            let outcome = approvers.approve(&mut held, Some(&note), "uid 0", Timestamp::UNIX_EPOCH);
            assert_eq!(outcome, Err(ApprovalError::Foreign), "{note}");
        }
        let unsigned = approvers.approve(&mut held, None, "uid 0", Timestamp::UNIX_EPOCH);
        assert_eq!((unsigned, held.approvals.len()), (Err(ApprovalError::Unsigned), 0));
    }

    #[test]
    fn approvals_of_keys_that_were_taken_out_no_longer_count() {
        let (ann, bob) = (signer("ann", 1), signer("bob", 2));
        let (both, mut held) = (approvers(&[&ann, &bob]), held());
        let note = sign(&ann, &held);
        both.approve(&mut held, Some(&note), "uid 0", Timestamp::UNIX_EPOCH).unwrap();
        approvers(&[&bob]).revise(&mut held);
        assert_eq!(held.approvals, []);
        both.approve(&mut held, Some(&note), "uid 0", Timestamp::UNIX_EPOCH).unwrap();
        Approvers { keys: Vec::new(), needed: 1 }.revise(&mut held);
        assert_eq!((held.approvals.len(), held.needed), (0, 1));
    }
}
