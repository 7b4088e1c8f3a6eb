//! Page maps: which pages an image directory holds, and which are to be found in the one before it.

use serde::{Deserialize, Serialize};

use super::frame::{Entries, Magic, decode};
use super::messages::PagemapEntry;
use super::{ImageError, Result};

pub(super) const IN_PARENT: u32 = 1;
const LAZY: u32 = 2;
pub(super) const PRESENT: u32 = 4;

pub(super) fn pages(entry: &PagemapEntry) -> u64 {
    entry.nr_pages.unwrap_or_else(|| entry.nr_pages_32.into())
}

/// Before flags there was only "in the parent" or here.
pub(super) fn flags(entry: &PagemapEntry) -> u32 {
    let in_parent = if entry.in_parent { IN_PARENT } else { 0 };
    entry.flags.map_or(if entry.in_parent { 0 } else { PRESENT }, |flags| flags) | in_parent
}

/// Pages by where they are. Sums saturate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PagemapTotals {
    /// Written into this image directory: in a pre-dump chain, what was dirty in this round.
    pub present: u64,
    /// Unchanged since the round before, and found there.
    pub in_parent: u64,
    /// To be brought when they are touched.
    pub lazy: u64,
    /// Stretches of memory.
    pub stretches: u64,
}

impl PagemapTotals {
    /// Of one `pagemap-*.img`.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn decode(name: &str, image: &[u8]) -> Result<Self> {
        let mut entries = Entries::new(name, Magic::Pagemap, image)?;
        // The first entry names the image with the pages.
        entries.next().ok_or_else(|| ImageError::malformed(name, "it has no head"))??;
        let mut totals = Self::default();
        for entry in entries {
            totals.add_entry(&decode(name, entry?)?);
        }
        Ok(totals)
    }

    fn add_entry(&mut self, entry: &PagemapEntry) {
        let (pages, flags) = (pages(entry), flags(entry));
        self.stretches = self.stretches.saturating_add(1);
        if flags & IN_PARENT != 0 {
            self.in_parent = self.in_parent.saturating_add(pages);
        } else if flags & PRESENT != 0 {
            self.present = self.present.saturating_add(pages);
        } else if flags & LAZY != 0 {
            self.lazy = self.lazy.saturating_add(pages);
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            present: self.present.saturating_add(other.present),
            in_parent: self.in_parent.saturating_add(other.in_parent),
            lazy: self.lazy.saturating_add(other.lazy),
            stretches: self.stretches.saturating_add(other.stretches),
        }
    }

    /// All pages.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.present.saturating_add(self.in_parent).saturating_add(self.lazy)
    }
}
