//! The interfaces through which the outer layers use the write side without knowing the store.

use futures::future::BoxFuture;

use super::{Order, OrderCommand, OrderId, upcasters::lift_where_possible};
use crate::event_sourcing::{
    Claimed, EventStore, ExecuteError, Executed, Position, RecordedEvent, Repository, Request,
    StoreError, Version,
    repository::{Loaded, stream_of},
    store::Until,
};

/// Executes commands on orders. A caller gets a `T` that it makes from the order after the command.
pub trait Orders<T>: Send + Sync + 'static {
    /// Waits until a command may run; see [`Repository::claim`].
    fn claim(
        &self,
        request: Request<OrderCommand>,
    ) -> BoxFuture<'_, Result<Claimed<Order>, ExecuteError<Order>>>;

    /// Runs a command; see [`Repository::run`].
    fn run(
        &self,
        claimed: Claimed<Order>,
        output: fn(&Order, Version) -> T,
    ) -> BoxFuture<'_, Result<Executed<T>, ExecuteError<Order>>>;
}

/// Reads the history of orders from the event store.
pub trait OrderHistory: Send + Sync + 'static {
    /// The order as it was at `until`; `None` if it did not exist then.
    fn load(
        &self,
        id: OrderId,
        until: Until,
    ) -> BoxFuture<'_, Result<Option<Loaded<Order>>, StoreError>>;

    /// At most `limit` events of an order from version `from` on, lifted to today's schema
    /// versions.
    fn events(
        &self,
        id: OrderId,
        from: Version,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<RecordedEvent>, StoreError>>;

    /// The position of the newest event in the store.
    fn newest(&self) -> BoxFuture<'_, Result<Position, StoreError>>;

    /// At most `limit` events after a position, in position order: of the order `of`, or of all
    /// streams. Events of orders are lifted to today's schema versions; one that cannot be lifted
    /// is returned as it is stored.
    fn events_after(
        &self,
        after: Position,
        of: Option<OrderId>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<RecordedEvent>, StoreError>>;
}

impl<T: Send + 'static, S: EventStore> Orders<T> for Repository<Order, S> {
    fn claim(
        &self,
        request: Request<OrderCommand>,
    ) -> BoxFuture<'_, Result<Claimed<Order>, ExecuteError<Order>>> {
        Box::pin(Repository::claim(self, request))
    }

    fn run(
        &self,
        claimed: Claimed<Order>,
        output: fn(&Order, Version) -> T,
    ) -> BoxFuture<'_, Result<Executed<T>, ExecuteError<Order>>> {
        Box::pin(Repository::run(self, claimed, output))
    }
}

impl<S: EventStore> OrderHistory for Repository<Order, S> {
    fn load(
        &self,
        id: OrderId,
        until: Until,
    ) -> BoxFuture<'_, Result<Option<Loaded<Order>>, StoreError>> {
        Box::pin(Repository::load(self, id.get(), until))
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
                .read_stream(stream_of::<Order>(id.get()), from, limit)
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
                Some(id) => {
                    let stream = stream_of::<Order>(id.get());
                    self.store().read_stream_after(stream, after, limit).await?
                }
                None => self.store().read_all(after, limit).await?,
            };
            let lifted = events.into_iter();
            Ok(lifted
                .map(|event| lift_where_possible(self.upcasters(), event))
                .collect())
        })
    }
}
