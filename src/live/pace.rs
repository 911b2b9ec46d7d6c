//! How many events are read at once: many small ones, few large ones.

use super::{
    source::{FeedSource, Page},
    tail::CHUNK_BYTES,
};
use crate::event_sourcing::StoreError;

/// How many events are read at once at first, and at most: not more, for the next ones may be large
/// where the last ones were small.
const FIRST: u32 = 16;
const MOST: u32 = 64;

/// The limit of the next read.
#[derive(Debug)]
pub(super) struct Pace(u32);

impl Default for Pace {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Pace {
    pub(super) fn limit(&self) -> u32 {
        self.0
    }

    /// Reads fewer after a page that was large, or that did not come; else more.
    pub(super) fn adapt<S: FeedSource>(&mut self, read: &Result<Page<S::Item>, StoreError>) {
        let is_small = read.as_ref().is_ok_and(|page| {
            let sizes = page.events.iter().map(|entry| S::size(&entry.item));
            sizes.sum::<usize>() <= CHUNK_BYTES
        });
        let limit = if is_small { self.0 * 2 } else { self.0 / 4 };
        self.0 = limit.clamp(1, MOST);
    }
}
