//! Somebody who follows a feed: a position, and what comes after it.

use std::sync::{Arc, atomic::Ordering};

use uuid::Uuid;

use super::{pace::Pace, shared::Shared, source::FeedSource, tail::Look};
use crate::event_sourcing::{Position, StoreError};

/// What a follower gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Fed<T> {
    /// The events that come next; maybe none for this one.
    Events(Vec<T>),
    /// The follower was ahead of the store, which has gone back (or was never there). It goes on with
    /// what follows this position.
    Resync(Position),
}

/// Somebody who follows the feed.
pub struct Follower<S: FeedSource> {
    feed: Arc<Shared<S>>,
    after: Position,
    of: Option<Uuid>,
    setbacks: u64,
    is_ahead: bool,
    pace: Pace,
}

impl<S: FeedSource> Follower<S> {
    /// A follower who has seen the events up to `after`, of a store that ends at `newest`.
    pub(super) fn new(
        feed: Arc<Shared<S>>,
        after: Position,
        newest: Position,
        of: Option<Uuid>,
    ) -> Self {
        feed.followers.fetch_add(1, Ordering::AcqRel);
        feed.joined.notify_one();
        let (setbacks, _) = feed.tail().setback();
        Self {
            feed,
            after: after.min(newest),
            of,
            setbacks,
            is_ahead: after > newest,
            pace: Pace::default(),
        }
    }

    /// Waits for what comes next. A call that is dropped takes nothing.
    ///
    /// # Errors
    /// Where the store has to be asked and does not answer; the next call goes on from here.
    pub async fn next(&mut self) -> Result<Fed<S::Item>, StoreError> {
        if std::mem::take(&mut self.is_ahead) {
            return Ok(Fed::Resync(self.after));
        }
        let feed = Arc::clone(&self.feed);
        loop {
            let moved = feed.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable(); // armed before we look
            if self.has_been_set_back() {
                return Ok(Fed::Resync(self.after));
            }
            let look = feed.tail().look(self.after, self.of, S::size);
            match look {
                Look::Kept(events, end) => {
                    self.after = end;
                    return Ok(Fed::Events(events));
                }
                Look::Store(floor) => return self.read(floor).await.map(Fed::Events),
                Look::Nothing => moved.await,
            }
        }
    }

    /// Reads what comes next from the store. Once there is no more, what the feed keeps comes next: it
    /// follows on `floor`, and what was not there up to that will never be.
    async fn read(&mut self, floor: Position) -> Result<Vec<S::Item>, StoreError> {
        let source = &self.feed.source;
        let page = source.read(self.after, self.of, self.pace.limit()).await;
        self.pace.adapt::<S>(&page);
        let page = page?;
        let end = page.end.unwrap_or(self.after);
        self.after = if page.is_last { end.max(floor) } else { end };
        Ok(page.events.into_iter().map(|entry| entry.item).collect())
    }

    /// Whether the store has gone back behind what this follower has seen; then it begins there.
    fn has_been_set_back(&mut self) -> bool {
        let (setbacks, position) = self.feed.tail().setback();
        if std::mem::replace(&mut self.setbacks, setbacks) == setbacks || self.after <= position {
            return false;
        }
        self.after = position;
        true
    }
}

impl<S: FeedSource> Drop for Follower<S> {
    fn drop(&mut self) {
        self.feed.followers.fetch_sub(1, Ordering::AcqRel);
    }
}
