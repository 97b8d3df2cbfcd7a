//! Certificates of a directory, `NAME.crt` and `NAME.key`, chosen by server name, read again when they change.
//!
//! ```text
//! look (every second) -> changed and at rest? -> read every pair -> a bad one keeps what it was before -> swap
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::names::{Name, names};
use crate::hostname::Hostname;
use crate::limits;

/// Certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The directory cannot be read.
    #[error("certificates in `{}`: {cause}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// No pair in it can be used.
    #[error("`{}` holds no certificate that can be used; put `NAME.crt` and `NAME.key` (PEM) into it", .0.display())]
    Empty(PathBuf),
    /// The default certificate is not there, or cannot be used.
    #[error("`{}` holds no usable certificate `{name}`, the default", path.display())]
    NoDefault {
        /// The directory.
        path: PathBuf,
        /// The name of its files, without `.crt`.
        name: String,
    },
    /// rustls takes no such configuration.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// Why one pair cannot be used.
#[derive(Debug, thiserror::Error)]
enum PairError {
    #[error("cannot read `{}`: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("`{}` is no PEM file of the kind it should be: {cause}", path.display())]
    Pem { path: PathBuf, cause: rustls::pki_types::pem::Error },
    #[error("`{}` holds no certificate", .0.display())]
    NoCertificate(PathBuf),
    #[error("the key is not the one of the certificate, or of a kind that is not known: {0}")]
    Key(rustls::Error),
    #[error("it is for no host name: name the files after one, or use a certificate with alternative names")]
    Nameless,
}

/// All certificates of one directory.
#[derive(Debug)]
pub struct Certificates {
    directory: PathBuf,
    /// The pair shown to clients that ask for no name, or for one that is not held.
    default: Option<String>,
    chosen: ArcSwap<Chosen>,
    /// What was read last. Only the thread that looks for changes writes it.
    read: Mutex<Read>,
}

/// Certificates by name.
#[derive(Debug, Default)]
struct Chosen {
    exact: HashMap<Hostname, Arc<CertifiedKey>>,
    below: HashMap<Hostname, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
}

/// A usable pair.
#[derive(Debug, Clone)]
struct Pair {
    names: Vec<Name>,
    key: Arc<CertifiedKey>,
}

#[derive(Debug, Default)]
struct Read {
    pairs: BTreeMap<String, Pair>,
    /// Of the files that `pairs` were read from.
    prints: Prints,
    /// Of the last look, when it differed: a change counts once it is at rest.
    changing: Option<Prints>,
}

/// What tells that a file was changed or replaced: its inode, size and times.
type Prints = BTreeMap<String, (u64, u64, i64, i64)>;

impl Certificates {
    /// Reads the directory; a pair that cannot be used is left out, and the log says why.
    ///
    /// # Errors
    /// When the directory cannot be read, or no pair in it, or not the default one, can be used.
    pub fn load(directory: &Path, default: Option<&str>) -> Result<Self, TlsError> {
        let certificates = Self {
            directory: directory.to_owned(),
            default: default.map(ToOwned::to_owned),
            chosen: ArcSwap::default(),
            read: Mutex::default(),
        };
        let failed = |cause| TlsError::Directory { path: directory.to_owned(), cause };
        let prints = prints(directory).map_err(failed)?;
        let pairs = certificates.pairs(&prints, &BTreeMap::new());
        if pairs.is_empty() {
            return Err(TlsError::Empty(directory.to_owned()));
        }
        if let Some(name) = default.filter(|name| !pairs.contains_key(*name)) {
            return Err(TlsError::NoDefault { path: directory.to_owned(), name: name.to_owned() });
        }
        certificates.put(pairs, prints);
        Ok(certificates)
    }

    /// Looks whether the files have changed and are at rest, and reads them then. Called again and again.
    pub fn look(&self) {
        let prints = match prints(&self.directory) {
            Ok(prints) => prints,
            Err(error) => {
                tracing::error!(directory = %self.directory.display(), %error, "cannot look at the certificates");
                return;
            }
        };
        let before = {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            if read.prints == prints {
                read.changing = None;
                return;
            }
            // A certificate and its key are two files: what changes within a look is waited out.
            if read.changing.as_ref() != Some(&prints) {
                read.changing = Some(prints);
                return;
            }
            read.pairs.clone()
        };
        let mut pairs = self.pairs(&prints, &before);
        if let Some(name) = self.default.as_ref().filter(|name| !pairs.contains_key(*name))
            && let Some(kept) = before.get(name)
        {
            tracing::error!(%name, "the default certificate is gone; the one read before stays in use");
            pairs.insert(name.clone(), kept.clone());
        }
        if pairs.is_empty() {
            tracing::error!(directory = %self.directory.display(), "no certificate is left; those read before stay in use");
            pairs = before;
        }
        tracing::info!(directory = %self.directory.display(), pairs = pairs.len(), "certificates read again");
        self.put(pairs, prints);
    }

    /// Whether a certificate is held for this name, by itself or by a wildcard; the default one does not count.
    pub(super) fn has(&self, name: &Hostname) -> bool {
        self.chosen.load().named(name).is_some()
    }

    /// Whether a client can be shown anything when it asks for no name, or for one that is not held.
    pub(super) fn has_default(&self) -> bool {
        self.chosen.load().default.is_some()
    }

    fn put(&self, pairs: BTreeMap<String, Pair>, prints: Prints) {
        let default =
            self.default.as_ref().and_then(|name| pairs.get(name)).map(|pair| Arc::clone(&pair.key));
        let mut chosen = Chosen { default, ..Chosen::default() };
        for pair in pairs.values() {
            for name in &pair.names {
                let (map, name) = match name {
                    Name::Exact(name) => (&mut chosen.exact, name),
                    Name::Below(name) => (&mut chosen.below, name),
                };
                // The first by file name: the choice must not change with the order of a directory.
                map.entry(name.clone()).or_insert_with(|| Arc::clone(&pair.key));
            }
        }
        // Files named after the name win over alternative names of other certificates.
        for (stem, pair) in &pairs {
            if let Some(Name::Exact(name)) = pair.names.first().filter(|_| Hostname::parse(stem).is_ok()) {
                chosen.exact.insert(name.clone(), Arc::clone(&pair.key));
            }
        }
        self.chosen.store(Arc::new(chosen));
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Read { pairs, prints, changing: None };
    }

    fn pairs<'p>(&self, prints: &'p Prints, before: &BTreeMap<String, Pair>) -> BTreeMap<String, Pair> {
        let mut pairs = BTreeMap::new();
        // Half a pair is one that cannot be used.
        let stem = |file: &'p String| file.strip_suffix(".crt").or_else(|| file.strip_suffix(".key"));
        let stems: BTreeSet<&str> = prints.keys().filter_map(stem).collect();
        for stem in stems {
            match self.pair(stem) {
                Ok(pair) => drop(pairs.insert(stem.to_owned(), pair)),
                Err(error) => {
                    let kept = before.get(stem);
                    let directory = self.directory.display();
                    tracing::error!(%directory, name = stem, %error, kept = kept.is_some(), "a certificate cannot be used");
                    pairs.extend(kept.map(|pair| (stem.to_owned(), pair.clone())));
                }
            }
        }
        pairs
    }

    fn pair(&self, stem: &str) -> Result<Pair, PairError> {
        let file = |ending| self.directory.join(format!("{stem}.{ending}"));
        let (path, key_path) = (file("crt"), file("key"));
        let text = read(&path)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let chain = chain.map_err(|cause| PairError::Pem { path: path.clone(), cause })?;
        let Some(first) = chain.first() else { return Err(PairError::NoCertificate(path)) };
        let names = names(stem, first);
        if names.is_empty() && self.default.as_deref() != Some(stem) {
            return Err(PairError::Nameless);
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&key_path)?)
            .map_err(|cause| PairError::Pem { path: key_path, cause })?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(PairError::Key)?;
        Ok(Pair { names, key: Arc::new(key) })
    }
}

impl Chosen {
    fn named(&self, name: &Hostname) -> Option<&Arc<CertifiedKey>> {
        self.exact.get(name).or_else(|| {
            let parent = name.suffixes().nth(1)?;
            self.below.get(&Hostname::parse(parent).ok()?)
        })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.chosen.load();
        let name = hello.server_name().and_then(|name| Hostname::parse(name).ok());
        let named = name.and_then(|name| chosen.named(&name).map(Arc::clone));
        named.or_else(|| chosen.default.clone())
    }
}

/// The cryptography of every connection: *ring*.
pub(super) fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn prints(directory: &Path) -> io::Result<Prints> {
    let mut prints = Prints::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !(name.ends_with(".crt") || name.ends_with(".key")) {
            continue;
        }
        // Follows links: certificates are often swapped by one.
        match fs::metadata(entry.path()) {
            Ok(facts) if facts.is_file() => {
                let print = (facts.ino(), facts.len(), facts.mtime(), facts.mtime_nsec());
                prints.insert(name, print);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(file = %entry.path().display(), %error, "a certificate file is passed over")
            }
        }
    }
    Ok(prints)
}

fn read(path: &Path) -> Result<Vec<u8>, PairError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = fs::File::open(path);
    file.and_then(|file| file.take(limits::CERTIFICATE_FILE_BYTES).read_to_end(&mut bytes))
        .map_err(|cause| PairError::Read { path: path.to_owned(), cause })?;
    Ok(bytes)
}
