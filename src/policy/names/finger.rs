//! Looking up names that mostly come in the order in which they are kept: one set held against another.

use super::image;
use super::layers::GONE;
use super::posting::{Forms, Naming};
use super::table::Table;

/// A finger on every layer.
pub(crate) struct Fingers<'l>(Vec<(OnLayer<'l>, &'l [u32])>);

impl<'l> Fingers<'l> {
    /// Of layers with the positions of their cases.
    pub(super) fn new(layers: impl Iterator<Item = (OnLayer<'l>, &'l [u32])>) -> Self {
        Self(layers.collect())
    }

    /// Calls `each` for every case that names exactly `name`, with its position and the forms.
    pub(crate) fn naming(&mut self, name: &str, mut each: impl FnMut(usize, Forms)) {
        for (finger, positions) in &mut self.0 {
            for (number, forms) in finger.naming(name.as_bytes()) {
                let position = positions.get(number as usize).copied().filter(|position| *position != GONE);
                if let Some(position) = position.and_then(|position| usize::try_from(position).ok()) {
                    each(position, forms);
                }
            }
        }
    }
}

/// The finger on one of them; a table needs none.
pub(super) enum OnLayer<'l> {
    Table(&'l Table),
    Image(image::Finger<'l>),
}

impl<'l> OnLayer<'l> {
    /// The cases that name exactly `name`, by their numbers in the layer.
    fn naming(&mut self, name: &[u8]) -> Naming<'l> {
        match self {
            Self::Table(table) => table.naming(name),
            Self::Image(finger) => finger.naming(name),
        }
    }
}
