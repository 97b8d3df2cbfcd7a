//! Layers over each other, as one ruleset sees them.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use smallvec::SmallVec;

use super::finger::Fingers;
use super::hash::Depths;
use super::image::{self, BuildError, ReadAt, Sought};
use super::layer::{Layer, NamesKey, from_note, note};
use super::posting::Forms;
use crate::hostname::Hostname;
use crate::policy::pattern::Form;

/// A case that names a host or a parent of it, in a form that covers the host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'s> {
    /// The name its pattern is built on: the host itself, or a parent.
    pub(crate) name: &'s str,
    /// The most specific form of that name that covers the host.
    pub(crate) form: Form,
    /// The position of the case.
    pub(crate) position: u32,
}

/// A case that has no position in the ruleset.
pub(super) const GONE: u32 = u32::MAX;

/// A layer and where its cases stand in the ruleset.
#[derive(Debug, Clone)]
struct Placed {
    layer: Arc<Layer>,
    /// By the number of a case in the layer: its position, or [`Self::GONE`].
    positions: Box<[u32]>,
    /// How many of the cases have a position.
    live: usize,
}

impl Placed {
    const GONE: u32 = GONE;

    fn new(layer: Arc<Layer>) -> Self {
        let positions = vec![Self::GONE; layer.keys.len()].into();
        Self { layer, positions, live: 0 }
    }

    fn live_names(&self) -> u64 {
        let counts = self.positions.iter().zip(&self.layer.counts);
        counts.filter(|(at, _)| **at != Self::GONE).map(|(_, count)| u64::from(*count)).sum()
    }
}

/// The names of one ruleset.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers {
    placed: Vec<Placed>,
}

impl Layers {
    /// Gives every case its position in one of `layers`, which come with the newest first; a layer that none of the
    /// cases has names in is left out.
    ///
    /// # Errors
    /// The positions of cases whose names are in none of them.
    pub(crate) fn place(keys: &[NamesKey], layers: Vec<Arc<Layer>>) -> Result<Self, Vec<usize>> {
        let mut placed: Vec<Placed> = layers.into_iter().map(Placed::new).collect();
        let mut known: HashMap<&NamesKey, (usize, usize)> = HashMap::new();
        let shared: Vec<Arc<Layer>> = placed.iter().map(|one| Arc::clone(&one.layer)).collect();
        for (at, layer) in shared.iter().enumerate().rev() {
            known.extend(layer.keys.iter().enumerate().map(|(number, key)| (key, (at, number))));
        }
        let mut missing = Vec::new();
        for (position, key) in keys.iter().enumerate() {
            let place = known.get(key).and_then(|(at, number)| {
                let placed = placed.get_mut(*at)?;
                Some((&mut placed.live, placed.positions.get_mut(*number)?))
            });
            match (place, u32::try_from(position)) {
                (Some((live, slot)), Ok(position)) => {
                    *slot = position;
                    *live += 1;
                }
                _ => missing.push(position),
            }
        }
        if !missing.is_empty() {
            return Err(missing);
        }
        placed.retain(|one| one.live > 0);
        Ok(Self { placed })
    }

    /// The layers themselves, to be used again.
    pub(crate) fn shared(&self) -> impl Iterator<Item = Arc<Layer>> + '_ {
        self.placed.iter().map(|one| Arc::clone(&one.layer))
    }

    /// Calls `each` for every case that names `host` or a parent of it in a form that covers `host`, most specific name
    /// first.
    pub(crate) fn covering<'s>(&self, host: &'s Hostname, mut each: impl FnMut(Named<'s>)) {
        self.find(host, Sought::Covering, |name, own, position, forms| {
            if let Some(form) = forms.covering(own) {
                each(Named { name, form, position });
            }
        });
    }

    /// Calls `each` for every case that names `host` or a parent of it, whatever it covers: with that name, whether it is
    /// the host's own, the position of the case, and the forms.
    pub(crate) fn naming_all<'s>(&self, host: &'s Hostname, each: impl FnMut(&'s str, bool, u32, Forms)) {
        self.find(host, Sought::Any, each);
    }

    /// First every layer says which of the names it may have: of most hosts, none has any.
    fn find<'s>(&self, host: &'s Hostname, sought: Sought, mut each: impl FnMut(&'s str, bool, u32, Forms)) {
        let mut layers: SmallVec<[(Depths, &Placed); 4]> = SmallVec::new();
        for placed in &self.placed {
            let depths = placed.layer.may_name(host, sought);
            if !depths.is_empty() {
                layers.push((depths, placed));
            }
        }
        if layers.is_empty() {
            return;
        }
        let mut left = layers.iter().fold(Depths::default(), |all, (depths, _)| all.and(*depths));
        for (above, name) in host.suffixes().enumerate() {
            let own = above == 0;
            let depth = if own { Depths::OWN } else { Depths::labels_of(name.as_bytes()) };
            left = left.without(depth);
            for (_, placed) in layers.iter().filter(|(depths, _)| depths.has(depth)) {
                for (number, forms) in placed.layer.naming(name.as_bytes()) {
                    let position = placed.positions.get(number as usize).copied().unwrap_or(Placed::GONE);
                    if position != Placed::GONE {
                        each(name, own, position, forms);
                    }
                }
            }
            if left.is_empty() {
                return;
            }
        }
    }

    /// Calls `each` with every pattern of the cases whose positions are wanted. Every layer that has one of them is walked
    /// through once.
    pub(crate) fn each_name_of(&self, wanted: &[bool], each: &mut dyn FnMut(usize, Form, &str)) {
        for placed in &self.placed {
            let position = |number: u32| {
                let position = usize::try_from(*placed.positions.get(number as usize)?).ok()?;
                wanted.get(position).is_some_and(|wanted| *wanted).then_some(position)
            };
            if !(0..).zip(&placed.positions).any(|(number, _)| position(number).is_some()) {
                continue;
            }
            placed.layer.each_name(|name, naming| {
                for (number, forms) in naming {
                    let Some(position) = position(number) else { continue };
                    forms.forms().for_each(|form| each(position, form, name));
                }
            });
        }
    }

    /// Looks names up that mostly come in the order of [`Self::each_name_of`].
    pub(crate) fn fingers(&self) -> Fingers<'_> {
        Fingers::new(self.placed.iter().map(|placed| (placed.layer.finger(), &*placed.positions)))
    }

    /// How many names the cases have, a name of two cases counted twice.
    pub(crate) fn names(&self) -> u64 {
        self.placed.iter().map(Placed::live_names).sum()
    }

    /// How many names each case has, by position.
    pub(crate) fn counts(&self, cases: usize) -> Vec<u32> {
        let mut counts = vec![0; cases];
        for placed in &self.placed {
            for (at, count) in placed.positions.iter().zip(&placed.layer.counts) {
                if let Some(slot) = counts.get_mut(*at as usize) {
                    *slot = *count;
                }
            }
        }
        counts
    }

    /// Bytes of memory the layers hold.
    pub(crate) fn memory_bytes(&self) -> usize {
        let of_one = |one: &Placed| one.layer.memory_bytes() + size_of_val(&*one.positions);
        self.placed.iter().map(of_one).sum()
    }

    /// Puts a small new layer together with those of its own size, so that there are never more than a few: each name
    /// is moved as often as the number of names doubles.
    ///
    /// # Errors
    /// When the numbers are used up.
    pub(crate) fn folded(
        fresh: Layer,
        before: Vec<Arc<Layer>>,
        lives: impl Fn(&NamesKey) -> bool,
        image_from: u64,
    ) -> Result<Vec<Arc<Layer>>, BuildError> {
        let (mut tables, mut layers): (Vec<_>, Vec<_>) =
            before.into_iter().partition(|layer| !layer.is_image());
        if fresh.is_image() {
            layers.splice(0..0, tables);
            layers.insert(0, Arc::new(fresh));
            return Ok(layers);
        }
        tables.sort_by_key(|layer| std::cmp::Reverse(layer.len()));
        let mut together = vec![Arc::new(fresh)];
        let mut names = together.iter().map(|layer| layer.len()).sum::<usize>();
        while let Some(table) = tables.pop_if(|table| table.len() <= 2 * names) {
            names += table.len();
            together.push(table);
        }
        if together.len() > 1 && (names as u64) < image_from {
            let of: Vec<&Layer> = together.iter().map(AsRef::as_ref).collect();
            let never = AtomicBool::new(false);
            together = vec![Arc::new(Layer::merged(&of, lives, image_from, &never)?)];
        }
        together.extend(tables);
        together.extend(layers);
        Ok(together)
    }

    /// Whether merging is worth its while: many names in tables, or many in an image that no case has any more.
    pub(crate) fn wants_merging(&self, image_from: u64) -> bool {
        let sum = |images: bool| {
            let of_kind = self.placed.iter().filter(move |one| one.layer.is_image() == images);
            of_kind.fold((0, 0, 0_usize), |(all, live, count), one| {
                let named: u64 = one.layer.counts.iter().map(|count| u64::from(*count)).sum();
                (all + named, live + one.live_names(), count + 1)
            })
        };
        // A name of two cases counts for each, among all as among the live ones.
        let ((in_tables, _, _), (in_images, live, images)) = (sum(false), sum(true));
        in_tables >= image_from || images > 1 || in_images.saturating_sub(live) > in_images / 4
    }

    /// All names that cases still have, in one layer. It takes seconds with millions of names, and ends early when it is
    /// `cancelled`.
    ///
    /// # Errors
    /// When the numbers are used up, or it was cancelled.
    pub(crate) fn merged(&self, image_from: u64, cancelled: &AtomicBool) -> Result<Layer, BuildError> {
        let live: HashSet<&NamesKey> = self.placed.iter().flat_map(Self::live_keys).collect();
        let layers: Vec<&Layer> = self.placed.iter().map(|one| one.layer.as_ref()).collect();
        Layer::merged(&layers, |key| live.contains(key), image_from, cancelled)
    }

    fn live_keys(placed: &Placed) -> impl Iterator<Item = &NamesKey> {
        let keyed = placed.layer.keys.iter().zip(&placed.positions);
        keyed.filter(|(_, at)| **at != Placed::GONE).map(|(key, _)| key)
    }
}

impl Layer {
    /// Writes the layer to disk, if it is one that is worth it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn write(&self, to: &mut dyn Write) -> io::Result<bool> {
        let super::layer::Names::Image(image) = &self.names else { return Ok(false) };
        image::write(image, &note(self), to)?;
        Ok(true)
    }

    /// Reads a layer of `length` octets back.
    ///
    /// # Errors
    /// When the disk refuses, or the layer is not as it was written.
    pub(crate) fn read(from: &dyn ReadAt, length: u64) -> io::Result<Self> {
        let (image, note) = image::read(from, length)?;
        from_note(note, image).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it names no cases"))
    }
}
