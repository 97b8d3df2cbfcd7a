//! Objects in memory, within a bound.
//!
//! Parts are chosen by the hash of the URI, so that all variants of it are together. Within a part the oldest object
//! makes room, unless it was used since it was last looked at (CLOCK). Whatever an object takes is reserved until
//! the last connection that reads it is done: a client that reads slowly can keep memory from others, and never
//! more than there is.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use bytes::Bytes;
use hashbrown::HashMap;
use pingora::cache::key::HashBinary;

use super::account::{Account, Reserved};
use super::roll::Entry;
use crate::hostname::Hostname;
use crate::limits;
use crate::metrics::Metrics;

/// The host of an object.
pub(super) type Site = Arc<Entry<Hostname>>;
/// The origin an object came from.
pub(super) type Source = Arc<Entry<SocketAddr>>;

/// Where an object is: a URI, and which of its variants. The first that is stored has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) uri: HashBinary,
    pub(super) variant: Option<HashBinary>,
}

/// An answer that was stored. Never changed: a revalidation puts another one in its place.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) place: Place,
    pub(super) site: Site,
    pub(super) source: Option<Source>,
    /// When it was stored first, which a revalidation does not change.
    pub(super) created: SystemTime,
    pub(super) meta: Meta,
    /// Its memory is reserved as long as any part of it is held.
    pub(super) body: Bytes,
    /// Whether it was asked for since it last might have made room.
    used: AtomicBool,
}

/// Times and fields as Pingora writes them, and the memory for everything but the content.
#[derive(Debug)]
pub(super) struct Meta {
    pub(super) times: Vec<u8>,
    pub(super) fields: Vec<u8>,
    reserved: Reserved,
}

/// Content, and the memory it takes.
struct Held {
    bytes: Vec<u8>,
    _reserved: Reserved,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Content that keeps its memory reserved.
pub(super) fn held(bytes: Vec<u8>, reserved: Reserved) -> Bytes {
    Bytes::from_owner(Held { bytes, _reserved: reserved })
}

impl Object {
    pub(super) fn new(
        place: Place,
        (site, source): (Site, Option<Source>),
        created: SystemTime,
        meta: Meta,
        body: Bytes,
    ) -> Self {
        Self { place, site, source, created, meta, body, used: AtomicBool::new(false) }
    }

    /// Whether it must not be served any more.
    pub(super) fn is_dead(&self) -> bool {
        self.site.is_struck() || self.source.as_ref().is_some_and(|source| source.is_struck())
    }

    /// All the memory it takes.
    fn bytes(&self) -> usize {
        self.meta.reserved.bytes() + self.body.len()
    }
}

/// What was taken out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many objects.
    pub objects: usize,
    /// How much memory they took, in bytes.
    pub bytes: usize,
}

/// The objects.
#[derive(Debug)]
pub(super) struct Store {
    parts: Box<[Mutex<Part>]>,
    /// The part that makes room next.
    next: AtomicUsize,
    account: Arc<Account>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Part {
    uris: HashMap<HashBinary, Vec<Arc<Object>>>,
    /// Oldest first; holds objects that are gone until they come up, or are more than those that are there.
    queue: VecDeque<Weak<Object>>,
    objects: usize,
}

impl Store {
    pub(super) fn new(bound: usize, metrics: Arc<Metrics>) -> Self {
        let parts = std::iter::repeat_with(Mutex::default).take(limits::CACHE_SHARDS).collect();
        let account = Arc::new(Account::new(bound, Arc::clone(&metrics)));
        Self { parts, next: AtomicUsize::new(0), account, metrics }
    }

    /// Takes memory; objects make room for it. Nothing when what is left is in use.
    pub(super) fn reserve(&self, bytes: usize) -> Option<Reserved> {
        if bytes > self.account.bound() {
            return None;
        }
        loop {
            if let Some(reserved) = self.account.try_take(bytes) {
                return Some(reserved);
            }
            self.evict_one()?;
        }
    }

    /// Memory for times and fields of an object of `site`, and all that belongs to an object beside its content.
    pub(super) fn meta(&self, times: Vec<u8>, fields: Vec<u8>, site: &Site) -> Option<Meta> {
        let bytes = times.len() + fields.len() + site.name.as_str().len() + limits::CACHE_OBJECT_OVERHEAD;
        Some(Meta { times, fields, reserved: self.reserve(bytes)? })
    }

    /// The object at a place.
    pub(super) fn find(&self, place: &Place) -> Option<Arc<Object>> {
        let part = self.lock(&place.uri)?;
        let variants = part.uris.get(&place.uri)?;
        let object = variants.iter().find(|object| object.place.variant == place.variant)?;
        if object.is_dead() {
            return None;
        }
        object.used.store(true, Ordering::Relaxed);
        Some(Arc::clone(object))
    }

    /// Puts an object in, in place of the one that is there. Not one that is dead: whoever strikes its host or
    /// origin takes this lock afterwards, and finds whatever was put in before.
    pub(super) fn insert(&self, object: Object) -> bool {
        let object = Arc::new(object);
        let Some(mut part) = self.lock(&object.place.uri) else { return false };
        if object.is_dead() {
            return false;
        }
        let replaced = part.insert(&object);
        drop(part);
        self.metrics.cache.objects.add(1 - i64::from(replaced.is_some()));
        true
    }

    /// Counts an answer that was stored.
    pub(super) fn note_stored(&self) {
        self.metrics.cache.stored.inc();
    }

    /// Takes a URI out with all its variants.
    pub(super) fn remove(&self, uri: &HashBinary) -> Removed {
        let Some(mut part) = self.lock(uri) else { return Removed::default() };
        let removed = part.uris.remove(uri).unwrap_or_default();
        part.objects -= removed.len();
        drop(part);
        self.note(&removed)
    }

    /// Takes out every object that is dead, one part after the other.
    pub(super) fn bury(&self) -> Removed {
        let mut total = Removed::default();
        for part in &self.parts {
            let removed = part.lock().unwrap_or_else(PoisonError::into_inner).take_dead();
            let removed = self.note(&removed);
            total.objects += removed.objects;
            total.bytes += removed.bytes;
        }
        total
    }

    fn note(&self, removed: &[Arc<Object>]) -> Removed {
        let objects = removed.len();
        self.metrics.cache.objects.sub(super::account::gauge(objects));
        Removed { objects, bytes: removed.iter().map(|object| object.bytes()).sum() }
    }

    /// Makes room: the next part that has an object loses one. Nothing when there is none in any.
    fn evict_one(&self) -> Option<()> {
        let evicted = self.parts.iter().find_map(|_| {
            let at = self.next.fetch_add(1, Ordering::Relaxed) % self.parts.len();
            self.parts.get(at)?.lock().unwrap_or_else(PoisonError::into_inner).evict()
        })?;
        self.metrics.cache.evictions.inc();
        self.note(&[evicted]);
        Some(())
    }

    fn lock(&self, uri: &HashBinary) -> Option<MutexGuard<'_, Part>> {
        let at = usize::from(*uri.first()?) % self.parts.len();
        Some(self.parts.get(at)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Part {
    /// Returns what made room: the object at the same place, or one of the variants of a URI that has too many.
    fn insert(&mut self, object: &Arc<Object>) -> Option<Arc<Object>> {
        let variants = self.uris.entry(object.place.uri).or_default();
        let same = variants.iter().position(|known| known.place.variant == object.place.variant);
        let full = || {
            let spare = variants.iter().position(|known| known.place.variant.is_some());
            spare.filter(|_| variants.len() >= limits::CACHE_VARIANTS)
        };
        let replaced = same.or_else(full).map(|at| variants.remove(at));
        variants.push(Arc::clone(object));
        self.objects += usize::from(replaced.is_none());
        if self.queue.len() >= 2 * self.objects + limits::CACHE_SHARDS {
            // Objects that a connection still reads, and those that were replaced, go when they come up.
            self.queue.retain(|object| object.strong_count() > 0);
        }
        self.queue.push_back(Arc::downgrade(object));
        replaced
    }

    fn take_dead(&mut self) -> Vec<Arc<Object>> {
        let mut dead = Vec::new();
        self.uris.retain(|_, variants| {
            dead.extend(variants.extract_if(.., |object| object.is_dead()));
            !variants.is_empty()
        });
        self.objects -= dead.len();
        dead
    }

    /// Takes out the oldest object that was not used since it last came up.
    fn evict(&mut self) -> Option<Arc<Object>> {
        while let Some(oldest) = self.queue.pop_front() {
            let Some(object) = oldest.upgrade() else { continue };
            let Some(variants) = self.uris.get_mut(&object.place.uri) else { continue };
            let Some(at) = variants.iter().position(|known| Arc::ptr_eq(known, &object)) else { continue };
            if object.used.swap(false, Ordering::Relaxed) {
                self.queue.push_back(oldest);
                continue;
            }
            variants.remove(at);
            if variants.is_empty() {
                self.uris.remove(&object.place.uri);
            }
            self.objects -= 1;
            return Some(object);
        }
        None
    }
}
