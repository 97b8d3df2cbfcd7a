//! The keys in use: what the request path sees of them.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use ipcrypt_rs::Ipcrypt;
use jiff::{SignedDuration, Timestamp};

use super::{
    client::ClientText,
    directory::KeyDirectory,
    fill_random,
    key::{Key, KeyError},
    period::{Period, Span},
};

/// How long before a period begins its key is made.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);
/// Keys held: of the period before, for records under way; of this one; of the next.
const HELD: usize = 3;

/// The keys in use. The request path loads one pointer and compares two times; only when it meets a period that
/// nobody has prepared does it take the lock and go to the disk.
pub(crate) struct Ring {
    directory: KeyDirectory,
    /// Newest first. Replaced whole, under `slow`.
    held: ArcSwap<Vec<Arc<Held>>>,
    slow: Mutex<Slow>,
}

/// What only the slow path touches.
#[derive(Default)]
struct Slow {
    trouble: Option<String>,
}

/// One key, and the time it is for.
struct Held {
    span: Span,
    cipher: Cipher,
}

enum Cipher {
    /// The key is on disk.
    Stored(Box<Ipcrypt>),
    /// It could not be stored, and ends with the process.
    Lost(Box<Ipcrypt>),
    /// The kernel gave no random bytes either: every client looks the same.
    Blind,
}

impl Held {
    fn new(span: Span, key: Key) -> Arc<Self> {
        Arc::new(Self { span, cipher: Cipher::Stored(Box::new(Ipcrypt::new(key))) })
    }

    fn lost(span: Span) -> Arc<Self> {
        let mut key = Key::default();
        let cipher = match fill_random(&mut key) {
            Ok(()) => Cipher::Lost(Box::new(Ipcrypt::new(key))),
            Err(_) => Cipher::Blind,
        };
        Arc::new(Self { span, cipher })
    }

    fn is_stored(&self) -> bool {
        matches!(self.cipher, Cipher::Stored(_))
    }

    fn text(&self, client: IpAddr) -> ClientText {
        match &self.cipher {
            Cipher::Stored(key) => ClientText::whole(key.encrypt_ipaddr(client)),
            Cipher::Lost(key) => ClientText::lost(octets(key.encrypt_ipaddr(client))),
            Cipher::Blind => ClientText::lost([0; 16]),
        }
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

impl Ring {
    /// Opens the directory and loads the key of `now`. A key that cannot be made, on a full disk, is no reason not to
    /// start; one that must not be used is.
    pub(super) fn open(path: &Path, period: Period, now: Timestamp) -> Result<Self, KeyError> {
        let directory = KeyDirectory::open(path, period, now)?;
        let ring = Self { directory, held: ArcSwap::default(), slow: Mutex::default() };
        match ring.load(now) {
            Err(error @ (KeyError::Open { .. } | KeyError::Content { .. })) => return Err(error),
            outcome => ring.settle(&mut ring.lock(), now, outcome),
        };
        Ok(ring)
    }

    /// The pseudonym of `client` in a record of the time `now`.
    pub(super) fn text(&self, client: IpAddr, now: Timestamp) -> ClientText {
        let held = self.held.load();
        match find(&held, now) {
            Some(key) => key.text(client),
            None => self.step(now).text(client),
        }
    }

    /// Makes the next key in time, and tries again what failed. No system call while all is well.
    pub(super) fn tend(&self, now: Timestamp) {
        let mut slow = self.lock();
        if !find(&self.held.load(), now).is_some_and(|key| key.is_stored()) {
            let outcome = self.load(now);
            if !self.settle(&mut slow, now, outcome).is_stored() {
                return;
            }
        }
        let next = find(&self.held.load(), now).map_or(now, |key| key.span.end);
        let due = next != Timestamp::MAX && next.duration_since(now) <= AHEAD;
        if !due || find(&self.held.load(), next).is_some_and(|key| key.is_stored()) {
            slow.trouble = None;
            return;
        }
        // There is an hour left: nothing is made up, and whoever looks after the edge is told.
        match self.load(next) {
            Ok(key) => {
                self.hold(key);
                slow.trouble = None;
            }
            Err(error) => slow.trouble = Some(format!("the next key of the pseudonyms: {error}")),
        }
    }

    /// What is wrong with the keys, if anything.
    pub(super) fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// A period began for which there is no key in memory.
    fn step(&self, now: Timestamp) -> Arc<Held> {
        let mut slow = self.lock();
        // Another thread may have been here while this one waited.
        match find(&self.held.load(), now) {
            Some(key) => Arc::clone(key),
            None => {
                let outcome = self.load(now);
                self.settle(&mut slow, now, outcome)
            }
        }
    }

    fn load(&self, time: Timestamp) -> Result<Arc<Held>, KeyError> {
        let span = self.span(time);
        let key = self.directory.load_or_make(&span.label)?;
        Ok(Held::new(span, key))
    }

    /// Takes the key of `now`, or goes on with one that nobody will have.
    fn settle(&self, slow: &mut Slow, now: Timestamp, outcome: Result<Arc<Held>, KeyError>) -> Arc<Held> {
        let known = find(&self.held.load(), now).map(Arc::clone);
        let key = match (outcome, known) {
            (Ok(key), _) => {
                slow.trouble = None;
                key
            }
            (Err(error), known) => {
                slow.trouble = Some(format!("client addresses are recorded beyond recovery: {error}"));
                match known {
                    Some(key) => return key,
                    None => Held::lost(self.span(now)),
                }
            }
        };
        self.hold(Arc::clone(&key));
        key
    }

    fn hold(&self, key: Arc<Held>) {
        let held = self.held.load();
        let others = held.iter().filter(|other| other.span.start != key.span.start);
        let kept = std::iter::once(&key).chain(others).take(HELD).map(Arc::clone).collect();
        self.held.store(Arc::new(kept));
    }

    fn span(&self, time: Timestamp) -> Span {
        // Opening has noted a period, so that there always is one.
        self.directory.span(time).unwrap_or_else(|| Period::default().span(time))
    }

    fn lock(&self) -> MutexGuard<'_, Slow> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(held: &[Arc<Held>], time: Timestamp) -> Option<&Arc<Held>> {
    held.iter().find(|key| key.span.contains(time))
}

/// The address that a pseudonym stands for.
pub(super) fn reveal(key: Key, pseudonym: IpAddr) -> IpAddr {
    let address = Ipcrypt::new(key).decrypt_ipaddr(pseudonym);
    match address {
        IpAddr::V6(v6) => Ipv6Addr::to_canonical(&v6),
        v4 @ IpAddr::V4(_) => v4,
    }
}
