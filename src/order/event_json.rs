//! The stored JSON of events, in types of its own: programs that read the store or the NATS stream
//! rely on it. A changed shape needs a new schema version and an [upcaster](super::upcasters).

use std::borrow::Cow;

use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::value::{RawValue, to_raw_value};

use super::{
    currency::Currency,
    event::{
        ORDER_CANCELLED, ORDER_COMPLETED, ORDER_CREATED, ORDER_ITEM_ADDED,
        ORDER_ITEM_QUANTITY_CHANGED, ORDER_ITEM_REMOVED, OrderEvent, OrderedItem,
    },
    money::Money,
    value::{CustomerId, ItemId, OrderId, ProductId, Quantity, Reason},
};
use crate::event_sourcing::{DecodeError, DomainEvent};

impl DomainEvent for OrderEvent {
    const SCHEMAS: &'static [(&'static str, i16)] = &[
        (ORDER_CREATED, 3),
        (ORDER_ITEM_ADDED, 1),
        (ORDER_ITEM_QUANTITY_CHANGED, 1),
        (ORDER_ITEM_REMOVED, 1),
        (ORDER_COMPLETED, 1),
        (ORDER_CANCELLED, 1),
    ];

    fn schema_version(&self) -> i16 {
        match self {
            Self::Created { .. } => 3,
            Self::ItemAdded { .. }
            | Self::ItemQuantityChanged { .. }
            | Self::ItemRemoved { .. }
            | Self::Completed
            | Self::Cancelled { .. } => 1,
        }
    }

    fn event_type(&self) -> &'static str {
        match self {
            Self::Created { .. } => ORDER_CREATED,
            Self::ItemAdded { .. } => ORDER_ITEM_ADDED,
            Self::ItemQuantityChanged { .. } => ORDER_ITEM_QUANTITY_CHANGED,
            Self::ItemRemoved { .. } => ORDER_ITEM_REMOVED,
            Self::Completed => ORDER_COMPLETED,
            Self::Cancelled { .. } => ORDER_CANCELLED,
        }
    }

    fn encode(&self) -> Result<Box<RawValue>, serde_json::Error> {
        match self {
            Self::Created {
                order_id,
                customer_id,
                currency,
                items,
            } => to_raw_value(&created(*order_id, customer_id, *currency, items)),
            Self::ItemAdded { item, currency } => to_raw_value(&item_added(item, *currency)),
            Self::ItemQuantityChanged { item_id, quantity } => to_raw_value(&ItemQuantityChanged {
                item_id: *item_id,
                quantity: *quantity,
            }),
            Self::ItemRemoved { item_id } => to_raw_value(&ItemRemoved { item_id: *item_id }),
            Self::Completed => to_raw_value(&Completed {}),
            Self::Cancelled { reason } => to_raw_value(&Cancelled {
                reason: reason.clone(),
            }),
        }
    }

    fn decode(event_type: &str, data: &RawValue) -> Result<Self, DecodeError> {
        let text = data.get();
        let decoded = match event_type {
            ORDER_CREATED => serde_json::from_str(text).and_then(into_created),
            ORDER_ITEM_ADDED => serde_json::from_str(text).and_then(into_item_added),
            ORDER_ITEM_QUANTITY_CHANGED => {
                serde_json::from_str(text).map(|ItemQuantityChanged { item_id, quantity }| {
                    Self::ItemQuantityChanged { item_id, quantity }
                })
            }
            ORDER_ITEM_REMOVED => serde_json::from_str(text)
                .map(|ItemRemoved { item_id }| Self::ItemRemoved { item_id }),
            ORDER_COMPLETED => serde_json::from_str(text).map(|Completed {}| Self::Completed),
            ORDER_CANCELLED => {
                serde_json::from_str(text).map(|Cancelled { reason }| Self::Cancelled { reason })
            }
            unknown => return Err(DecodeError::UnknownType(unknown.to_owned())),
        };
        decoded.map_err(|source| DecodeError::Malformed {
            event_type: event_type.to_owned(),
            source,
        })
    }
}

/// `OrderCreated`, schema version 3.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created<'a> {
    order_id: OrderId,
    customer_id: Cow<'a, CustomerId>,
    currency: Currency,
    items: Vec<CreatedItem<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreatedItem<'a> {
    item_id: ItemId,
    product_id: Cow<'a, ProductId>,
    quantity: Quantity,
    price: String,
}

/// `OrderItemAdded`, schema version 1.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemAdded<'a> {
    item_id: ItemId,
    product_id: Cow<'a, ProductId>,
    quantity: Quantity,
    price: String,
    currency: Currency,
}

/// `OrderItemQuantityChanged`, schema version 1.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemQuantityChanged {
    item_id: ItemId,
    quantity: Quantity,
}

/// `OrderItemRemoved`, schema version 1.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemRemoved {
    item_id: ItemId,
}

/// `OrderCompleted`, schema version 1.
#[derive(Serialize, Deserialize)]
struct Completed {}

/// `OrderCancelled`, schema version 1.
#[derive(Serialize, Deserialize)]
struct Cancelled {
    reason: Option<Reason>,
}

fn created<'a>(
    order_id: OrderId,
    customer_id: &'a CustomerId,
    currency: Currency,
    items: &'a [OrderedItem],
) -> Created<'a> {
    let items = items
        .iter()
        .map(|item| CreatedItem {
            item_id: item.item_id,
            product_id: Cow::Borrowed(&item.product_id),
            quantity: item.quantity,
            price: item.price.display(currency).to_string(),
        })
        .collect();
    Created {
        order_id,
        customer_id: Cow::Borrowed(customer_id),
        currency,
        items,
    }
}

fn item_added(item: &OrderedItem, currency: Currency) -> ItemAdded<'_> {
    ItemAdded {
        item_id: item.item_id,
        product_id: Cow::Borrowed(&item.product_id),
        quantity: item.quantity,
        price: item.price.display(currency).to_string(),
        currency,
    }
}

fn into_created(stored: Created<'_>) -> Result<OrderEvent, serde_json::Error> {
    let currency = stored.currency;
    let items = stored
        .items
        .into_iter()
        .map(|item| {
            Ok(OrderedItem {
                item_id: item.item_id,
                product_id: item.product_id.into_owned(),
                quantity: item.quantity,
                price: stored_price(&item.price, currency)?,
            })
        })
        .collect::<Result<_, serde_json::Error>>()?;
    Ok(OrderEvent::Created {
        order_id: stored.order_id,
        customer_id: stored.customer_id.into_owned(),
        currency,
        items,
    })
}

fn into_item_added(stored: ItemAdded<'_>) -> Result<OrderEvent, serde_json::Error> {
    let currency = stored.currency;
    Ok(OrderEvent::ItemAdded {
        item: OrderedItem {
            item_id: stored.item_id,
            product_id: stored.product_id.into_owned(),
            quantity: stored.quantity,
            price: stored_price(&stored.price, currency)?,
        },
        currency,
    })
}

fn stored_price(price: &str, currency: Currency) -> Result<Money, serde_json::Error> {
    Money::parse(price, currency)
        .map_err(|error| serde_json::Error::custom(format!("price {price:?} {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;

    use super::*;
    use crate::event_sourcing::DomainEvent;

    #[test]
    fn a_stored_price_is_read_in_the_events_currency() {
        let stored = |price: &str| {
            let item_id = "00000000-0000-0000-0000-000000000001";
            to_raw_value(&serde_json::json!({
                "itemId": item_id, "productId": "p", "quantity": 2, "price": price,
                "currency": "JPY",
            }))
            .unwrap()
        };

        let Ok(OrderEvent::ItemAdded { item, .. }) =
            OrderEvent::decode("OrderItemAdded", &stored("500"))
        else {
            panic!("the event is readable");
        };
        assert_eq!(item.price.minor(), 500);
        assert!(OrderEvent::decode("OrderItemAdded", &stored("5.00")).is_err());
    }
}
