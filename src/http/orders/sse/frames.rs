//! The events of live streams as messages. Each event is written once, for all connected clients.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use moka::sync::Cache;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::error;
use uuid::Uuid;

use crate::{
    event_sourcing::{Aggregate, DomainEvent, Position, RecordedEvent, StoreError, error_chain},
    http::orders::views::HistoryEntry,
    live::{Entry, FeedSource, Page},
    order::{CustomerId, Order, OrderEvent, OrderHistory, OrderId, Status},
};

/// How many customers of orders are kept in memory.
const KNOWN_CUSTOMERS: u64 = 100_000;

/// An event as a message of `text/event-stream`, and what filters need to know about it.
#[derive(Debug)]
pub struct Frame {
    /// The order of the event.
    pub order_id: Uuid,
    /// The order's status after the event; `None` if the event cannot be decoded.
    pub status: Option<Status>,
    /// The customer; only the first event of an order has it.
    customer: Option<CustomerId>,
    /// `id`, `event` and `data`, and the empty line that ends a message.
    pub text: Bytes,
}

impl Frame {
    /// # Errors
    /// [`StoreError::Corrupt`] if the event cannot be written as a history entry.
    fn of(event: RecordedEvent) -> Result<Self, StoreError> {
        let (order_id, position) = (event.aggregate_id, event.position);
        let (status, customer) = match OrderEvent::decode(&event.event_type, &event.data) {
            Ok(OrderEvent::Created { customer_id, .. }) => {
                (Some(Status::Created), Some(customer_id))
            }
            Ok(
                OrderEvent::ItemAdded { .. }
                | OrderEvent::ItemQuantityChanged { .. }
                | OrderEvent::ItemRemoved { .. },
            ) => (Some(Status::Created), None),
            Ok(OrderEvent::Completed) => (Some(Status::Completed), None),
            Ok(OrderEvent::Cancelled { .. }) => (Some(Status::Cancelled), None),
            // It is still sent to clients without a filter.
            Err(_) => (None, None),
        };
        let name = event.event_type.clone();
        // JSON from the database has no line break: PostgreSQL writes none between values, and in
        // strings it is escaped. A line break would end the field.
        let data = serde_json::to_string(&HistoryEntry::try_from(event)?)
            .map_err(|error| StoreError::corrupt(format!("event at {position}"), error))?;
        let text = format!("id: {position}\nevent: {name}\ndata: {data}\n\n");
        Ok(Self {
            order_id,
            status,
            customer,
            text: text.into(),
        })
    }

    /// The frame of an event; `None` if there is none. Then the error is logged and the stream goes
    /// on: one event must not stop the others.
    fn or_log(event: RecordedEvent) -> Option<Self> {
        let position = event.position.get();
        let frame = Self::of(event);
        frame
            .inspect_err(|error| {
                let error = error_chain(error);
                error!(position, error, "live streams leave out an event");
            })
            .ok()
    }
}

/// Reads events for the feed, and knows the customers of their orders.
#[derive(Clone)]
pub struct OrderFrames {
    history: Arc<dyn OrderHistory>,
    /// The customer of an order; `None` if its first event cannot be decoded.
    customers: Cache<Uuid, Option<CustomerId>>,
    /// Who reads the history has a permit. The permits go round in order.
    readers: Arc<Semaphore>,
}

impl OrderFrames {
    /// Reads from this history, with at most so many readers at the same time.
    pub fn new(history: Arc<dyn OrderHistory>, readers: usize) -> Self {
        Self {
            history,
            customers: Cache::new(KNOWN_CUSTOMERS),
            readers: Arc::new(Semaphore::new(readers)),
        }
    }

    /// The same with readers of its own, beside those of `self`.
    #[must_use]
    pub fn with_readers(&self, readers: usize) -> Self {
        Self {
            readers: Arc::new(Semaphore::new(readers)),
            ..self.clone()
        }
    }

    /// Waits for a turn to read.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        self.readers
            .acquire()
            .await
            .map_err(StoreError::unavailable)
    }

    /// Whether the history holds an event of this order.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn has(&self, id: OrderId) -> Result<bool, StoreError> {
        let _turn = self.turn().await?;
        let first = self.history.events_after(Position::ZERO, Some(id), 1);
        Ok(!first.await?.is_empty())
    }

    /// Returns the customers of the orders of these events. Those that are not in memory are looked
    /// up. An order whose first event cannot be decoded is left out.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn customers_of(
        &self,
        frames: &[Arc<Frame>],
    ) -> Result<HashMap<Uuid, CustomerId>, StoreError> {
        let (mut found, mut unknown) = (HashMap::new(), HashSet::new());
        for frame in frames {
            let id = frame.order_id;
            if let Some(customer) = &frame.customer {
                self.customers.insert(id, Some(customer.clone()));
                found.insert(id, customer.clone());
            } else if let Some(customer) = self.customers.get(&id) {
                found.extend(customer.map(|customer| (id, customer)));
            } else {
                unknown.insert(id);
            }
        }
        let unknown = unknown.into_iter().filter(|id| !found.contains_key(id));
        let unknown: Vec<_> = unknown.collect();
        if unknown.is_empty() {
            return Ok(found);
        }
        let _turn = self.turn().await?;
        for id in unknown {
            let customer = self.look_up(id).await?;
            found.extend(customer.map(|customer| (id, customer)));
        }
        Ok(found)
    }

    async fn look_up(&self, id: Uuid) -> Result<Option<CustomerId>, StoreError> {
        let first = self
            .history
            .events_after(Position::ZERO, Some(id.into()), 1);
        let first = first.await?.into_iter().next();
        let customer = first.and_then(|event| Frame::or_log(event)?.customer);
        // Kept right away: if the look-up of another order fails, this one is not repeated.
        self.customers.insert(id, customer.clone());
        Ok(customer)
    }
}

impl FeedSource for OrderFrames {
    type Item = Arc<Frame>;

    async fn newest(&self) -> Result<Position, StoreError> {
        let _turn = self.turn().await?;
        self.history.newest().await
    }

    async fn read(
        &self,
        after: Position,
        of: Option<Uuid>,
        limit: u32,
    ) -> Result<Page<Self::Item>, StoreError> {
        let _turn = self.turn().await?;
        let events = self
            .history
            .events_after(after, of.map(OrderId::new), limit)
            .await?;
        let end = events.last().map(|event| event.position);
        let is_last = events.len() < limit as usize;
        let orders = events
            .into_iter()
            .filter(|event| event.aggregate_type == Order::TYPE);
        let events = orders.filter_map(|event| {
            Some(Entry {
                position: event.position,
                aggregate_id: event.aggregate_id,
                item: Arc::new(Frame::or_log(event)?),
            })
        });
        Ok(Page {
            events: events.collect(),
            end,
            is_last,
        })
    }

    fn size(item: &Self::Item) -> usize {
        item.text.len()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::{
        event_sourcing::{
            Append, EventStore, NewEvent, Repository, StreamId, Version,
            repository::RepositoryOptions,
            testing::{InMemoryEventStore, instant},
        },
        order::upcasters::upcasters,
    };

    /// Stores one event of an order.
    async fn append(
        store: &InMemoryEventStore,
        order: Uuid,
        version: i32,
        stored: (&'static str, String),
    ) {
        let (event_type, data) = stored;
        let event = NewEvent {
            event_id: Uuid::nil(),
            event_type,
            schema_version: if version == 1 { 3 } else { 1 },
            data: RawValue::from_string(data).unwrap(),
        };
        let append = Append {
            command_id: Uuid::nil(),
            stream: StreamId {
                aggregate_type: Order::TYPE,
                aggregate_id: order,
            },
            expected: Version::new(version - 1),
            events: vec![event],
            occurred_at: instant(0),
            metadata: RawValue::from_string("{}".to_owned()).unwrap(),
            key: None,
        };
        store.append(append).await.unwrap();
    }

    #[tokio::test]
    async fn customers_are_found_even_if_none_is_kept_in_memory() {
        let store = InMemoryEventStore::default();
        let orders: Vec<_> = (1..=20).map(Uuid::from_u128).collect();
        for (order, number) in orders.iter().zip(1..) {
            // The creation of every fifth order cannot be decoded.
            let customer = if number % 5 == 0 { "7" } else { r#""c""# };
            let created = format!(
                r#"{{"orderId":"{order}","customerId":{customer},"currency":"EUR","items":[]}}"#
            );
            append(&store, *order, 1, ("OrderCreated", created)).await;
        }
        let created = store.newest().await.unwrap();
        for order in &orders {
            append(
                &store,
                *order,
                2,
                ("OrderCancelled", r#"{"reason":null}"#.to_owned()),
            )
            .await;
        }
        let upcasters = Arc::new(upcasters("EUR".parse().unwrap()).unwrap());
        let options = RepositoryOptions::default();
        let history = Arc::new(Repository::<Order, _>::new(store, upcasters, options));
        let frames = OrderFrames {
            customers: Cache::new(0),
            ..OrderFrames::new(history, 1)
        };
        let cancelled = frames.read(created, None, 100).await.unwrap();
        let cancelled: Vec<_> = cancelled
            .events
            .into_iter()
            .map(|entry| entry.item)
            .collect();

        let customers = frames.customers_of(&cancelled).await.unwrap();

        assert_eq!(cancelled.len(), 20);
        assert_eq!(customers.len(), 16);
        assert!(customers.values().all(|customer| customer.as_str() == "c"));
        let is_cancelled = |frame: &Arc<Frame>| frame.status == Some(Status::Cancelled);
        assert!(cancelled.iter().all(is_cancelled));
    }
}
