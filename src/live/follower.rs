//! A follower of a feed: it has a position and receives the events after it.

use std::sync::{Arc, atomic::Ordering};

use uuid::Uuid;

use super::{
    read_limit::ReadLimit,
    recent::{CHUNK_BYTES, Lookup},
    shared::Shared,
    source::{Entry, FeedSource},
};
use crate::event_sourcing::{Position, StoreError};

/// What a follower receives.
#[derive(Debug, PartialEq, Eq)]
pub enum Update<T> {
    /// The next events. May be empty if the follower wants one aggregate only.
    Events(Vec<T>),
    /// The follower was ahead of the store: the store was restored to an earlier point, or never had
    /// that position. The follower continues after the given position.
    Resync(Position),
}

/// A follower of a feed.
pub struct Follower<S: FeedSource> {
    feed: Arc<Shared<S>>,
    after: Position,
    aggregate: Option<Uuid>,
    seen_rewinds: u64,
    is_ahead: bool,
    read_limit: ReadLimit,
}

impl<S: FeedSource> Follower<S> {
    /// Makes a follower that has seen the events up to `after`. The store ends at `newest`.
    pub(super) fn new(
        feed: Arc<Shared<S>>,
        after: Position,
        newest: Position,
        aggregate: Option<Uuid>,
    ) -> Self {
        feed.followers.fetch_add(1, Ordering::AcqRel);
        feed.joined.notify_one();
        let (seen_rewinds, _) = feed.recent().last_rewind();
        Self {
            feed,
            after: after.min(newest),
            aggregate,
            seen_rewinds,
            is_ahead: after > newest,
            read_limit: ReadLimit::default(),
        }
    }

    /// Waits for the next events. A dropped call loses none.
    ///
    /// # Errors
    /// [`StoreError`] if the events are not buffered and the store does not answer. The next call
    /// tries again from the same position.
    pub async fn next(&mut self) -> Result<Update<S::Item>, StoreError> {
        if std::mem::take(&mut self.is_ahead) {
            return Ok(Update::Resync(self.after));
        }
        let feed = Arc::clone(&self.feed);
        loop {
            let changed = feed.changed.notified();
            tokio::pin!(changed);
            // Enabled before the look-up, so that no change in between is missed.
            changed.as_mut().enable();
            if self.follow_rewind() {
                return Ok(Update::Resync(self.after));
            }
            let lookup = feed.recent().look_up(self.after, self.aggregate, S::size);
            match lookup {
                Lookup::Buffered(events, end) => {
                    self.after = end;
                    return Ok(Update::Events(events));
                }
                Lookup::InStore(buffered_after) => {
                    return self.read(buffered_after).await.map(Update::Events);
                }
                Lookup::UpToDate => changed.await,
            }
        }
    }

    /// Reads the next events from the store. The last page is complete up to where the buffer begins,
    /// because positions are in commit order: no event before that position can be added any more.
    async fn read(&mut self, buffered_after: Position) -> Result<Vec<S::Item>, StoreError> {
        let source = &self.feed.of_followers;
        let limit = self.read_limit.get();
        let page = source.read(self.after, self.aggregate, limit).await;
        self.read_limit.adapt::<S>(&page);
        let mut page = page?;
        if let Some(last) = last_of_chunk(&page.events, S::size) {
            // The rest is read again later: a client that does not read its stream must not hold it.
            page.events.truncate(last + 1);
            page.end = page.events.last().map(|entry| entry.position);
            page.is_last = false;
        }
        let end = page.end.unwrap_or(self.after);
        self.after = if page.is_last {
            end.max(buffered_after)
        } else {
            end
        };
        Ok(page.events.into_iter().map(|entry| entry.item).collect())
    }

    /// Goes back to the end of a store that was rewound behind this follower. Returns whether it did.
    fn follow_rewind(&mut self) -> bool {
        let (rewinds, position) = self.feed.recent().last_rewind();
        let is_known = std::mem::replace(&mut self.seen_rewinds, rewinds) == rewinds;
        if is_known || self.after <= position {
            return false;
        }
        self.after = position;
        true
    }
}

/// Where a chunk ends within these events; `None` if they are not more than one.
fn last_of_chunk<T>(events: &[Entry<T>], size: impl Fn(&T) -> usize) -> Option<usize> {
    let mut bytes = 0;
    let last = events.iter().position(|entry| {
        bytes += size(&entry.item);
        bytes >= CHUNK_BYTES
    });
    last.filter(|last| last + 1 < events.len())
}

impl<S: FeedSource> Drop for Follower<S> {
    fn drop(&mut self) {
        self.feed.followers.fetch_sub(1, Ordering::AcqRel);
    }
}
