//! The history of an order, old events included.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    UNKNOWN_ID, assert_problem, assert_timestamp, delete, id, line, members, patch, place_one,
};
use crate::support::{TestApp, app::Answer};

/// Inserts an event as an older version of the service stored it.
pub(super) async fn insert_event(
    app: &TestApp,
    order: Uuid,
    version: i32,
    kind: (&str, i16),
    data: Value,
    metadata: Value,
) {
    sqlx::query(
        "insert into events (event_id, aggregate_type, aggregate_id, version, type,
             schema_version, data, metadata, created_at)
         values ($1, 'Order', $2, $3, $4, $5, $6, $7, '2020-01-01T00:00:00Z')",
    )
    .bind(Uuid::now_v7())
    .bind(order)
    .bind(version)
    .bind(kind.0)
    .bind(kind.1)
    .bind(data)
    .bind(metadata)
    .execute(&app.database)
    .await
    .expect("PostgreSQL answers");
}

const ENTRY_MEMBERS: [&str; 9] = [
    "data",
    "eventId",
    "metadata",
    "occurredAt",
    "orderId",
    "position",
    "schemaVersion",
    "type",
    "version",
];
const METADATA_MEMBERS: [&str; 5] = [
    "actor",
    "causationId",
    "correlationId",
    "requestId",
    "traceparent",
];

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Sends the commands that lead to [`expected_events`]. Returns the last answer.
async fn send_expected_commands(app: &TestApp) -> Answer {
    let order = json!({"id": id(9), "customerId": "c", "items": [
        {"itemId": id(1), "productId": "p", "quantity": 2, "price": "49.9"}]});
    let headers = [("x-request-id", "request-1"), ("traceparent", TRACE)];
    assert_eq!(
        app.post_with("/v1/orders", &order, &headers).await.status,
        201
    );
    let path = format!("/v1/orders/{}", id(9));
    let added = json!({"itemId": id(2), "productId": "q", "quantity": 1, "price": 1});
    app.post(&format!("{path}/items"), &added).await;
    patch(
        app,
        &format!("{path}/items/{}", id(2)),
        &json!({"quantity": 3}),
        &[],
    )
    .await;
    delete(app, &format!("{path}/items/{}", id(2)), &[]).await;
    app.post(&format!("{path}/cancel"), &json!({"reason": "why not"}))
        .await
}

/// Type, schema version and data of the events.
fn expected_events() -> Vec<(&'static str, i32, Value)> {
    vec![
        (
            "OrderCreated",
            3,
            json!({"orderId": id(9), "customerId": "c", "currency": "EUR",
            "items": [{"itemId": id(1), "productId": "p", "quantity": 2, "price": "49.90"}]}),
        ),
        (
            "OrderItemAdded",
            1,
            json!({"itemId": id(2), "productId": "q", "quantity": 1,
            "price": "1.00", "currency": "EUR"}),
        ),
        (
            "OrderItemQuantityChanged",
            1,
            json!({"itemId": id(2), "quantity": 3}),
        ),
        ("OrderItemRemoved", 1, json!({"itemId": id(2)})),
        ("OrderCancelled", 1, json!({"reason": "why not"})),
    ]
}

#[tokio::test]
async fn the_history_shows_every_event_in_order() {
    let app = TestApp::start().await;
    let cancelled = send_expected_commands(&app).await;

    let history = app.get(&format!("/v1/orders/{}/events", id(9))).await;

    let page = history.json();
    assert_eq!(
        (history.status, members(&page)),
        (200, vec!["items", "nextFromVersion"])
    );
    assert_eq!(page["nextFromVersion"], Value::Null);
    assert_ne!(history.header("projection-position"), "");
    let expected = expected_events();
    let entries = page["items"].as_array().expect("entries");
    assert_eq!(entries.len(), expected.len());
    let mut position = 0;
    for (number, (entry, (kind, schema, data))) in entries.iter().zip(expected).enumerate() {
        assert_eq!(members(entry), ENTRY_MEMBERS);
        assert_eq!(
            (&entry["type"], &entry["schemaVersion"]),
            (&json!(kind), &json!(schema))
        );
        assert_eq!((&entry["data"], &entry["orderId"]), (&data, &json!(id(9))));
        assert_eq!(entry["version"], number + 1);
        assert!(entry["position"].as_i64() > Some(position), "{entry}");
        position = entry["position"].as_i64().unwrap_or_default();
        assert_timestamp(&entry["occurredAt"]);
        assert_eq!(members(&entry["metadata"]), METADATA_MEMBERS);
        assert_eq!(entry["metadata"]["actor"], Value::Null);
    }
    assert_eq!(entries[0]["metadata"]["requestId"], "request-1");
    assert_eq!(entries[0]["metadata"]["traceparent"], TRACE);
    assert_eq!(
        entries[4]["metadata"]["requestId"],
        cancelled.header("x-request-id")
    );
    assert_eq!(entries[4]["metadata"]["traceparent"], Value::Null);
    assert_eq!(entries[4]["occurredAt"], cancelled.json()["cancelledAt"]);
    app.stop().await;
}

#[tokio::test]
async fn the_history_is_read_in_pages() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;
    for quantity in 3..=6 {
        patch(&app, &item, &json!({"quantity": quantity}), &[]).await;
    }
    let part = async |query: &str| {
        let answer = app.get(&format!("{path}/events?{query}")).await;
        let page = answer.json();
        let items = page["items"].as_array().cloned().unwrap_or_default();
        let versions: Vec<_> = items
            .iter()
            .filter_map(|entry| entry["version"].as_i64())
            .collect();
        (versions, page["nextFromVersion"].clone())
    };

    assert_eq!(part("limit=2").await, (vec![1, 2], json!(3)));
    assert_eq!(part("limit=2&fromVersion=3").await, (vec![3, 4], json!(5)));
    assert_eq!(part("limit=2&fromVersion=5").await, (vec![5], Value::Null));
    assert_eq!(part("limit=5").await, (vec![1, 2, 3, 4, 5], Value::Null));
    assert_eq!(part("limit=1000&fromVersion=1").await.0.len(), 5);
    assert_eq!(part("fromVersion=6").await, (vec![], Value::Null));
    assert_eq!(part("fromVersion=2147483647").await, (vec![], Value::Null));
    let unknown = app.get(&format!("/v1/orders/{UNKNOWN_ID}/events")).await;
    assert_problem(&unknown, 404, "order_not_found");
    let from_a_later_version = app
        .get(&format!("/v1/orders/{UNKNOWN_ID}/events?fromVersion=3"))
        .await;
    assert_problem(&from_a_later_version, 404, "order_not_found");
    app.stop().await;
}

#[tokio::test]
async fn old_events_appear_in_the_current_schema() {
    let app = TestApp::start().await;
    let (first, second) = (id(1), id(2));
    let data = json!({"orderId": first, "total": "99.9"});
    insert_event(&app, first, 1, ("OrderCreated", 1), data, json!({})).await;
    let data = json!({"orderId": second, "customerId": "old-customer", "total": 100.5});
    let metadata = json!({"timestamp": "2020-01-01T00:00:00Z", "version": 2, "requestId": "r"});
    insert_event(&app, second, 1, ("OrderCreated", 2), data, metadata).await;

    let first_item = Uuid::new_v5(&first, b"OrderCreated/total");
    for (order, customer, price) in [
        (first, "unknown", "99.90"),
        (second, "old-customer", "100.50"),
    ] {
        let path = format!("/v1/orders/{order}");
        let entry = app.get(&format!("{path}/events")).await.json()["items"][0].clone();
        assert_eq!(entry["schemaVersion"], 3);
        let names = ["currency", "customerId", "items", "orderId"];
        assert_eq!(members(&entry["data"]), names);
        assert_eq!(entry["data"]["customerId"], customer);
        assert_eq!(entry["data"]["currency"], "EUR");
        assert_eq!(entry["data"]["items"][0]["price"], price);
        assert_eq!(members(&entry["metadata"]), METADATA_MEMBERS);
        assert_eq!(entry["occurredAt"], "2020-01-01T00:00:00.000000Z");

        let past = app.get(&format!("{path}?version=1")).await.json();
        let shown = app.wait_until_projected(order, 1).await;
        assert_eq!(
            (&shown["total"], &shown["customerId"]),
            (&json!(price), &json!(customer))
        );
        assert_eq!(
            (&shown["items"], &shown["total"]),
            (&past["items"], &past["total"])
        );
        assert_eq!(shown["createdAt"], "2020-01-01T00:00:00.000000Z");
    }
    let path = format!("/v1/orders/{first}");
    let changed = patch(
        &app,
        &format!("{path}/items/{first_item}"),
        &json!({"quantity": 2}),
        &[],
    )
    .await;
    assert_eq!(
        (changed.header("etag"), &changed.json()["total"]),
        ("\"2\"", &json!("199.80"))
    );
    let added = app
        .post(&format!("/v1/orders/{second}/items"), &line("p", 1, "1"))
        .await;
    assert_eq!(added.json()["total"], "101.50");
    app.stop().await;
}

#[tokio::test]
async fn event_times_never_go_back_even_if_the_clock_does() {
    let app = TestApp::start().await;
    let order = id(1);
    let data = json!({"orderId": order, "customerId": "c", "currency": "EUR", "items": []});
    insert_event(&app, order, 1, ("OrderCreated", 3), data, json!({})).await;
    let item = json!({"itemId": id(2), "productId": "p", "quantity": 1, "price": "1.00", "currency": "EUR"});
    sqlx::query(
        "insert into events (event_id, aggregate_type, aggregate_id, version, type,
             schema_version, data, metadata, created_at)
         values ($1, 'Order', $2, 2, 'OrderItemAdded', 1, $3, '{}', '2990-01-01T00:00:00Z')",
    )
    .bind(Uuid::now_v7())
    .bind(order)
    .bind(item)
    .execute(&app.database)
    .await
    .expect("PostgreSQL answers");

    let completed = app
        .post(&format!("/v1/orders/{order}/complete"), &json!({}))
        .await;

    assert_eq!(
        completed.json()["completedAt"],
        "2990-01-01T00:00:00.000000Z"
    );
    app.stop().await;
}
