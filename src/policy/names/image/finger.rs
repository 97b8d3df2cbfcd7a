//! A finger in an image: it looks up names that mostly come in the order of the image, without a search for each.

use super::part::PartWalk;
use super::{Image, Walk};
use crate::hostname::MAX_NAME_OCTETS;
use crate::policy::names::posting::Naming;

/// So many names further on, a search is shorter than the way.
const STEPS: usize = 24;

/// Stands at the first name that does not come before the last one asked for.
pub(in crate::policy::names) struct Finger<'i> {
    image: &'i Image,
    walk: Walk<'i>,
    /// The last one asked for, backwards. Nothing where the finger stands nowhere.
    asked: Option<Vec<u8>>,
    ended: bool,
    key: Vec<u8>,
}

impl<'i> Finger<'i> {
    pub(super) fn new(image: &'i Image) -> Self {
        let key = Vec::with_capacity(MAX_NAME_OCTETS);
        Self { image, walk: image.walk(), asked: None, ended: false, key }
    }

    /// The cases that name exactly `name`.
    pub(in crate::policy::names) fn naming(&mut self, name: &[u8]) -> Naming<'i> {
        self.key.clear();
        self.key.extend(name.iter().rev());
        if self.follow() || self.search() {
            let found = !self.ended && self.walk.name() == self.key;
            return if found { self.walk.naming() } else { Naming::new(&[], None) };
        }
        self.asked = None;
        self.image.naming(name)
    }

    /// Goes on from where it stands; false when the name lies before that, or too far on.
    fn follow(&mut self) -> bool {
        let Some(asked) = self.asked.as_mut().filter(|asked| **asked <= self.key) else { return false };
        asked.clone_from(&self.key);
        self.advance(STEPS)
    }

    /// Puts the finger down anew; false when it is not told where the name would be.
    fn search(&mut self) -> bool {
        let Some(walk) = self.image.walk_from(&self.key) else { return false };
        self.walk = walk;
        self.ended = !self.walk.advance();
        self.asked.get_or_insert_default().clone_from(&self.key);
        // The name is in the block it begins with, or behind all of it.
        self.advance(usize::MAX)
    }

    fn advance(&mut self, most: usize) -> bool {
        for _ in 0..most {
            if self.ended || self.walk.name() >= self.key.as_slice() {
                return true;
            }
            self.ended = !self.walk.advance();
        }
        false
    }
}

impl Image {
    /// A walk that begins a few names before this one, which is given backwards.
    fn walk_from(&self, key: &[u8]) -> Option<Walk<'_>> {
        let after = self.parts.partition_point(|part| part.plan.from.as_slice() <= key);
        let (at, rest) = (after.checked_sub(1)?, self.parts.get(after..)?);
        let now: PartWalk<'_> = self.parts.get(at)?.walk_from(key)?;
        Some(Walk { parts: rest.iter(), now: Some(now), ..self.walk() })
    }
}
