//! The names of a set put into one layer, in memory and on disk.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use super::names::{BuildError, Layer, Layers, ReadAt};

/// Names that are being put into one layer, beside the traffic.
#[derive(Debug)]
pub struct Merging {
    names: Layers,
    image_from: u64,
}

impl Merging {
    pub(super) fn of(names: Layers, image_from: u64) -> Self {
        Self { names, image_from }
    }

    /// Does it; nothing comes of it once it is `cancelled`.
    ///
    /// # Errors
    /// When the names cannot be merged; those in force stay as they are.
    pub fn merge(&self, cancelled: &AtomicBool) -> Result<Option<MergedNames>, String> {
        match self.names.merged(self.image_from, cancelled) {
            Ok(merged) => Ok(Some(MergedNames(Arc::new(merged)))),
            Err(BuildError::Cancelled) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The names of a set in one layer.
#[derive(Debug, Clone)]
pub struct MergedNames(Arc<Layer>);

impl MergedNames {
    pub(super) fn of(layer: Arc<Layer>) -> Self {
        Self(layer)
    }

    pub(super) fn layer(&self) -> Arc<Layer> {
        Arc::clone(&self.0)
    }

    /// To know them again, without holding them.
    #[must_use]
    pub fn mark(&self) -> NamesMark {
        NamesMark(Arc::downgrade(&self.0))
    }

    /// Writes them to disk; false when they are too few to be worth it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, to: &mut dyn io::Write) -> io::Result<bool> {
        self.0.write(to)
    }

    /// Reads `length` octets that were written by [`MergedNames::write`].
    ///
    /// # Errors
    /// When the disk refuses, or a single bit is not as it was written.
    pub fn read(from: &dyn ReadAt, length: u64) -> io::Result<Self> {
        Ok(Self(Arc::new(Layer::read(from, length)?)))
    }
}

/// Knows the names of a set again; the default knows none.
#[derive(Debug, Clone, Default)]
pub struct NamesMark(Weak<Layer>);

impl NamesMark {
    /// Whether these are the names it was made for.
    #[must_use]
    pub fn is_of(&self, names: &MergedNames) -> bool {
        Weak::ptr_eq(&self.0, &Arc::downgrade(&names.0))
    }
}
