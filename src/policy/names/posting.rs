//! What the index says of a name: which cases, in which forms.

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::policy::pattern::Form;

/// What a posting can count to: cases, or links where several cases share a name.
pub(super) const POSTING_LIMIT: u32 = 1 << 28;

/// The host index holds no more: 4 GiB of names, or 2^28 cases or shared names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the policy set holds more names than the index can address")]
pub(crate) struct IndexFull;

/// The pattern forms in which one case names one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Forms(u32);

impl Forms {
    const BITS: u32 = 3;
    const ALL: u32 = (1 << Self::BITS) - 1;

    pub(super) const fn of(form: Form) -> Self {
        Self(match form {
            Form::Exact => 1,
            Form::Subtree => 2,
            Form::Below => 4,
        })
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn to_byte(self) -> u8 {
        // Three bits fit.
        u8::try_from(self.0).unwrap_or_default()
    }

    /// `None` for a byte that says no form, or more than there are.
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        let bits = u32::from(byte);
        (bits != 0 && bits & !Self::ALL == 0).then_some(Self(bits))
    }

    const fn has(self, form: Form) -> bool {
        self.0 & Self::of(form).0 != 0
    }

    /// Each form that is meant.
    pub(super) fn forms(self) -> impl Iterator<Item = Form> {
        [Form::Exact, Form::Subtree, Form::Below].into_iter().filter(move |form| self.has(*form))
    }

    /// The most specific of these forms that covers the name itself (`whole`), or a name below it.
    pub(crate) const fn covering(self, whole: bool) -> Option<Form> {
        match whole {
            true if self.has(Form::Exact) => Some(Form::Exact),
            _ if self.has(Form::Subtree) => Some(Form::Subtree),
            false if self.has(Form::Below) => Some(Form::Below),
            _ => None,
        }
    }
}

/// What the index says of a name, in 32 bits: the forms, a mark for "several cases", and a number that
/// is the case or, with the mark, the first link of the chain of cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Posting(u32);

impl Posting {
    const SHARED: u32 = 1 << Forms::BITS;
    const SHIFT: u32 = Forms::BITS + 1;

    pub(super) fn case(number: u32, forms: Forms) -> Result<Self, IndexFull> {
        if number < POSTING_LIMIT { Ok(Self(number << Self::SHIFT | forms.0)) } else { Err(IndexFull) }
    }

    pub(super) fn chain(link: usize) -> Result<Self, IndexFull> {
        let link = u32::try_from(link).ok().filter(|link| *link < POSTING_LIMIT).ok_or(IndexFull)?;
        Ok(Self(link << Self::SHIFT | Self::SHARED))
    }

    pub(super) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u32 {
        self.0
    }

    pub(super) const fn number(self) -> u32 {
        self.0 >> Self::SHIFT
    }

    pub(super) const fn forms(self) -> Forms {
        Forms(self.0 & Forms::ALL)
    }

    pub(super) const fn is_chain(self) -> bool {
        self.0 & Self::SHARED != 0
    }

    pub(super) const fn with(self, forms: Forms) -> Self {
        Self(self.0 | forms.0)
    }
}

/// One case of several that name the same host; the chain ends at `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) posting: Posting,
    pub(super) next: Option<u32>,
}

impl Link {
    /// Octets of [`Link::to_bytes`].
    pub(super) const BYTES: usize = 8;
    const LAST: u32 = u32::MAX;

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let both = u64::from(self.posting.bits()) | u64::from(self.next.unwrap_or(Self::LAST)) << 32;
        both.to_le_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        let next = u32::from_le_bytes([e, f, g, h]);
        let posting = Posting::from_bits(u32::from_le_bytes([a, b, c, d]));
        Self { posting, next: (next != Self::LAST).then_some(next) }
    }
}

/// The cases of one name, each once, with the forms in which they name it.
pub(super) type Cases = SmallVec<[(u32, Forms); 4]>;

/// Makes postings while an image is built. Names that the same cases share, as those of a list that two cases read,
/// share one chain.
#[derive(Debug, Default)]
pub(super) struct Chains {
    links: Vec<Link>,
    known: HashMap<Cases, Posting>,
}

impl Chains {
    /// The posting that says exactly `cases`, which are sorted by number and at least one.
    pub(super) fn posting(&mut self, cases: &Cases) -> Result<Posting, IndexFull> {
        if let [(case, forms)] = cases[..] {
            return Posting::case(case, forms);
        }
        if let Some(known) = self.known.get(cases) {
            return Ok(*known);
        }
        let mut next = None;
        for (case, forms) in cases.iter().rev() {
            let posting = Posting::case(*case, *forms)?;
            let at = Posting::chain(self.links.len())?.number();
            self.links.push(Link { posting, next });
            next = Some(at);
        }
        let posting = Posting::chain(usize::try_from(next.ok_or(IndexFull)?).map_err(|_| IndexFull)?)?;
        self.known.insert(cases.clone(), posting);
        Ok(posting)
    }

    pub(super) fn into_links(self) -> Vec<Link> {
        self.links
    }
}

/// The cases that name one host, each once, with the forms in which they do.
#[derive(Debug)]
pub(super) struct Naming<'i> {
    links: &'i [Link],
    posting: Option<Posting>,
    next: Option<u32>,
}

impl<'i> Naming<'i> {
    pub(super) const fn new(links: &'i [Link], posting: Option<Posting>) -> Self {
        Self { links, posting, next: None }
    }
}

impl Iterator for Naming<'_> {
    type Item = (u32, Forms);

    fn next(&mut self) -> Option<Self::Item> {
        let at = match self.posting.take() {
            Some(posting) if !posting.is_chain() => return Some((posting.number(), posting.forms())),
            Some(chain) => chain.number(),
            None => self.next?,
        };
        let link = self.links.get(at as usize)?;
        self.next = link.next;
        Some((link.posting.number(), link.posting.forms()))
    }
}
