//! The JSON that answers are made of.

use std::borrow::Cow;

use chrono::SecondsFormat;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    event_sourcing::{Metadata, RecordedEvent, Timestamp, Version, json::rfc3339},
    order::{
        Currency, ItemId, Money, OrderState, Reason, Status, allowed_actions, money::DisplayMoney,
    },
};

/// An instant as RFC 3339, UTC, with six decimals.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(as = Timestamp, value_type = String, format = DateTime, example = "2026-11-23T09:15:02.123456Z")]
pub struct Rfc3339(pub Timestamp);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match rfc3339(self.0, &mut [0; 27]) {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true)),
        }
    }
}

/// An amount as a decimal string with the currency's own number of digits.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(value_type = String, example = "49.99")]
pub struct Amount(DisplayMoney);

impl Amount {
    /// The text, written to a buffer.
    pub(super) fn text(self, buffer: &mut [u8; 32]) -> &str {
        self.0.write(buffer)
    }
}

/// An order without its lines.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderSummary<'a> {
    /// The order's id.
    pub id: Uuid,
    /// Who ordered.
    #[schema(example = "customer-1")]
    pub customer_id: &'a str,
    /// `created`, `completed` or `cancelled`.
    #[schema(value_type = String, example = "created")]
    pub status: Status,
    /// ISO 4217 code of all amounts.
    #[schema(value_type = String, example = "EUR")]
    pub currency: Currency,
    /// How many lines.
    pub item_count: usize,
    /// How many pieces over all lines.
    pub total_quantity: u64,
    /// The sum over all lines.
    pub total: Amount,
    /// The version that this shows; also the `ETag`.
    #[schema(value_type = i32, example = 1)]
    pub version: Version,
    /// When the order was placed.
    pub created_at: Rfc3339,
    /// When it last changed.
    pub updated_at: Rfc3339,
    /// When it was completed.
    #[schema(required)]
    pub completed_at: Option<Rfc3339>,
    /// When it was cancelled.
    #[schema(required)]
    pub cancelled_at: Option<Rfc3339>,
    /// Why it was cancelled.
    #[schema(required)]
    pub cancellation_reason: Option<&'a str>,
}

/// An order.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderView<'a> {
    /// The order's id.
    pub id: Uuid,
    /// Who ordered.
    #[schema(example = "customer-1")]
    pub customer_id: &'a str,
    /// `created`, `completed` or `cancelled`.
    #[schema(value_type = String, example = "created")]
    pub status: Status,
    /// ISO 4217 code of all amounts.
    #[schema(value_type = String, example = "EUR")]
    pub currency: Currency,
    /// The lines in order of addition.
    pub items: Vec<ItemView<'a>>,
    /// How many lines.
    pub item_count: usize,
    /// How many pieces over all lines.
    pub total_quantity: u64,
    /// The sum over all lines.
    pub total: Amount,
    /// The version that this shows; also the `ETag`.
    #[schema(value_type = i32, example = 1)]
    pub version: Version,
    /// What can be asked of the order with success now; nothing where the past is shown.
    pub allowed_actions: Vec<&'static str>,
    /// When the order was placed.
    pub created_at: Rfc3339,
    /// When it last changed.
    pub updated_at: Rfc3339,
    /// When it was completed.
    #[schema(required)]
    pub completed_at: Option<Rfc3339>,
    /// When it was cancelled.
    #[schema(required)]
    pub cancelled_at: Option<Rfc3339>,
    /// Why it was cancelled.
    #[schema(required)]
    pub cancellation_reason: Option<&'a str>,
}

/// A line of an order.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ItemView<'a> {
    /// The line's id.
    pub item_id: Uuid,
    /// What is ordered.
    #[schema(example = "product-1")]
    pub product_id: &'a str,
    /// How many.
    #[schema(example = 2)]
    pub quantity: u32,
    /// The price of one.
    pub price: Amount,
    /// Price times quantity.
    #[schema(example = "99.98")]
    pub line_total: Amount,
    /// When it was added.
    pub added_at: Rfc3339,
}

impl<'a> OrderSummary<'a> {
    /// Adds the lines, and what may be done.
    #[must_use]
    pub fn with_items(self, items: Vec<ItemView<'a>>) -> OrderView<'a> {
        OrderView {
            id: self.id,
            customer_id: self.customer_id,
            status: self.status,
            currency: self.currency,
            allowed_actions: allowed_actions(self.status, items.len()),
            items,
            item_count: self.item_count,
            total_quantity: self.total_quantity,
            total: self.total,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            completed_at: self.completed_at,
            cancelled_at: self.cancelled_at,
            cancellation_reason: self.cancellation_reason,
        }
    }
}

impl<'a> OrderView<'a> {
    /// The order as the write side knows it.
    #[must_use]
    pub fn of_state(order: &'a OrderState, version: Version) -> Self {
        let currency = order.currency;
        let items = order.lines.iter().map(|line| {
            let quantity = line.quantity.get();
            ItemView::new(
                line.item_id,
                line.product_id.as_str(),
                quantity,
                line.price,
                currency,
            )
            .added(line.added_at)
        });
        let summary = OrderSummary {
            id: order.id.get(),
            customer_id: order.customer_id.as_str(),
            status: order.status,
            currency,
            item_count: order.lines.len(),
            total_quantity: order.total_quantity,
            total: amount(order.total, currency),
            version,
            created_at: Rfc3339(order.created_at),
            updated_at: Rfc3339(order.updated_at),
            completed_at: order.completed_at.map(Rfc3339),
            cancelled_at: order.cancelled_at.map(Rfc3339),
            cancellation_reason: order.cancellation_reason.as_ref().map(Reason::as_str),
        };
        summary.with_items(items.collect())
    }
}

impl<'a> ItemView<'a> {
    /// A line; see [`Self::added`].
    #[must_use]
    pub fn new(
        item_id: ItemId,
        product_id: &'a str,
        quantity: u32,
        price: Money,
        currency: Currency,
    ) -> Self {
        let line_total = price.checked_mul(quantity).unwrap_or(Money::MAX);
        Self {
            item_id: item_id.get(),
            product_id,
            quantity,
            price: amount(price, currency),
            line_total: amount(line_total, currency),
            added_at: Rfc3339(Timestamp::UNIX_EPOCH),
        }
    }

    /// Says when the line was added.
    #[must_use]
    pub fn added(mut self, at: Timestamp) -> Self {
        self.added_at = Rfc3339(at);
        self
    }
}

/// An amount of a currency.
#[must_use]
pub fn amount(money: Money, currency: Currency) -> Amount {
    Amount(money.display(currency))
}

/// A page of orders.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderPage<'a> {
    /// The orders: summaries, or whole orders with `view=full`.
    pub items: Vec<OrderEntry<'a>>,
    /// Which page, from 1; null where a cursor led here.
    #[schema(required)]
    pub page: Option<u32>,
    /// The largest number of orders on a page.
    pub page_size: u32,
    /// Whether more orders follow.
    pub has_more: bool,
    /// Leads to the next page.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// How many orders match, up to 10000; null unless asked for.
    #[schema(required)]
    pub total_count: Option<i64>,
    /// Whether there are more than 10000.
    pub total_count_capped: bool,
}

/// An entry of a page.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum OrderEntry<'a> {
    /// Without lines (`view=summary`).
    Summary(OrderSummary<'a>),
    /// With lines (`view=full`).
    Full(OrderView<'a>),
}

/// A part of an order's history.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryPage {
    /// The events in version order.
    pub items: Vec<HistoryEntry>,
    /// Where to go on; null at the end.
    #[schema(required)]
    pub next_from_version: Option<i32>,
}

/// An event, in today's shape.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// The event's own id.
    pub event_id: Uuid,
    /// Which order.
    pub order_id: Uuid,
    /// What happened.
    #[schema(example = "OrderItemAdded")]
    pub r#type: String,
    /// Its place in the order's history, from 1.
    pub version: i32,
    /// Its place in the store.
    pub position: i64,
    /// The version of the shape of `data`.
    pub schema_version: i16,
    /// When it happened.
    pub occurred_at: Rfc3339,
    /// What happened in particular; its shape depends on `type`.
    #[schema(value_type = Object)]
    pub data: Box<RawValue>,
    /// Who asked for it, and in which context.
    #[schema(value_type = EventMetadata)]
    pub metadata: Metadata,
}

/// Who asked for an event, and in which context.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(
    dead_code,
    reason = "documents Metadata, whose own layer knows no OpenAPI"
)]
pub struct EventMetadata<'a> {
    /// The principal.
    #[schema(required)]
    actor: Option<Cow<'a, str>>,
    /// The id of the request that caused the event.
    #[schema(required)]
    request_id: Option<Cow<'a, str>>,
    /// The trace, or else the request, that the event belongs to.
    #[schema(required)]
    correlation_id: Option<Cow<'a, str>>,
    /// The message that caused the command.
    #[schema(required)]
    causation_id: Option<Cow<'a, str>>,
    /// W3C trace context of the request.
    #[schema(required)]
    traceparent: Option<Cow<'a, str>>,
}

impl From<RecordedEvent> for HistoryEntry {
    fn from(event: RecordedEvent) -> Self {
        Self {
            event_id: event.event_id,
            order_id: event.aggregate_id,
            r#type: event.event_type,
            version: event.version.get(),
            position: event.position.get(),
            schema_version: event.schema_version,
            occurred_at: Rfc3339(event.occurred_at),
            data: event.data,
            // Old events may have been stored with less, or with more.
            metadata: serde_json::from_str(event.metadata.get()).unwrap_or_default(),
        }
    }
}
