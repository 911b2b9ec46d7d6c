//! Events that another version of the program stored, inserted by SQL. Events of old schema versions
//! are shown in today's shape everywhere. For events that cannot be read, the service answers an error.

mod unreadable;
mod upcast;

use std::{sync::Arc, time::Duration};

use async_nats::jetstream;
use orders::{
    live::FreshEvents,
    order::upcasters::upcasters,
    postgres::{self, PgEventStore, Writer, writer::WriterOptions},
    read_model::Projector,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{TestApp, connect_to_nats, eventually, servers::servers};

/// The minute in which the first event of each order occurred.
const DAY: &str = "2024-02-29T12:00";

/// Inserts an event. It occurred one minute after the version before it; the first at [`DAY`].
async fn insert_event(
    app: &TestApp,
    order: Uuid,
    version: i32,
    event_type: &str,
    schema_version: i16,
    data: &Value,
) {
    sqlx::query(
        "insert into events (event_id, aggregate_type, aggregate_id, version, type, schema_version,
             data, metadata, created_at)
         values (gen_random_uuid(), 'Order', $1, $2, $3, $4, $5, '{\"actor\": \"long ago\"}',
             $6::timestamptz + ($2 - 1) * interval '1 minute')",
    )
    .bind(order)
    .bind(version)
    .bind(event_type)
    .bind(schema_version)
    .bind(data)
    .bind(
        format!("{DAY}:00Z")
            .parse::<chrono::DateTime<chrono::Utc>>()
            .unwrap(),
    )
    .execute(&app.database)
    .await
    .expect("the event is inserted");
}

/// Inserts two orders, created in schema versions 1 and 2, each with a line of today's version.
async fn insert_old_orders(app: &TestApp) -> [Uuid; 2] {
    let [first, second] = [Uuid::now_v7(), Uuid::now_v7()];
    let data = json!({"orderId": first, "total": "149.90"});
    insert_event(app, first, 1, "OrderCreated", 1, &data).await;
    let data = json!({"orderId": second, "customerId": "customer-7", "total": 20});
    insert_event(app, second, 1, "OrderCreated", 2, &data).await;
    for order in [first, second] {
        let data = json!({"itemId": Uuid::now_v7(), "productId": "product-1", "quantity": 2,
            "price": "0.05", "currency": "EUR"});
        insert_event(app, order, 2, "OrderItemAdded", 1, &data).await;
    }
    app.wait_until_caught_up().await;
    [first, second]
}

/// The customer, the total and the first line of a view.
fn main_values(view: &Value) -> (&str, &str, &Value, &Value, &Value) {
    let line = &view["items"][0];
    (
        view["customerId"].as_str().unwrap_or_default(),
        view["total"].as_str().unwrap_or_default(),
        &line["productId"],
        &line["quantity"],
        &line["price"],
    )
}

fn projector(app: &TestApp) -> Projector<PgEventStore> {
    let options = postgres::connect_options(&app.database_url).unwrap();
    let pool = postgres::pool(options.clone(), 4);
    let (_, writer) = Writer::new(options, WriterOptions::default(), FreshEvents::default());
    let store = PgEventStore::new(pool.clone(), writer, Duration::from_mins(1));
    let chain = Arc::new(upcasters("EUR".parse().unwrap()).unwrap());
    Projector::new(pool, store, chain)
}

/// The subject and the body of all messages in the NATS stream.
async fn messages(app: &TestApp, at_least: u64) -> Vec<(String, Value)> {
    let client = connect_to_nats(&servers().nats_url).await.unwrap();
    let context = jetstream::new(client);
    let name = &app.config.nats_stream;
    let stream = eventually("the stream exists", || async {
        context.get_stream(name).await.ok()
    })
    .await;
    let last = eventually("the messages are published", || async {
        let last = stream.get_info().await.unwrap().state.last_sequence;
        (last >= at_least).then_some(last)
    })
    .await;
    let mut messages = vec![];
    for sequence in 1..=last {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let body = serde_json::from_slice(&message.payload).unwrap();
        messages.push((message.subject.to_string(), body));
    }
    messages
}
