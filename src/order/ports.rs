//! What the outer layers ask of the write side, so that they know no store.

use futures::future::BoxFuture;

use super::{Order, OrderCommand, OrderId};
use crate::event_sourcing::{
    Answer, EventStore, ExecuteError, Executed, RecordedEvent, Repository, Request, StoreError,
    Version,
    repository::{Loaded, stream_of},
    store::Until,
};

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
}
