//! How many events one read may return: many if they are small, few if they are large.

use super::{
    recent::CHUNK_BYTES,
    source::{FeedSource, Page},
};
use crate::event_sourcing::StoreError;

/// The limit of the first read.
const FIRST: u32 = 16;

/// The largest limit. It is small because large events may follow small ones.
const MAX: u32 = 64;

/// The limit of the next read. It adapts to the size of the last page.
#[derive(Debug)]
pub(super) struct ReadLimit(u32);

impl Default for ReadLimit {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl ReadLimit {
    pub(super) fn get(&self) -> u32 {
        self.0
    }

    /// Lowers the limit after a large page or a failed read; otherwise raises it.
    pub(super) fn adapt<S: FeedSource>(&mut self, read: &Result<Page<S::Item>, StoreError>) {
        let is_small = read.as_ref().is_ok_and(|page| {
            let sizes = page.events.iter().map(|entry| S::size(&entry.item));
            sizes.sum::<usize>() <= CHUNK_BYTES
        });
        let limit = if is_small { self.0 * 2 } else { self.0 / 4 };
        self.0 = limit.clamp(1, MAX);
    }
}
