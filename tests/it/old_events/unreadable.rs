//! Events that cannot be read: of an unknown type, or of a newer schema version.

use orders::read_model::{Rebuild, Refolded};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{insert_event, messages, projector};
use crate::support::{TestApp, app::Answer};

async fn place(app: &TestApp) -> Uuid {
    let body = json!({"customerId": "customer-1", "items": [
        {"productId": "product-1", "quantity": 2, "price": "49.99"}]});
    let created = app.post("/v1/orders", &body).await;
    assert_eq!(created.status, 201, "{}", created.text);
    created.id()
}

/// Asserts an answer with status 500 that shows no internal text.
fn assert_internal(answer: &Answer, request: &str) {
    assert_eq!(
        (answer.status, answer.code()),
        (500, "internal_error".to_owned()),
        "{request}"
    );
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json()["retryable"], false, "{request}");
    for internal in ["Melted", "schema", "upcast", "corrupt", "unknown", "event "] {
        assert!(
            !answer.text.contains(internal),
            "{request}: {}",
            answer.text
        );
    }
}

/// An order whose second event cannot be read, and the application that serves it.
struct UnreadableOrder {
    app: TestApp,
    id: Uuid,
    path: String,
}

fn new_item() -> Value {
    json!({"productId": "product-2", "quantity": 1, "price": "1"})
}

impl UnreadableOrder {
    /// Asserts that the order is parked for `reason`, and that another order still changes.
    async fn assert_only_this_order_is_parked(&self, other: Uuid, reason: &str) {
        let items = format!("/v1/orders/{other}/items");
        let added = self.app.post(&items, &new_item()).await;
        assert_eq!(added.status, 201, "{}", added.text);
        self.app.wait_until_projected(other, 2).await;
        self.app.wait_until_caught_up().await;

        let parked = projector(&self.app).parked().await.unwrap();

        assert_eq!(parked.len(), 1);
        assert_eq!((parked[0].order_id, parked[0].version), (self.id.into(), 2));
        assert!(parked[0].reason.contains(reason), "{}", parked[0].reason);
    }

    /// Asserts that requests that need the event get an error, and that no command stores an event.
    async fn assert_requests_fail(&self) {
        let Self { app, path, .. } = self;
        assert_internal(&app.get(path).await, "the order");
        assert_internal(&app.get(&format!("{path}/events")).await, "its history");
        assert_internal(&app.get(&format!("{path}?version=2")).await, "version 2");
        let added = app.post(&format!("{path}/items"), &new_item()).await;
        assert_internal(&added, "add an item");
        for command in ["complete", "cancel"] {
            let answer = app.post(&format!("{path}/{command}"), &json!({})).await;
            assert_internal(&answer, command);
        }
        let stored: i64 = sqlx::query_scalar("select count(*) from events where aggregate_id = $1")
            .bind(self.id)
            .fetch_one(&app.database)
            .await
            .unwrap();
        assert_eq!(stored, 2, "a command stored an event");
    }

    /// Asserts that the version before the event is shown, and that the list has both orders.
    async fn assert_past_and_list_are_shown(&self) {
        let past = self.app.get(&format!("{}?version=1", self.path)).await;
        assert_eq!((past.status, &past.json()["total"]), (200, &json!("99.98")));
        let list = self.app.get("/v1/orders?customerId=customer-1").await;
        assert_eq!(list.json()["items"].as_array().unwrap().len(), 2);
    }

    /// Asserts that neither a refold nor a rebuild changes anything while the event is the same.
    async fn assert_stays_parked(&self) {
        let refolded = projector(&self.app).refold(self.id.into()).await.unwrap();
        assert!(matches!(refolded, Refolded::Parked(_)));
        let rebuild = Rebuild::new(projector(&self.app));
        rebuild.run(false, |_| ()).await.unwrap();
        assert_eq!(projector(&self.app).parked().await.unwrap().len(), 1);
        assert_internal(&self.app.get(&self.path).await, "the order after a rebuild");
    }

    /// Replaces the event by one that can be read.
    async fn repair_event(&self) {
        let mut connection = self.app.database.acquire().await.unwrap();
        sqlx::raw_sql("set orders.allow_event_maintenance = on")
            .execute(&mut *connection)
            .await
            .unwrap();
        sqlx::query(
            "update events
             set type = 'OrderCancelled', schema_version = 1, data = '{\"reason\": null}'
             where aggregate_id = $1 and version = 2",
        )
        .bind(self.id)
        .execute(&mut *connection)
        .await
        .unwrap();
        drop(connection.detach());
    }

    /// Asserts that the order is refolded and shown after [`Self::repair_event`].
    async fn assert_is_whole_again(&self) {
        let refolded = projector(&self.app).refold(self.id.into()).await.unwrap();
        assert_eq!(refolded, Refolded::Whole);
        let shown = self.app.get(&self.path).await;
        assert_eq!(
            (shown.status, &shown.json()["status"]),
            (200, &json!("cancelled"))
        );
        let items = format!("{}/items", self.path);
        let refused = self.app.post(&items, &new_item()).await;
        assert_eq!(
            (refused.status, refused.code()),
            (409, "order_not_open".to_owned())
        );
    }

    /// Asserts that NATS has the event as it was stored: a consumer may know a newer version.
    async fn assert_message_is_as_stored(
        &self,
        event_type: &str,
        schema_version: i16,
        data: &Value,
    ) {
        let messages = messages(&self.app, 4).await;
        let (subject, body) = messages
            .iter()
            .find(|(_, body)| body["aggregateId"] == json!(self.id) && body["version"] == 2)
            .expect("the message");
        let prefix = &self.app.config.nats_prefix;
        assert_eq!(subject, &format!("{prefix}.Order.{event_type}"));
        assert_eq!(
            (&body["schemaVersion"], &body["data"]),
            (&json!(schema_version), data)
        );
    }
}

/// Inserts an event that cannot be read, and follows its order until the event is repaired.
async fn assert_event_parks_its_order(
    event_type: &str,
    schema_version: i16,
    data: Value,
    reason: &str,
) {
    let mut app = TestApp::start().await;
    app.may_park();
    let (id, other) = (place(&app).await, place(&app).await);
    app.wait_until_projected(id, 1).await;
    insert_event(&app, id, 2, event_type, schema_version, &data).await;
    let path = format!("/v1/orders/{id}");
    let order = UnreadableOrder { app, id, path };

    order.assert_only_this_order_is_parked(other, reason).await;
    order.assert_requests_fail().await;
    order.assert_past_and_list_are_shown().await;
    order.assert_stays_parked().await;
    order.repair_event().await;
    order.assert_is_whole_again().await;
    order
        .assert_message_is_as_stored(event_type, schema_version, &data)
        .await;
    order.app.stop().await;
}

#[tokio::test]
async fn an_event_of_unknown_type_parks_its_order() {
    let data = json!({"at": 1500});
    let reason = "unknown event type OrderMelted";
    assert_event_parks_its_order("OrderMelted", 1, data, reason).await;
}

#[tokio::test]
async fn an_event_of_a_future_version_parks_its_order() {
    let data = json!({"itemId": Uuid::now_v7(), "unit": "kg", "quantity": "1.5"});
    let reason = "OrderItemAdded has schema version 2, but the newest known is 1";
    assert_event_parks_its_order("OrderItemAdded", 2, data, reason).await;
}

#[tokio::test]
async fn an_order_that_begins_with_an_unreadable_event_is_not_shown_as_absent() {
    let mut app = TestApp::start().await;
    app.may_park();
    let order = Uuid::now_v7();
    let data = json!({"orderId": order});
    insert_event(&app, order, 1, "OrderCreated", 4, &data).await;
    app.wait_until_caught_up().await;

    assert_internal(&app.get(&format!("/v1/orders/{order}")).await, "GET");
    let body = json!({"id": order, "customerId": "customer-1"});
    assert_internal(&app.post("/v1/orders", &body).await, "creating it");
    let list = app.get("/v1/orders").await;
    assert_eq!(list.json()["items"], json!([]));
    app.stop().await;
}
