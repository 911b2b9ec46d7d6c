//! What a feed reads: pages of events that its source has prepared for followers.

use std::future::Future;

use uuid::Uuid;

use crate::event_sourcing::{Position, StoreError};

/// What a feed reads, as its followers want it.
pub trait FeedSource: Send + Sync + 'static {
    /// An event for followers; what none of them wants is left out.
    type Item: Clone + Send + Sync + 'static;

    /// The position of the store's last event.
    fn newest(&self) -> impl Future<Output = Result<Position, StoreError>> + Send;

    /// The next events after a position, at most `limit` of them: of all aggregates, or of one.
    fn read(
        &self,
        after: Position,
        of: Option<Uuid>,
        limit: u32,
    ) -> impl Future<Output = Result<Page<Self::Item>, StoreError>> + Send;

    /// How many bytes an event holds.
    fn size(item: &Self::Item) -> usize;
}

/// Some events that follow one another in the store.
#[derive(Debug)]
pub struct Page<T> {
    /// The events, in order.
    pub events: Vec<Entry<T>>,
    /// Up to where they were read: the position of the last one, left out or not. `None` where there
    /// was none at all.
    pub end: Option<Position>,
    /// Whether there was room for more, so that nothing more is there.
    pub is_last: bool,
}

/// An event with what the feed has to know of it.
#[derive(Debug, Clone)]
pub struct Entry<T> {
    /// Its place in the store.
    pub position: Position,
    /// Whose event it is.
    pub aggregate_id: Uuid,
    /// The event.
    pub item: T,
}
