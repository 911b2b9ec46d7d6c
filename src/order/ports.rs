//! What the outer layers ask of the write side, so that they know no store.

use futures::future::BoxFuture;

use super::{Order, OrderCommand, OrderId, upcasters::lift_where_possible};
use crate::event_sourcing::{
    Answer, EventStore, ExecuteError, Executed, Position, RecordedEvent, Repository, Request,
    StoreError, StreamId, Version,
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

/// The events of one order after a position.
async fn stream_after<S: EventStore>(
    store: &S,
    id: OrderId,
    after: Position,
    limit: u32,
) -> Result<Vec<RecordedEvent>, StoreError> {
    let stream = stream_of::<Order>(id.get());
    let mut events = store.read_stream(stream, Version::new(1), limit).await?;
    let is_all = events.len() < limit as usize;
    if is_all || after == Position::ZERO {
        events.retain(|event| event.position > after);
        return Ok(events);
    }
    let from = first_after(store, stream, after).await?;
    store.read_stream(stream, from, limit).await
}

/// The version from which on a stream is behind a position: positions rise with versions, so it is
/// searched for in leaps that double, and then in halves.
async fn first_after<S: EventStore>(
    store: &S,
    stream: StreamId,
    after: Position,
) -> Result<Version, StoreError> {
    // The version of the first event from `version` on, where that is not behind the position.
    let not_after = async |version: i32| {
        let events = store.read_stream(stream, Version::new(version), 1).await?;
        let event = events.first().filter(|event| event.position <= after);
        Ok::<_, StoreError>(event.map(|event| event.version.get()))
    };
    let (mut seen, mut unseen) = (0_i32, 1_i32);
    while let Some(version) = not_after(unseen).await? {
        seen = version;
        unseen = version.saturating_mul(2);
    }
    while seen.saturating_add(1) < unseen {
        let middle = i32::midpoint(seen, unseen);
        match not_after(middle).await? {
            Some(version) => seen = version,
            None => unseen = middle,
        }
    }
    Ok(Version::new(unseen))
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use uuid::Uuid;

    use super::*;
    use crate::event_sourcing::{
        Append, NewEvent,
        testing::{InMemoryEventStore, instant},
    };

    /// Stores events of two orders by turns: versions 1, 2, 3 … of each at every other position.
    async fn two_orders(versions: i32) -> (InMemoryEventStore, [Uuid; 2]) {
        let store = InMemoryEventStore::default();
        let orders = [1, 2].map(Uuid::from_u128);
        for expected in 0..versions {
            for order in orders {
                let event = NewEvent {
                    event_id: Uuid::nil(),
                    event_type: "OrderCompleted",
                    schema_version: 1,
                    data: RawValue::from_string("{}".to_owned()).unwrap(),
                };
                let append = Append {
                    command_id: Uuid::nil(),
                    stream: stream_of::<Order>(order),
                    expected: Version::new(expected),
                    events: vec![event],
                    occurred_at: instant(0),
                    metadata: RawValue::from_string("{}".to_owned()).unwrap(),
                    key: None,
                };
                store.append(append).await.unwrap();
            }
        }
        (store, orders)
    }

    #[tokio::test]
    async fn the_events_of_an_order_after_any_position_are_found_in_pages_of_any_size() {
        let (store, orders) = two_orders(37).await;
        for order in orders {
            let all = store.read_stream(stream_of::<Order>(order), Version::new(1), 100);
            let positions: Vec<_> = all.await.unwrap().iter().map(|e| e.position).collect();
            for after in (0..=76).map(Position::new) {
                for limit in [1, 2, 5, 36, 37, 38, 100] {
                    let found = stream_after(&store, order.into(), after, limit)
                        .await
                        .unwrap();

                    let found: Vec<_> = found.iter().map(|event| event.position).collect();
                    let behind = positions.iter().copied().filter(|at| *at > after);
                    let expected: Vec<_> = behind.take(limit as usize).collect();
                    assert_eq!(found, expected, "after {after}, {limit} of them");
                }
            }
        }
    }
}
