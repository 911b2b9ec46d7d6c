//! The stored shape of events, apart from the domain's own types: what stands here is a promise to
//! everyone who reads the store or the stream.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, de::Error as _};

use super::{
    currency::Currency,
    event::{OrderEvent, OrderedItem},
    money::Money,
    value::{CustomerId, ItemId, OrderId, ProductId, Quantity, Reason},
};

/// `OrderCreated`, schema version 3.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Created<'a> {
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
pub(super) struct ItemAdded<'a> {
    item_id: ItemId,
    product_id: Cow<'a, ProductId>,
    quantity: Quantity,
    price: String,
    currency: Currency,
}

/// `OrderItemQuantityChanged`, schema version 1.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ItemQuantityChanged {
    pub item_id: ItemId,
    pub quantity: Quantity,
}

/// `OrderItemRemoved`, schema version 1.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ItemRemoved {
    pub item_id: ItemId,
}

/// `OrderCompleted`, schema version 1.
#[derive(Serialize, Deserialize)]
pub(super) struct Completed {}

/// `OrderCancelled`, schema version 1.
#[derive(Serialize, Deserialize)]
pub(super) struct Cancelled {
    pub reason: Option<Reason>,
}

pub(super) fn created<'a>(
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

pub(super) fn item_added(item: &OrderedItem, currency: Currency) -> ItemAdded<'_> {
    ItemAdded {
        item_id: item.item_id,
        product_id: Cow::Borrowed(&item.product_id),
        quantity: item.quantity,
        price: item.price.display(currency).to_string(),
        currency,
    }
}

pub(super) fn into_created(stored: Created<'_>) -> Result<OrderEvent, serde_json::Error> {
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

pub(super) fn into_item_added(stored: ItemAdded<'_>) -> Result<OrderEvent, serde_json::Error> {
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
