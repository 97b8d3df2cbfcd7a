//! Memory that is large and lives long: pages of its own, beside the heap.
//!
//! An image is made by one thread, replaced by another and dropped by a third. An allocator keeps what such threads leave
//! behind for allocations that do not come: after a change of all lists as much as one more image stayed resident. Pages
//! go back to the system at once. And they may be large ones, which makes searching them quicker.

use std::ops::{Deref, DerefMut};

use memmap2::{Advice, MmapMut};

/// Octets, all zero at first.
#[derive(Debug)]
pub(super) struct Pages {
    memory: Memory,
    length: usize,
}

#[derive(Debug)]
enum Memory {
    Mapped(MmapMut),
    /// Where the system gives no pages: it has a bound for the number of mappings.
    Heap(Vec<u8>),
}

impl Pages {
    /// So many octets. The system hands them out as they are touched.
    pub(super) fn zeroed(length: usize) -> Self {
        let memory = match MmapMut::map_anon(length) {
            Ok(pages) => {
                // A wish: not every system has large pages.
                pages.advise(Advice::HugePage).ok();
                Memory::Mapped(pages)
            }
            Err(_) => Memory::Heap(vec![0; length]),
        };
        Self { memory, length }
    }

    /// A copy.
    pub(super) fn holding(octets: &[u8]) -> Self {
        let mut pages = Self::zeroed(octets.len());
        pages.copy_from_slice(octets);
        pages
    }

    /// Leaves out what is behind the first `length` octets.
    pub(super) fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Octets of memory it holds.
    pub(super) fn memory_bytes(&self) -> usize {
        match &self.memory {
            Memory::Mapped(pages) => pages.len(),
            Memory::Heap(octets) => octets.len(),
        }
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all: &[u8] = match &self.memory {
            Memory::Mapped(pages) => pages,
            Memory::Heap(octets) => octets,
        };
        all.get(..self.length).unwrap_or_default()
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        let all: &mut [u8] = match &mut self.memory {
            Memory::Mapped(pages) => pages,
            Memory::Heap(octets) => octets,
        };
        all.get_mut(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_zero_at_first_and_hold_what_is_put_there() {
        let mut pages = Pages::zeroed(10_000);
        assert_eq!(pages[..], [0; 10_000]);
        pages[9_999] = 7;
        let mut copy = Pages::holding(&pages);
        assert_eq!(copy[..], pages[..]);
        copy.truncate(20_000);
        assert_eq!(copy.len(), 10_000);
        copy.truncate(3);
        assert_eq!(copy[..], [0; 3]);
        assert!(copy.memory_bytes() >= 10_000);
        assert!(Pages::zeroed(0).is_empty() && Pages::holding(&[]).is_empty());
    }
}
