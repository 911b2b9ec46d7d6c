//! The statuses of an order: `created`, then `completed` or `cancelled`, both final.

use serde_json::{Value, json};

use super::{assert_problem, delete, line, patch, place, place_one, post_nothing};
use crate::support::{TestApp, app::Answer};

/// Sends every command to an order and returns the answers.
async fn every_command(app: &TestApp, path: &str, item: &str) -> Vec<Answer> {
    vec![
        app.post(&format!("{path}/items"), &line("p", 1, "1")).await,
        patch(app, item, &json!({"quantity": 5}), &[]).await,
        patch(app, item, &json!({"quantity": 2}), &[]).await,
        delete(app, item, &[]).await,
        delete(app, &format!("{path}/items/{}", super::UNKNOWN_ID), &[]).await,
        post_nothing(app, &format!("{path}/complete"), &[]).await,
        post_nothing(app, &format!("{path}/cancel"), &[]).await,
        app.post(&format!("{path}/cancel"), &json!({"reason": "x"}))
            .await,
    ]
}

#[tokio::test]
async fn a_final_order_refuses_every_command() {
    let app = TestApp::start().await;

    for (command, status) in [("complete", "completed"), ("cancel", "cancelled")] {
        let (path, item) = place_one(&app).await;
        let closed = post_nothing(&app, &format!("{path}/{command}"), &[]).await;
        assert_eq!(closed.status, 200, "{}", closed.text);
        assert_eq!(closed.json()["status"], status);
        assert_eq!(closed.json()["allowedActions"], json!([]));

        for answer in every_command(&app, &path, &item).await {
            let problem = assert_problem(&answer, 409, "order_not_open");
            assert_eq!(problem["currentStatus"], status);
        }

        let token = closed.header("consistency-token");
        let shown = app.get_with(&path, &[("consistency-token", token)]).await;
        assert_eq!(
            (shown.json(), shown.header("etag")),
            (closed.json(), "\"2\"")
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn an_order_without_items_can_be_cancelled_but_not_completed() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;
    let emptied = delete(&app, &item, &[]).await;
    assert_eq!(
        emptied.json()["allowedActions"],
        json!(["addItem", "cancel"])
    );
    assert_eq!(emptied.json()["total"], "0.00");

    let refused = post_nothing(&app, &format!("{path}/complete"), &[]).await;
    let cancelled = post_nothing(&app, &format!("{path}/cancel"), &[]).await;

    assert_problem(&refused, 409, "order_has_no_items");
    assert_eq!(cancelled.json()["status"], "cancelled");
    assert_eq!(cancelled.json()["cancellationReason"], Value::Null);
    app.stop().await;
}

#[tokio::test]
async fn an_order_of_free_items_can_be_completed() {
    let app = TestApp::start().await;
    let (_, path) = place(&app, json!([line("p", 1, "0")])).await;

    let completed = app.post(&format!("{path}/complete"), &json!({})).await;

    assert_eq!(
        (completed.status, &completed.json()["total"]),
        (200, &json!("0.00"))
    );
    app.stop().await;
}

#[tokio::test]
async fn lines_stay_in_order_of_addition() {
    let app = TestApp::start().await;
    let (placed, path) = place(&app, json!([line("a", 1, "1"), line("b", 1, "1")])).await;
    let first = placed.json()["items"][0]["itemId"]
        .as_str()
        .expect("an id")
        .to_owned();
    for product in ["c", "a"] {
        assert_eq!(
            app.post(&format!("{path}/items"), &line(product, 1, "1"))
                .await
                .status,
            201
        );
    }
    let removed = delete(&app, &format!("{path}/items/{first}"), &[]).await;
    let added = app.post(&format!("{path}/items"), &line("d", 1, "1")).await;
    assert_eq!(removed.status, 200, "{}", removed.text);

    let view = added.json();
    let items = view["items"].as_array().expect("lines");
    let products: Vec<_> = items
        .iter()
        .filter_map(|item| item["productId"].as_str())
        .collect();
    assert_eq!(products, ["b", "c", "a", "d"]);
    let token = added.header("consistency-token");
    let shown = app.get_with(&path, &[("consistency-token", token)]).await;
    assert_eq!(shown.json(), view);
    let past = app.get(&format!("{path}?version=5")).await;
    assert_eq!(past.json()["items"], view["items"]);
    app.stop().await;
}
