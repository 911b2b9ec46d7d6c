//! An order as JSON, with or without its lines.

use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    event_sourcing::{Timestamp, Version, event::rfc3339},
    order::{Currency, Money, Order, Reason, Status, allowed_actions, money::DisplayMoney},
};

/// An instant as RFC 3339, UTC, with six decimals.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(as = Timestamp, value_type = String, format = DateTime, example = "2026-11-23T09:15:02.123456Z")]
pub struct Rfc3339(pub Timestamp);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

/// An amount as a decimal string with the currency's own number of digits.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(value_type = String, example = "49.99")]
pub struct Amount(DisplayMoney);

/// An order without its lines.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderSummary<'a> {
    /// The order's id.
    pub id: Uuid,
    /// The customer.
    #[schema(example = "customer-1")]
    pub customer_id: &'a str,
    /// `created`, `completed` or `cancelled`.
    #[schema(value_type = String, example = "created")]
    pub status: Status,
    /// The ISO 4217 code of all amounts.
    #[schema(value_type = String, example = "EUR")]
    pub currency: Currency,
    /// The number of lines.
    pub item_count: usize,
    /// The number of pieces over all lines.
    pub total_quantity: u64,
    /// The sum of all lines.
    pub total: Amount,
    /// The version shown; also the `ETag`.
    #[schema(value_type = i32, example = 1)]
    pub version: Version,
    /// The time when the order was placed.
    pub created_at: Rfc3339,
    /// The time of the last change.
    pub updated_at: Rfc3339,
    /// The time when the order was completed.
    #[schema(required)]
    pub completed_at: Option<Rfc3339>,
    /// The time when the order was cancelled.
    #[schema(required)]
    pub cancelled_at: Option<Rfc3339>,
    /// The reason of the cancellation.
    #[schema(required)]
    pub cancellation_reason: Option<&'a str>,
}

/// An order.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderView<'a> {
    /// The order's id.
    pub id: Uuid,
    /// The customer.
    #[schema(example = "customer-1")]
    pub customer_id: &'a str,
    /// `created`, `completed` or `cancelled`.
    #[schema(value_type = String, example = "created")]
    pub status: Status,
    /// The ISO 4217 code of all amounts.
    #[schema(value_type = String, example = "EUR")]
    pub currency: Currency,
    /// The lines in order of addition.
    pub items: Vec<ItemView<'a>>,
    /// The number of lines.
    pub item_count: usize,
    /// The number of pieces over all lines.
    pub total_quantity: u64,
    /// The sum of all lines.
    pub total: Amount,
    /// The version shown; also the `ETag`.
    #[schema(value_type = i32, example = 1)]
    pub version: Version,
    /// The actions that can succeed now; empty if a past state is shown.
    pub allowed_actions: Vec<&'static str>,
    /// The time when the order was placed.
    pub created_at: Rfc3339,
    /// The time of the last change.
    pub updated_at: Rfc3339,
    /// The time when the order was completed.
    #[schema(required)]
    pub completed_at: Option<Rfc3339>,
    /// The time when the order was cancelled.
    #[schema(required)]
    pub cancelled_at: Option<Rfc3339>,
    /// The reason of the cancellation.
    #[schema(required)]
    pub cancellation_reason: Option<&'a str>,
}

/// A line of an order.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ItemView<'a> {
    /// The line's id.
    pub item_id: Uuid,
    /// The product.
    #[schema(example = "product-1")]
    pub product_id: &'a str,
    /// The number of pieces.
    #[schema(example = 2)]
    pub quantity: u32,
    /// The price of one piece.
    pub price: Amount,
    /// Price times quantity.
    #[schema(example = "99.98")]
    pub line_total: Amount,
    /// The time when the line was added.
    pub added_at: Rfc3339,
}

impl<'a> OrderSummary<'a> {
    /// Adds the lines and the allowed actions.
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

/// A folded order that cannot be shown. No stored events lead to one.
#[derive(Debug, thiserror::Error)]
pub enum ImpossibleOrder {
    /// The order has a version, but it was not created.
    #[error("the order has events but was not created")]
    Absent,
    /// The price times the quantity of a line is not an amount.
    #[error("the total of a line is too large")]
    LineTotalTooLarge,
    /// The view cannot be written as JSON.
    #[error("the order cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

impl<'a> OrderView<'a> {
    /// The view of a folded order.
    ///
    /// # Errors
    /// If the state is impossible.
    pub fn of(order: &'a Order, version: Version) -> Result<Self, ImpossibleOrder> {
        let order = order.state().ok_or(ImpossibleOrder::Absent)?;
        let currency = order.currency;
        let items = order.lines.iter().map(|line| {
            let total = line.total().ok_or(ImpossibleOrder::LineTotalTooLarge)?;
            Ok::<_, ImpossibleOrder>(ItemView {
                item_id: line.item_id.get(),
                product_id: line.product_id.as_str(),
                quantity: line.quantity.get(),
                price: amount(line.price, currency),
                line_total: amount(total, currency),
                added_at: Rfc3339(line.added_at),
            })
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
        Ok(summary.with_items(items.collect::<Result<_, _>>()?))
    }
}

/// Makes an amount of a currency.
#[must_use]
pub fn amount(money: Money, currency: Currency) -> Amount {
    Amount(money.display(currency))
}
