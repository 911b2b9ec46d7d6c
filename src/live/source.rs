//! The source of a feed: the event store, with each event in the form that followers receive.

use std::future::Future;

use uuid::Uuid;

use crate::event_sourcing::{Position, StoreError};

/// The events that a feed reads.
pub trait FeedSource: Send + Sync + 'static {
    /// An event in the form that followers receive.
    type Item: Clone + Send + Sync + 'static;

    /// The position of the store's last event; zero if it has none.
    fn newest(&self) -> impl Future<Output = Result<Position, StoreError>> + Send;

    /// At most `limit` events after a position, of all aggregates or of one. A source may leave out
    /// events that no follower wants.
    fn read(
        &self,
        after: Position,
        aggregate: Option<Uuid>,
        limit: u32,
    ) -> impl Future<Output = Result<Page<Self::Item>, StoreError>> + Send;

    /// The size of an event in bytes.
    fn size(item: &Self::Item) -> usize;
}

/// Consecutive events of the store.
#[derive(Debug)]
pub struct Page<T> {
    /// The events in position order.
    pub events: Vec<Entry<T>>,
    /// The position of the last event that was read, even if the source left it out. `None` if there
    /// was no event.
    pub end: Option<Position>,
    /// Whether fewer events than the limit were read, so that no more follow yet.
    pub is_last: bool,
}

/// An event with the values that the feed needs.
#[derive(Debug, Clone)]
pub struct Entry<T> {
    /// The event's position in the store.
    pub position: Position,
    /// The id of the event's aggregate.
    pub aggregate_id: Uuid,
    /// The event.
    pub item: T,
}
