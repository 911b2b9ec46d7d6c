//! How old `OrderCreated` events become today's: one step a function, on JSON.
//!
//! - version 1: `{orderId, total}`
//! - version 2: adds `customerId`
//! - version 3: replaces `total` by `items` and names the currency

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
    upcast::{ChainError, JsonObject, Step, StepError, UpcasterChain},
};

/// The chain of all upcasters of orders. Orders from before version 3 are in `default_currency`.
///
/// # Errors
/// Where a step is missing.
pub fn upcasters(default_currency: Currency) -> Result<UpcasterChain, ChainError> {
    let to_v3: Step = Box::new(move |id, data| order_created_v2_to_v3(id, data, default_currency));
    UpcasterChain::new::<OrderEvent>([
        (ORDER_CREATED, 1, Box::new(order_created_v1_to_v2) as Step),
        (ORDER_CREATED, 2, to_v3),
    ])
}

/// An event as others are shown it: in today's shape where it can be lifted, else as it is stored, for
/// others may know it. Another aggregate's event is not ours to lift, whatever it is called.
#[must_use]
pub fn lift_where_possible(upcasters: &UpcasterChain, event: RecordedEvent) -> RecordedEvent {
    if event.aggregate_type != Order::TYPE || upcasters.is_current(&event) {
        event
    } else {
        upcasters.lift(event.clone()).unwrap_or(event)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of every step")]
fn order_created_v1_to_v2(_id: Uuid, mut data: JsonObject) -> Result<JsonObject, StepError> {
    data.insert("customerId".to_owned(), json!("unknown"));
    Ok(data)
}

fn order_created_v2_to_v3(
    id: Uuid,
    mut data: JsonObject,
    currency: Currency,
) -> Result<JsonObject, StepError> {
    let total = data
        .remove("total")
        .ok_or_else(|| StepError("total is missing".to_owned()))?;
    let price = match &total {
        Value::String(text) => Money::parse(text, currency),
        Value::Number(number) => Money::parse_number(&number.to_string(), currency),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err(StepError(format!("total {total} is no amount")));
        }
    };
    let price = price.map_err(|error| StepError(format!("total {total} {error}")))?;
    // Derived, so that the line has the same id whenever and wherever it is lifted.
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
