//! What live updates show of the event store: each event written once, for however many look on.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use futures::{TryStreamExt, stream};
use moka::sync::Cache;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::view::HistoryEntry;
use crate::{
    event_sourcing::{
        Aggregate, DomainEvent, Feed, FeedSource, Position, RecordedEvent, StoreError, Version,
        feed::{Entry, Page},
    },
    order::{CustomerId, Order, OrderEvent, OrderHistory, Status},
};

/// How many orders are remembered with their customers.
const KNOWN_CUSTOMERS: u64 = 100_000;

/// How many orders are looked up at once.
const LOOKUPS: usize = 8;

/// An event as a message of `text/event-stream`, and what filters ask of it.
#[derive(Debug)]
pub struct Frame {
    /// Which order.
    pub order_id: Uuid,
    /// The order's status after the event; `None` where the event cannot be read.
    pub status: Option<Status>,
    /// Who ordered, where the event says so.
    customer: Option<CustomerId>,
    /// `id`, `event` and `data`, and the empty line that ends the message.
    pub text: Bytes,
}

impl Frame {
    fn of(event: RecordedEvent) -> Self {
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
            // It is shown all the same to those who ask for everything.
            Err(_) => (None, None),
        };
        let name = event.event_type.clone();
        // JSON from the database has no line breaks outside its strings, and escapes those inside.
        let data = serde_json::to_string(&HistoryEntry::from(event)).unwrap_or_default();
        let text = format!("id: {position}\nevent: {name}\ndata: {data}\n\n");
        Self {
            order_id,
            status,
            customer,
            text: text.into(),
        }
    }
}

/// Live updates.
pub struct Live {
    /// The store as it goes on.
    pub feed: Feed<OrderFrames>,
    /// What is shown of it.
    pub frames: OrderFrames,
    /// Ends all streams: the service stops.
    pub stopping: CancellationToken,
}

impl Live {
    /// Shows this history, until `stopping`. Somebody has to run the feed.
    pub fn new(history: Arc<dyn OrderHistory>, stopping: CancellationToken) -> Self {
        let frames = OrderFrames::new(history);
        Self {
            feed: Feed::new(frames.clone()),
            frames,
            stopping,
        }
    }
}

/// The feed's way to the store, and who ordered what.
#[derive(Clone)]
pub struct OrderFrames {
    history: Arc<dyn OrderHistory>,
    customers: Cache<Uuid, CustomerId>,
}

impl OrderFrames {
    /// The events of this history.
    pub fn new(history: Arc<dyn OrderHistory>) -> Self {
        Self {
            history,
            customers: Cache::new(KNOWN_CUSTOMERS),
        }
    }

    /// Looks up who ordered what these events are about, as far as they do not say it and it is not
    /// known.
    ///
    /// # Errors
    /// Where the store does not answer; what was found is known all the same.
    pub async fn learn_customers(&self, frames: &[Arc<Frame>]) -> Result<(), StoreError> {
        let mut unknown = HashSet::new();
        for frame in frames {
            match &frame.customer {
                Some(customer) => {
                    self.customers.insert(frame.order_id, customer.clone());
                    unknown.remove(&frame.order_id);
                }
                None if !self.customers.contains_key(&frame.order_id) => {
                    unknown.insert(frame.order_id);
                }
                None => {}
            }
        }
        stream::iter(unknown.into_iter().map(Ok))
            .try_for_each_concurrent(LOOKUPS, async |id| {
                let of = Some(id);
                let first = self.history.events_after(Position::ZERO, of, 1).await?;
                let first = first
                    .into_iter()
                    .find(|event| event.version == Version::new(1));
                if let Some(customer) = first.and_then(|event| Frame::of(event).customer) {
                    self.customers.insert(id, customer);
                }
                Ok(())
            })
            .await
    }

    /// Whether an event is about an order of this customer, as far as that is known.
    #[must_use]
    pub fn is_of(&self, frame: &Frame, customer: &str) -> bool {
        let known = || self.customers.get(&frame.order_id);
        let ordered_by = frame.customer.clone().or_else(known);
        ordered_by.is_some_and(|ordered_by| ordered_by.as_str() == customer)
    }
}

impl FeedSource for OrderFrames {
    type Item = Arc<Frame>;

    async fn newest(&self) -> Result<Position, StoreError> {
        self.history.newest().await
    }

    async fn read(
        &self,
        after: Position,
        of: Option<Uuid>,
        limit: u32,
    ) -> Result<Page<Self::Item>, StoreError> {
        let events = self.history.events_after(after, of, limit).await?;
        let end = events.last().map(|event| event.position);
        let is_last = events.len() < limit as usize;
        let orders = events
            .into_iter()
            .filter(|event| event.aggregate_type == Order::TYPE);
        let events = orders.map(|event| Entry {
            position: event.position,
            aggregate_id: event.aggregate_id,
            item: Arc::new(Frame::of(event)),
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
