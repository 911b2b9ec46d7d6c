//! What the outer layers ask of the write side, so that they know no store.

use futures::future::BoxFuture;

use super::{Order, OrderCommand, OrderId, upcasters::lift_where_possible};
use crate::event_sourcing::{
    Answer, EventStore, ExecuteError, Executed, Position, RecordedEvent, Repository, Request,
    StoreError, Version,
    repository::{Loaded, stream_of},
    store::Until,
};

/// How many events of a stream are read at a time.
const PAGE: u32 = 1000;

/// Writes the answer to a command: from the state it led to, that state's version, and whether
/// anything changed. See [`Repository::execute`].
pub type WriteAnswer = fn(&Order, Version, bool) -> Answer;

/// Commands on orders.
pub trait Orders: Send + Sync + 'static {
    /// Executes a command; see [`Repository::execute`].
    fn execute(
        &self,
        request: Request<OrderCommand>,
        answer: WriteAnswer,
    ) -> BoxFuture<'_, Result<Executed, ExecuteError<Order>>>;
}

/// The past of orders, from the event store.
pub trait OrderHistory: Send + Sync + 'static {
    /// The order as it was at `until`; `None` where it did not exist then.
    fn load(
        &self,
        id: OrderId,
        until: Until,
    ) -> BoxFuture<'_, Result<Option<Loaded<Order>>, StoreError>>;

    /// At most `limit` events from version `from` on, in today's shape.
    fn events(
        &self,
        id: OrderId,
        from: Version,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<RecordedEvent>, StoreError>>;

    /// The position of the last event of all.
    fn newest(&self) -> BoxFuture<'_, Result<Position, StoreError>>;

    /// At most `limit` events after a position, in position order: of one order, or of everything in
    /// the store. Events of orders are in today's shape where they can be lifted, else as they are
    /// stored.
    fn events_after(
        &self,
        after: Position,
        of: Option<OrderId>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<RecordedEvent>, StoreError>>;
}

impl<S: EventStore> Orders for Repository<Order, S> {
    fn execute(
        &self,
        request: Request<OrderCommand>,
        answer: WriteAnswer,
    ) -> BoxFuture<'_, Result<Executed, ExecuteError<Order>>> {
        Box::pin(Repository::execute(self, request, answer))
    }
}

impl<S: EventStore> OrderHistory for Repository<Order, S> {
    fn load(
        &self,
        id: OrderId,
        until: Until,
    ) -> BoxFuture<'_, Result<Option<Loaded<Order>>, StoreError>> {
        Box::pin(Repository::load(self, id, until))
    }

    fn events(
        &self,
        id: OrderId,
        from: Version,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<RecordedEvent>, StoreError>> {
        Box::pin(async move {
            let events = self
                .store()
                .read_stream(stream_of::<Order>(id), from, limit)
                .await?;
            events
                .into_iter()
                .map(|event| {
                    let what = format!("event {} of order {id}", event.version);
                    let lifted = self.upcasters().lift(event);
                    lifted.map_err(|error| StoreError::corrupt(what, error))
                })
                .collect()
        })
    }

    fn newest(&self) -> BoxFuture<'_, Result<Position, StoreError>> {
        Box::pin(self.store().newest())
    }

    fn events_after(
        &self,
        after: Position,
        of: Option<OrderId>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<RecordedEvent>, StoreError>> {
        Box::pin(async move {
            let events = match of {
                Some(id) => stream_after(self.store(), id, after, limit).await?,
                None => self.store().read_all(after, limit).await?,
            };
            let lifted = events.into_iter();
            Ok(lifted
                .map(|event| lift_where_possible(self.upcasters(), event))
                .collect())
        })
    }
}

/// The events of one order after a position. A stream is short beside the store, so it is read from
/// its beginning, and in large pages where most of it may have been seen.
async fn stream_after<S: EventStore>(
    store: &S,
    id: OrderId,
    after: Position,
    limit: u32,
) -> Result<Vec<RecordedEvent>, StoreError> {
    let size = if after == Position::ZERO { limit } else { PAGE };
    let mut found = Vec::new();
    let mut from = Version::new(1);
    while found.len() < limit as usize {
        let page = store
            .read_stream(stream_of::<Order>(id), from, size)
            .await?;
        let is_last = page.len() < size as usize;
        from = page.last().map_or(from, |event| event.version.plus(1));
        found.extend(page.into_iter().filter(|event| event.position > after));
        if is_last {
            break;
        }
    }
    found.truncate(limit as usize);
    Ok(found)
}
