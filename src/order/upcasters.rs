//! Upcasters of `OrderCreated`: each function lifts the JSON by one schema version.
//!
//! - version 1: `{orderId, total}`
//! - version 2: adds `customerId`
//! - version 3: replaces `total` by `items` and names the currency

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    aggregate::Order,
    currency::Currency,
    event::{ORDER_CREATED, OrderEvent},
    money::Money,
};
use crate::event_sourcing::{
    Aggregate, RecordedEvent,
    upcast::{ChainError, JsonObject, LiftError, Upcaster, UpcasterChain},
};

/// The chain of all upcasters of orders. Events before version 3 have no currency; they get
/// `default_currency`.
///
/// # Errors
/// [`ChainError`] if an upcaster is missing or has no use.
pub fn upcasters(default_currency: Currency) -> Result<UpcasterChain, ChainError> {
    let to_v3: Upcaster =
        Box::new(move |id, data| order_created_v2_to_v3(id, data, default_currency));
    UpcasterChain::new::<OrderEvent>([
        (
            ORDER_CREATED,
            1,
            Box::new(order_created_v1_to_v2) as Upcaster,
        ),
        (ORDER_CREATED, 2, to_v3),
    ])
}

/// An event as it leaves the service: lifted to today's schema version if that is possible, otherwise
/// as it is stored, because its reader may know a newer version. Events of other aggregates are never
/// lifted, even if they have the same name.
#[must_use]
pub fn lift_where_possible(upcasters: &UpcasterChain, event: RecordedEvent) -> RecordedEvent {
    lifted(upcasters, &event).unwrap_or(event)
}

/// [`lift_where_possible`] for an event that others hold, too: most events are current and not copied.
#[must_use]
pub fn lift_shared(upcasters: &UpcasterChain, event: Arc<RecordedEvent>) -> Arc<RecordedEvent> {
    lifted(upcasters, &event).map_or(event, Arc::new)
}

/// The event in today's shape, where it is an old one that can be lifted.
fn lifted(upcasters: &UpcasterChain, event: &RecordedEvent) -> Option<RecordedEvent> {
    if event.aggregate_type != Order::TYPE || upcasters.is_current(event) {
        return None;
    }
    upcasters.lift(event.clone()).ok()
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of every upcaster")]
fn order_created_v1_to_v2(_id: Uuid, mut data: JsonObject) -> Result<JsonObject, LiftError> {
    data.insert("customerId".to_owned(), json!("unknown"));
    Ok(data)
}

fn order_created_v2_to_v3(
    id: Uuid,
    mut data: JsonObject,
    currency: Currency,
) -> Result<JsonObject, LiftError> {
    let total = data
        .remove("total")
        .ok_or_else(|| LiftError("total is missing".to_owned()))?;
    let price = match &total {
        Value::String(text) => Money::parse(text, currency),
        Value::Number(number) => Money::parse_number(&number.to_string(), currency),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err(LiftError(format!("total {total} is not an amount")));
        }
    };
    let price = price.map_err(|error| LiftError(format!("total {total} {error}")))?;
    // Derived from the order's id, so that the line has the same id each time.
    let item_id = Uuid::new_v5(&id, b"OrderCreated/total");
    data.insert("currency".to_owned(), json!(currency.code()));
    data.insert(
        "items".to_owned(),
        json!([{
            "itemId": item_id,
            "productId": "unknown",
            "quantity": 1,
            "price": price.display(currency).to_string(),
        }]),
    );
    Ok(data)
}
