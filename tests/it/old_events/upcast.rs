//! Events of old schema versions are shown in today's shape: in views, history, past and NATS messages.

use orders::read_model::Rebuild;
use serde_json::json;
use uuid::Uuid;

use super::{DAY, insert_old_orders, main_values, messages, projector};
use crate::support::TestApp;

#[tokio::test]
async fn an_old_order_shows_in_todays_shape() {
    let app = TestApp::start().await;
    let [first, second] = insert_old_orders(&app).await;

    for (order, customer, total, price) in [
        (first, "unknown", "150.00", "149.90"),
        (second, "customer-7", "20.10", "20.00"),
    ] {
        let shown = app.get(&format!("/v1/orders/{order}")).await;
        assert_eq!(shown.status, 200, "{}", shown.text);
        let view = shown.json();
        let line = (&json!("unknown"), &json!(1), &json!(price));
        assert_eq!(
            main_values(&view),
            (customer, total, line.0, line.1, line.2)
        );
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
    let [first, second] = insert_old_orders(&app).await;

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
    let [first, _] = insert_old_orders(&app).await;
    let path = format!("/v1/orders/{first}");

    for past in ["version=1".to_owned(), format!("asOf={DAY}:30Z")] {
        let shown = app.get(&format!("{path}?{past}")).await;
        assert_eq!(shown.status, 200, "{past}: {}", shown.text);
        assert_eq!(shown.header("etag"), "\"1\"");
        let view = shown.json();
        let (unknown, one, price) = (json!("unknown"), json!(1), json!("149.90"));
        assert_eq!(
            main_values(&view),
            ("unknown", "149.90", &unknown, &one, &price)
        );
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
async fn an_old_order_accepts_todays_commands() {
    let app = TestApp::start().await;
    let [first, _] = insert_old_orders(&app).await;
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
    let orders = insert_old_orders(&app).await;
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
    let [first, second] = insert_old_orders(&app).await;

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
async fn an_event_of_another_aggregate_is_not_lifted_as_an_orders() {
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
