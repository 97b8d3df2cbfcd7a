//! One layer of names: immutable, and shared by the rulesets that follow each other.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::AtomicBool;

use super::finger::OnLayer;
use super::hash::Depths;
use super::image::{self, BuildError, Image, Ordered, Sought, Source};
use super::posting::{Cases, Forms, Naming};
use super::run::{Run, RunReader};
use super::table::Table;
use crate::background::Breath;
use crate::hostname::{Hostname, MAX_NAME_OCTETS};
use crate::policy::{CaseId, Digest};

/// What a layer knows of a case: its id, and the digest of all its names. A case whose names did not change is found in
/// a layer by it, whatever else of the case has changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct NamesKey {
    pub(crate) case: CaseId,
    pub(crate) names: Digest,
}

/// The names of one case, ready to go into a layer.
#[derive(Debug)]
pub(crate) struct NamesOf {
    pub(crate) key: NamesKey,
    pub(crate) runs: Vec<Run>,
}

/// Names of some cases.
#[derive(Debug)]
pub(crate) struct Layer {
    /// The cases by their number in this layer.
    pub(super) keys: Vec<NamesKey>,
    /// How many names each of them has here.
    pub(super) counts: Vec<u32>,
    pub(super) names: Names,
}

#[derive(Debug)]
pub(super) enum Names {
    Table(Table),
    Image(Image),
}

impl Layer {
    /// Fewer than `image_from` names become a table, others an image.
    pub(crate) fn new(cases: &[NamesOf], image_from: u64) -> Result<Self, BuildError> {
        let names: u64 = cases.iter().flat_map(|case| &case.runs).map(|run| run.names).sum();
        let keys = cases.iter().map(|case| case.key.clone()).collect();
        if names < image_from {
            let (table, counts) = table_of(cases, names)?;
            return Ok(Self { keys, counts, names: Names::Table(table) });
        }
        let never = AtomicBool::new(false);
        let (image, counts) = image::build(&sources(cases), cases.len(), &never)?;
        Ok(Self { keys, counts, names: Names::Image(image) })
    }

    /// The names of several layers in one, without those of cases that `lives` says no of. It ends early when it is
    /// `cancelled`.
    pub(super) fn merged(
        layers: &[&Self],
        lives: impl Fn(&NamesKey) -> bool,
        image_from: u64,
        cancelled: &AtomicBool,
    ) -> Result<Self, BuildError> {
        let mut keys: Vec<NamesKey> = Vec::new();
        let mut known: HashMap<&NamesKey, u32> = HashMap::new();
        let mut numbers: Vec<Vec<Option<u32>>> = Vec::with_capacity(layers.len());
        for layer in layers {
            let mut number = |key| {
                *known.entry(key).or_insert_with(|| {
                    keys.push(key.clone());
                    // Postings bound the number of cases far below.
                    u32::try_from(keys.len() - 1).unwrap_or(u32::MAX)
                })
            };
            numbers.push(layer.keys.iter().map(|key| lives(key).then(|| number(key))).collect());
        }
        let names: u64 = layers.iter().map(|layer| layer.len() as u64).sum();
        let (names, counts) = if names < image_from {
            let (table, counts) = merged_table(layers, &numbers, keys.len())?;
            (Names::Table(table), counts)
        } else {
            let kept = layers.iter().zip(&numbers).map(|(layer, numbers)| layer.source(numbers));
            let (image, counts) = image::build(&kept.collect::<Vec<_>>(), keys.len(), cancelled)?;
            (Names::Image(image), counts)
        };
        Ok(Self { keys, counts, names })
    }

    /// Which of a host's names may be in it.
    pub(super) fn may_name(&self, host: &Hostname, sought: Sought) -> Depths {
        match &self.names {
            Names::Table(_) => Depths::ALL,
            Names::Image(image) => image.may_name(host, sought),
        }
    }

    /// The cases that name exactly `name`, by their numbers here.
    pub(super) fn naming(&self, name: &[u8]) -> Naming<'_> {
        match &self.names {
            Names::Table(table) => table.naming(name),
            Names::Image(image) => image.naming(name),
        }
    }

    /// Looks names up that mostly come in the order of [`Self::each_name`].
    pub(super) fn finger(&self) -> OnLayer<'_> {
        match &self.names {
            Names::Table(table) => OnLayer::Table(table),
            Names::Image(image) => OnLayer::Image(image.finger()),
        }
    }

    /// Walks through all names with the cases of each.
    pub(super) fn each_name(&self, mut each: impl FnMut(&str, Naming<'_>)) {
        // Whoever looks at names holds them against rails and rulesets: some microseconds each.
        let mut breath = Breath::every(128);
        match &self.names {
            Names::Table(table) => {
                for (name, naming) in table.iter() {
                    breath.tick();
                    each(std::str::from_utf8(name).unwrap_or_default(), naming);
                }
            }
            Names::Image(image) => {
                let (mut walk, mut name) = (image.walk(), Vec::with_capacity(MAX_NAME_OCTETS));
                while walk.advance() {
                    breath.tick();
                    name.clear();
                    name.extend(walk.name().iter().rev());
                    each(std::str::from_utf8(&name).unwrap_or_default(), walk.naming());
                }
            }
        }
    }

    /// Whether it has the names of a case.
    pub(crate) fn has(&self, key: &NamesKey) -> bool {
        self.keys.contains(key)
    }

    /// How many different names are in it.
    pub(crate) fn len(&self) -> usize {
        match &self.names {
            Names::Table(table) => table.len(),
            Names::Image(image) => image.len(),
        }
    }

    pub(crate) fn is_image(&self) -> bool {
        matches!(self.names, Names::Image(_))
    }

    /// Bytes of memory it holds.
    pub(super) fn memory_bytes(&self) -> usize {
        match &self.names {
            Names::Table(table) => table.memory_bytes(),
            Names::Image(image) => image.memory_bytes(),
        }
    }

    fn source<'l>(&'l self, numbers: &'l [Option<u32>]) -> Box<dyn Source + 'l> {
        match &self.names {
            Names::Image(image) => Box::new(ImageSource { image, numbers }),
            Names::Table(table) => Box::new(TableSource::new(table, numbers)),
        }
    }
}

fn table_of(cases: &[NamesOf], names: u64) -> Result<(Table, Vec<u32>), BuildError> {
    let mut table = Table::with_capacity(usize::try_from(names).unwrap_or_default(), 0);
    let mut counts = vec![0; cases.len()];
    for ((case, count), number) in cases.iter().zip(&mut counts).zip(0..) {
        for run in &case.runs {
            let mut reader = run.reader()?;
            while let Some(forms) = reader.advance()? {
                let mut name = reader.name().to_vec();
                name.reverse();
                *count += u32::from(table.insert(number, &name, forms)?);
            }
        }
    }
    table.shrink();
    Ok((table, counts))
}

fn merged_table(
    layers: &[&Layer],
    numbers: &[Vec<Option<u32>>],
    cases: usize,
) -> Result<(Table, Vec<u32>), BuildError> {
    let mut by_case: Vec<Vec<(Vec<u8>, Forms)>> = vec![Vec::new(); cases];
    let mut take = |name: &[u8], naming: Naming<'_>, numbers: &[Option<u32>]| {
        for (number, forms) in naming {
            let number = numbers.get(number as usize).copied().flatten();
            if let Some(names) = number.and_then(|number| by_case.get_mut(number as usize)) {
                names.push((name.to_vec(), forms));
            }
        }
    };
    for (layer, numbers) in layers.iter().zip(numbers) {
        match &layer.names {
            Names::Table(table) => table.iter().for_each(|(name, naming)| take(name, naming, numbers)),
            Names::Image(image) => {
                let mut walk = image.walk();
                while walk.advance() {
                    let name: Vec<u8> = walk.name().iter().rev().copied().collect();
                    take(&name, walk.naming(), numbers);
                }
            }
        }
    }
    let mut table = Table::with_capacity(by_case.iter().map(Vec::len).sum(), 0);
    let mut counts = vec![0; cases];
    for ((names, count), number) in by_case.iter().zip(&mut counts).zip(0..) {
        for (name, forms) in names {
            *count += u32::from(table.insert(number, name, *forms)?);
        }
    }
    table.shrink();
    Ok((table, counts))
}

/// Runs that several cases share, as those of one list, are read once.
fn sources(cases: &[NamesOf]) -> Vec<Box<dyn Source + '_>> {
    let mut shared: HashMap<*const (), RunSource<'_>> = HashMap::new();
    for (case, number) in cases.iter().zip(0..) {
        for run in &case.runs {
            let source = shared.entry(run.identity()).or_insert_with(|| RunSource { run, cases: Vec::new() });
            // A case may name one list under two paths.
            if source.cases.last() != Some(&number) {
                source.cases.push(number);
            }
        }
    }
    shared.into_values().map(|source| Box::new(source) as Box<dyn Source>).collect()
}

/// A run with the numbers of the cases that name every name of it.
struct RunSource<'s> {
    run: &'s Run,
    cases: Vec<u32>,
}

impl Source for RunSource<'_> {
    fn len(&self) -> u64 {
        self.run.names
    }

    fn middle(&self) -> Vec<u8> {
        self.run.middle.to_vec()
    }

    fn open(&self) -> io::Result<Box<dyn Ordered + '_>> {
        Ok(Box::new(OrderedRun { reader: self.run.reader()?, forms: None, cases: &self.cases }))
    }
}

struct OrderedRun<'s> {
    reader: RunReader<'s>,
    forms: Option<Forms>,
    cases: &'s [u32],
}

impl Ordered for OrderedRun<'_> {
    fn advance(&mut self) -> io::Result<bool> {
        self.forms = self.reader.advance()?;
        Ok(self.forms.is_some())
    }

    fn name(&self) -> &[u8] {
        self.reader.name()
    }

    fn cases(&self, cases: &mut Cases) {
        if let Some(forms) = self.forms {
            cases.extend(self.cases.iter().map(|case| (*case, forms)));
        }
    }
}

/// An image whose cases have other numbers now, or none.
struct ImageSource<'l> {
    image: &'l Image,
    numbers: &'l [Option<u32>],
}

impl Source for ImageSource<'_> {
    fn len(&self) -> u64 {
        self.image.len() as u64
    }

    fn middle(&self) -> Vec<u8> {
        self.image.middle()
    }

    fn open(&self) -> io::Result<Box<dyn Ordered + '_>> {
        Ok(Box::new(OrderedImage { walk: self.image.walk(), numbers: self.numbers }))
    }
}

struct OrderedImage<'l> {
    walk: image::Walk<'l>,
    numbers: &'l [Option<u32>],
}

impl Ordered for OrderedImage<'_> {
    fn advance(&mut self) -> io::Result<bool> {
        Ok(self.walk.advance())
    }

    fn name(&self) -> &[u8] {
        self.walk.name()
    }

    fn cases(&self, cases: &mut Cases) {
        cases.extend(renumbered(self.walk.naming(), self.numbers));
    }
}

/// The names of a table, sorted.
struct TableSource {
    names: Vec<(Vec<u8>, Cases)>,
}

impl TableSource {
    fn new(table: &Table, numbers: &[Option<u32>]) -> Self {
        let backwards = |name: &[u8]| name.iter().rev().copied().collect();
        let mut names: Vec<(Vec<u8>, Cases)> = table
            .iter()
            .map(|(name, naming)| (backwards(name), renumbered(naming, numbers).collect()))
            .collect();
        names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Self { names }
    }
}

impl Source for TableSource {
    fn len(&self) -> u64 {
        self.names.len() as u64
    }

    fn middle(&self) -> Vec<u8> {
        self.names.get(self.names.len() / 2).map(|(name, _)| name.clone()).unwrap_or_default()
    }

    fn open(&self) -> io::Result<Box<dyn Ordered + '_>> {
        Ok(Box::new(OrderedTable { rest: self.names.iter(), now: None }))
    }
}

struct OrderedTable<'l> {
    rest: std::slice::Iter<'l, (Vec<u8>, Cases)>,
    now: Option<&'l (Vec<u8>, Cases)>,
}

impl Ordered for OrderedTable<'_> {
    fn advance(&mut self) -> io::Result<bool> {
        self.now = self.rest.next();
        Ok(self.now.is_some())
    }

    fn name(&self) -> &[u8] {
        self.now.map(|(name, _)| name.as_slice()).unwrap_or_default()
    }

    fn cases(&self, cases: &mut Cases) {
        cases.extend(self.now.into_iter().flat_map(|(_, now)| now.iter().copied()));
    }
}

fn renumbered<'n>(naming: Naming<'n>, numbers: &'n [Option<u32>]) -> impl Iterator<Item = (u32, Forms)> + 'n {
    naming.filter_map(|(number, forms)| Some((numbers.get(number as usize).copied().flatten()?, forms)))
}

/// An image and the cases in it as they lie on disk.
pub(super) fn note(layer: &Layer) -> Vec<(String, Digest, u32)> {
    let named = layer.keys.iter().zip(&layer.counts);
    named.map(|(key, count)| (key.case.to_string(), key.names, *count)).collect()
}

/// A layer as [`note`] and the image say.
pub(super) fn from_note(note: Vec<(String, Digest, u32)>, image: Image) -> Option<Layer> {
    let mut layer = Layer { keys: Vec::new(), counts: Vec::new(), names: Names::Image(image) };
    for (case, names, count) in note {
        layer.keys.push(NamesKey { case: CaseId::parse(&case)?, names });
        layer.counts.push(count);
    }
    Some(layer)
}
