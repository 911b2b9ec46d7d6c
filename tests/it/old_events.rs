//! Events of old shapes show in today's everywhere; events that cannot be read show nowhere as a
//! guess. Both are planted by SQL, as an older or a newer program would have left them.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream;
use orders::{
    live::FreshEvents,
    order::upcasters::upcasters,
    postgres::{self, PgEventStore, Writer, writer::WriterOptions},
    read_model::{Projector, Rebuild, Refolded},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{TestApp, eventually, servers::servers};

/// When the planted events happened: the first at second 0, each a minute after the one before.
const DAY: &str = "2024-02-29T12:00";

/// Stores an event as it stands, one minute a version after [`DAY`].
async fn plant(
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
    .expect("an event is planted");
}

/// An order that each of the first two schema versions began, with a line added today.
async fn plant_old_orders(app: &TestApp) -> [Uuid; 2] {
    let [first, second] = [Uuid::now_v7(), Uuid::now_v7()];
    let data = json!({"orderId": first, "total": "149.90"});
    plant(app, first, 1, "OrderCreated", 1, &data).await;
    let data = json!({"orderId": second, "customerId": "customer-7", "total": 20});
    plant(app, second, 1, "OrderCreated", 2, &data).await;
    for order in [first, second] {
        let data = json!({"itemId": Uuid::now_v7(), "productId": "product-1", "quantity": 2,
            "price": "0.05", "currency": "EUR"});
        plant(app, order, 2, "OrderItemAdded", 1, &data).await;
    }
    app.wait_until_caught_up().await;
    [first, second]
}

/// What an old order shows now: its customer, its total and its first line.
fn told(view: &Value) -> (&str, &str, &Value, &Value, &Value) {
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

/// All messages of the service's stream: subject and body.
async fn messages(app: &TestApp, at_least: u64) -> Vec<(String, Value)> {
    let client = async_nats::connect(&servers().nats_url).await.unwrap();
    let context = jetstream::new(client);
    let name = &app.config.nats_stream;
    let stream = eventually("the stream exists", || async {
        context.get_stream(name).await.ok()
    })
    .await;
    let last = eventually("the messages are there", || async {
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

#[tokio::test]
async fn an_old_order_shows_in_todays_shape() {
    let app = TestApp::start().await;
    let [first, second] = plant_old_orders(&app).await;

    for (order, customer, total, price) in [
        (first, "unknown", "150.00", "149.90"),
        (second, "customer-7", "20.10", "20.00"),
    ] {
        let shown = app.get(&format!("/v1/orders/{order}")).await;
        assert_eq!(shown.status, 200, "{}", shown.text);
        let view = shown.json();
        let line = (&json!("unknown"), &json!(1), &json!(price));
        assert_eq!(told(&view), (customer, total, line.0, line.1, line.2));
        assert_eq!(view["version"], 2);
        assert_eq!(view["createdAt"], format!("{DAY}:00.000000Z"));

        let by_customer = app.get(&format!("/v1/orders?customerId={customer}")).await;
        let listed = by_customer.json();
        assert_eq!(listed["items"].as_array().unwrap().len(), 1);
        assert_eq!(listed["items"][0]["id"], json!(order));
        assert_eq!(listed["items"][0]["total"], total);
    }
    app.stop().await;
}

#[tokio::test]
async fn an_old_orders_history_is_in_todays_shape() {
    let app = TestApp::start().await;
    let [first, second] = plant_old_orders(&app).await;

    for (order, customer) in [(first, "unknown"), (second, "customer-7")] {
        let history = app.get(&format!("/v1/orders/{order}/events")).await.json();

        let created = &history["items"][0];
        assert_eq!(created["type"], "OrderCreated");
        assert_eq!(created["schemaVersion"], 3);
        assert_eq!(created["metadata"]["actor"], "long ago");
        let data = &created["data"];
        assert_eq!(data["orderId"], json!(order));
        assert_eq!(
            (&data["customerId"], &data["currency"]),
            (&json!(customer), &json!("EUR"))
        );
        assert!(data.get("total").is_none(), "{data}");
        let shown = app.get(&format!("/v1/orders/{order}")).await.json();
        assert_eq!(data["items"][0]["itemId"], shown["items"][0]["itemId"]);
        assert_eq!(history["items"][1]["schemaVersion"], 1);
    }
    app.stop().await;
}

#[tokio::test]
async fn an_old_orders_past_is_in_todays_shape() {
    let app = TestApp::start().await;
    let [first, _] = plant_old_orders(&app).await;
    let path = format!("/v1/orders/{first}");

    for past in ["version=1".to_owned(), format!("asOf={DAY}:30Z")] {
        let shown = app.get(&format!("{path}?{past}")).await;
        assert_eq!(shown.status, 200, "{past}: {}", shown.text);
        assert_eq!(shown.header("etag"), "\"1\"");
        let view = shown.json();
        let (unknown, one, price) = (json!("unknown"), json!(1), json!("149.90"));
        assert_eq!(told(&view), ("unknown", "149.90", &unknown, &one, &price));
        assert_eq!(view["allowedActions"], json!([]));
    }
    let after = app.get(&format!("{path}?asOf={DAY}:59.999999Z")).await;
    assert_eq!(after.json()["version"], 1);
    let at = app.get(&format!("{path}?asOf=2024-02-29T12:01:00Z")).await;
    assert_eq!(at.json()["version"], 2);
    let before = app.get(&format!("{path}?asOf=2024-02-29T11:59:59Z")).await;
    assert_eq!(
        (before.status, before.code()),
        (404, "version_not_found".to_owned())
    );
    app.stop().await;
}

#[tokio::test]
async fn an_old_order_takes_todays_commands() {
    let app = TestApp::start().await;
    let [first, _] = plant_old_orders(&app).await;
    let path = format!("/v1/orders/{first}");
    let shown = app.get(&path).await.json();
    let line = shown["items"][0]["itemId"].as_str().unwrap().to_owned();

    let changed = app
        .send(
            reqwest::Method::PATCH,
            &format!("{path}/items/{line}"),
            &[("if-match", "\"2\"")],
            Some(&json!({"quantity": 2})),
        )
        .await;
    let completed = app.post(&format!("{path}/complete"), &json!({})).await;

    assert_eq!(
        (changed.status, &changed.json()["total"]),
        (200, &json!("299.90"))
    );
    assert_eq!(completed.status, 200, "{}", completed.text);
    let shown = app.wait_until_projected(first, 4).await;
    assert_eq!(shown, completed.json());
    app.stop().await;
}

#[tokio::test]
async fn an_old_order_is_the_same_after_a_rebuild() {
    let app = TestApp::start().await;
    let orders = plant_old_orders(&app).await;
    let mut before = vec![];
    for order in orders {
        before.push(app.get(&format!("/v1/orders/{order}")).await.json());
    }

    let rebuilt = Rebuild::new(projector(&app))
        .run(false, |_| ())
        .await
        .unwrap();

    assert!(rebuilt.is_switched);
    assert_eq!(rebuilt.differing, 0, "{:?}", rebuilt.examples);
    for (order, before) in orders.iter().zip(before) {
        assert_eq!(app.get(&format!("/v1/orders/{order}")).await.json(), before);
    }
    app.stop().await;
}

#[tokio::test]
async fn an_old_event_goes_to_nats_in_todays_shape() {
    let app = TestApp::start().await;
    let [first, second] = plant_old_orders(&app).await;

    let messages = messages(&app, 4).await;

    assert_eq!(messages.len(), 4);
    for (order, (subject, body)) in [first, second].into_iter().zip(&messages) {
        let prefix = &app.config.nats_prefix;
        assert_eq!(subject, &format!("{prefix}.Order.OrderCreated"));
        assert_eq!(body["aggregateId"], json!(order));
        assert_eq!(body["schemaVersion"], 3);
        let item = &body["data"]["items"][0];
        assert_eq!(item["productId"], "unknown");
        let history = app.get(&format!("/v1/orders/{order}/events")).await.json();
        assert_eq!(history["items"][0]["data"], body["data"]);
    }
    app.stop().await;
}

#[tokio::test]
async fn another_aggregates_event_of_the_same_name_is_not_an_orders() {
    let app = TestApp::start().await;
    let basket = Uuid::now_v7();
    sqlx::query(
        "insert into events (event_id, aggregate_type, aggregate_id, version, type, schema_version,
             data, metadata, created_at)
         values (gen_random_uuid(), 'Basket', $1, 1, 'OrderCreated', 1, '{\"total\": \"1.00\"}', '{}',
             now())",
    )
    .bind(basket)
    .execute(&app.database)
    .await
    .unwrap();
    app.wait_until_caught_up().await;

    let messages = messages(&app, 1).await;

    let (subject, body) = &messages[0];
    let prefix = &app.config.nats_prefix;
    assert_eq!(subject, &format!("{prefix}.Basket.OrderCreated"));
    assert_eq!(body["schemaVersion"], 1);
    assert_eq!(body["data"], json!({"total": "1.00"}));
    let missing = app.get(&format!("/v1/orders/{basket}")).await;
    assert_eq!(missing.status, 404);
    app.stop().await;
}

async fn place(app: &TestApp) -> Uuid {
    let body = json!({"customerId": "customer-1", "items": [
        {"productId": "product-1", "quantity": 2, "price": "49.99"}]});
    let created = app.post("/v1/orders", &body).await;
    assert_eq!(created.status, 201, "{}", created.text);
    created.id()
}

/// A 500 that tells nothing of the inside.
fn assert_internal(answer: &crate::support::app::Answer, what: &str) {
    assert_eq!(
        (answer.status, answer.code()),
        (500, "internal_error".to_owned()),
        "{what}"
    );
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json()["retryable"], false, "{what}");
    for internal in ["Melted", "schema", "upcast", "corrupt", "unknown", "event "] {
        assert!(!answer.text.contains(internal), "{what}: {}", answer.text);
    }
}

/// An order whose second event cannot be read: everything that needs it answers 500, nothing else
/// is disturbed, and when the event can be read the order is whole again.
async fn an_unreadable_event(event_type: &str, schema_version: i16, data: Value, reason: &str) {
    let mut app = TestApp::start().await;
    app.may_park();
    let (melted, sound) = (place(&app).await, place(&app).await);
    app.wait_until_projected(melted, 1).await;
    let path = format!("/v1/orders/{melted}");

    plant(&app, melted, 2, event_type, schema_version, &data).await;
    let added = app
        .post(
            &format!("/v1/orders/{sound}/items"),
            &json!({"productId": "product-2", "quantity": 1, "price": "1"}),
        )
        .await;

    // The others flow, past the event that parks its order.
    assert_eq!(added.status, 201, "{}", added.text);
    app.wait_until_projected(sound, 2).await;
    app.wait_until_caught_up().await;
    let parked = projector(&app).parked().await.unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].order_id, parked[0].version), (melted.into(), 2));
    assert!(parked[0].reason.contains(reason), "{}", parked[0].reason);

    // What needs the event does not guess.
    assert_internal(&app.get(&path).await, "GET");
    assert_internal(&app.get(&format!("{path}/events")).await, "history");
    assert_internal(&app.get(&format!("{path}?version=2")).await, "the version");
    let item = json!({"productId": "product-2", "quantity": 1, "price": "1"});
    assert_internal(&app.post(&format!("{path}/items"), &item).await, "add");
    for command in ["complete", "cancel"] {
        let answer = app.post(&format!("{path}/{command}"), &json!({})).await;
        assert_internal(&answer, command);
    }
    let stored: i64 = sqlx::query_scalar("select count(*) from events where aggregate_id = $1")
        .bind(melted)
        .fetch_one(&app.database)
        .await
        .unwrap();
    assert_eq!(stored, 2, "no command left an event");

    // What came before it can still be told, and the list is whole.
    let past = app.get(&format!("{path}?version=1")).await;
    assert_eq!((past.status, &past.json()["total"]), (200, &json!("99.98")));
    let list = app.get("/v1/orders?customerId=customer-1").await;
    assert_eq!(list.json()["items"].as_array().unwrap().len(), 2);

    // It stays parked while nothing has changed, a rebuild or not.
    let still = projector(&app).refold(melted.into()).await.unwrap();
    assert!(matches!(still, Refolded::Parked(_)));
    Rebuild::new(projector(&app))
        .run(false, |_| ())
        .await
        .unwrap();
    assert_eq!(projector(&app).parked().await.unwrap().len(), 1);
    assert_internal(&app.get(&path).await, "GET after a rebuild");

    // The event is mended by an explicit act, and the order is whole again.
    let mut connection = app.database.acquire().await.unwrap();
    sqlx::raw_sql("set orders.allow_event_maintenance = on")
        .execute(&mut *connection)
        .await
        .unwrap();
    sqlx::query(
        "update events set type = 'OrderCancelled', schema_version = 1, data = '{\"reason\": null}'
         where aggregate_id = $1 and version = 2",
    )
    .bind(melted)
    .execute(&mut *connection)
    .await
    .unwrap();
    drop(connection.detach());
    let whole = projector(&app).refold(melted.into()).await.unwrap();
    assert_eq!(whole, Refolded::Whole);
    let shown = app.get(&path).await;
    assert_eq!(
        (shown.status, &shown.json()["status"]),
        (200, &json!("cancelled"))
    );
    let refused = app.post(&format!("{path}/items"), &item).await;
    assert_eq!(
        (refused.status, refused.code()),
        (409, "order_not_open".to_owned())
    );

    // Others may know what this program does not: NATS got it as it is stored.
    let messages = messages(&app, 4).await;
    let prefix = &app.config.nats_prefix;
    let foreign = messages
        .iter()
        .find(|(_, body)| body["aggregateId"] == json!(melted) && body["version"] == 2);
    let (subject, body) = foreign.expect("the message");
    assert_eq!(subject, &format!("{prefix}.Order.{event_type}"));
    assert_eq!(
        (&body["schemaVersion"], &body["data"]),
        (&json!(schema_version), &data)
    );
    app.stop().await;
}

#[tokio::test]
async fn an_event_of_unknown_type_parks_its_order() {
    let data = json!({"at": 1500});
    an_unreadable_event("OrderMelted", 1, data, "unknown event type OrderMelted").await;
}

#[tokio::test]
async fn an_event_of_a_future_version_parks_its_order() {
    let data = json!({"itemId": Uuid::now_v7(), "unit": "kg", "quantity": "1.5"});
    let reason = "OrderItemAdded has schema version 2, but the newest known is 1";
    an_unreadable_event("OrderItemAdded", 2, data, reason).await;
}

#[tokio::test]
async fn an_order_that_begins_with_an_unreadable_event_is_not_shown_as_absent() {
    let mut app = TestApp::start().await;
    app.may_park();
    let order = Uuid::now_v7();
    plant(
        &app,
        order,
        1,
        "OrderCreated",
        4,
        &json!({"orderId": order}),
    )
    .await;
    app.wait_until_caught_up().await;

    assert_internal(&app.get(&format!("/v1/orders/{order}")).await, "GET");
    let body = json!({"id": order, "customerId": "customer-1"});
    assert_internal(&app.post("/v1/orders", &body).await, "creating it");
    let list = app.get("/v1/orders").await;
    assert_eq!(list.json()["items"], json!([]));
    app.stop().await;
}
