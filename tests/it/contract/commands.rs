//! What commands answer when they succeed, and orders whose id the client chooses.

use serde_json::{Value, json};

use super::{
    UNKNOWN_ID, assert_invalid, assert_problem, assert_timestamp, delete, id, line, members, patch,
    place, place_one, post_nothing,
};
use crate::support::{TestApp, app::Answer};

const ORDER_MEMBERS: [&str; 15] = [
    "allowedActions",
    "cancellationReason",
    "cancelledAt",
    "completedAt",
    "createdAt",
    "currency",
    "customerId",
    "id",
    "itemCount",
    "items",
    "status",
    "total",
    "totalQuantity",
    "updatedAt",
    "version",
];
const ITEM_MEMBERS: [&str; 6] = [
    "addedAt",
    "itemId",
    "lineTotal",
    "price",
    "productId",
    "quantity",
];

#[tokio::test]
async fn a_new_order_is_answered_with_its_view_its_location_and_its_version() {
    let app = TestApp::start().await;

    let (placed, path) = place(&app, json!([line("product-1", 2, "49.99")])).await;

    let view = placed.json();
    assert_eq!(placed.header("location"), path);
    assert_eq!(placed.header("etag"), "\"1\"");
    assert_eq!(placed.header("content-type"), "application/json");
    assert!(!placed.header("consistency-token").is_empty());
    assert_eq!(placed.header("idempotent-replayed"), "");
    assert_eq!(placed.id().get_version_num(), 7);
    assert_eq!(members(&view), ORDER_MEMBERS);
    assert_eq!(members(&view["items"][0]), ITEM_MEMBERS);
    assert_eq!(view["customerId"], "customer-1");
    assert_eq!(
        (&view["status"], &view["currency"]),
        (&json!("created"), &json!("EUR"))
    );
    assert_eq!(view["items"][0]["price"], "49.99");
    assert_eq!(view["items"][0]["lineTotal"], "99.98");
    assert_eq!(view["total"], "99.98");
    assert_eq!(
        (&view["itemCount"], &view["totalQuantity"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(view["version"], 1);
    let actions = json!(["addItem", "changeItem", "removeItem", "complete", "cancel"]);
    assert_eq!(view["allowedActions"], actions);
    for null in ["completedAt", "cancelledAt", "cancellationReason"] {
        assert_eq!(view[null], Value::Null);
    }
    assert_timestamp(&view["createdAt"]);
    assert_eq!(view["updatedAt"], view["createdAt"]);
    assert_eq!(view["items"][0]["addedAt"], view["createdAt"]);
    app.stop().await;
}

#[tokio::test]
async fn every_command_answers_with_the_state_right_after_its_own_events() {
    let app = TestApp::start().await;
    let (path, _) = place_one(&app).await;
    let check = |answer: &Answer, status: u16, version: i32| {
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(answer.header("etag"), format!("\"{version}\""));
        assert_eq!(answer.json()["version"], version);
        assert!(!answer.header("consistency-token").is_empty());
        assert_eq!(answer.header("location"), "");
    };

    let new = json!({"itemId": id(7), "productId": "product-1", "quantity": 1, "price": 0.5});
    let added = app.post(&format!("{path}/items"), &new).await;
    let item = format!("{path}/items/{}", id(7));
    let changed = patch(&app, &item, &json!({"quantity": 3}), &[]).await;
    let removed = delete(&app, &item, &[]).await;
    let completed = post_nothing(&app, &format!("{path}/complete"), &[]).await;

    check(&added, 201, 2);
    assert_eq!(added.json()["items"][1]["itemId"], json!(id(7)));
    assert_eq!(added.json()["total"], "100.48");
    // The same product twice is two lines.
    assert_eq!(added.json()["itemCount"], 2);
    check(&changed, 200, 3);
    assert_eq!(changed.json()["items"][1]["lineTotal"], "1.50");
    assert_eq!(changed.json()["totalQuantity"], 5);
    check(&removed, 200, 4);
    assert_eq!(removed.json()["itemCount"], 1);
    check(&completed, 200, 5);
    assert_timestamp(&completed.json()["completedAt"]);
    assert_eq!(
        completed.json()["completedAt"],
        completed.json()["updatedAt"]
    );

    let (other, _) = place_one(&app).await;
    let why = json!({"reason": "changed my mind"});
    let cancelled = app.post(&format!("{other}/cancel"), &why).await;
    check(&cancelled, 200, 2);
    assert_eq!(cancelled.json()["cancellationReason"], "changed my mind");
    assert_timestamp(&cancelled.json()["cancelledAt"]);
    assert_eq!(cancelled.json()["completedAt"], Value::Null);
    app.stop().await;
}

#[tokio::test]
async fn setting_the_same_quantity_again_changes_nothing() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;

    let same = patch(&app, &item, &json!({"quantity": 2}), &[]).await;
    let with_key = [("idempotency-key", "same")];
    let keyed = patch(&app, &item, &json!({"quantity": 2}), &with_key).await;
    let again = patch(&app, &item, &json!({"quantity": 2}), &with_key).await;

    for answer in [&same, &keyed, &again] {
        assert_eq!((answer.status, answer.header("etag")), (200, "\"1\""));
        assert!(!answer.header("consistency-token").is_empty());
    }
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(keyed.json(), same.json());
    let history = app.get(&format!("{path}/events")).await;
    assert_eq!(history.json()["items"].as_array().map(Vec::len), Some(1));
    app.stop().await;
}

#[tokio::test]
async fn an_item_id_is_never_used_twice_in_an_order() {
    let app = TestApp::start().await;
    let first = json!({"itemId": id(1), "productId": "p", "quantity": 1, "price": "1"});
    let (_, path) = place(&app, json!([first])).await;
    let items = format!("{path}/items");

    let while_present = app.post(&items, &first).await;
    assert_eq!(
        delete(&app, &format!("{items}/{}", id(1)), &[])
            .await
            .status,
        200
    );
    let after_removal = app.post(&items, &first).await;
    let (_, elsewhere) = place(&app, json!([first])).await;
    let twice = json!({"customerId": "c", "items": [first, line("q", 1, "1"), first]});
    let twice = app.post("/v1/orders", &twice).await;

    assert_problem(&while_present, 409, "item_already_exists");
    assert_problem(&after_removal, 409, "item_already_exists");
    assert_ne!(elsewhere, path);
    assert_invalid(&twice, &[("#/items/2/itemId", "duplicate")]);
    app.stop().await;
}

#[tokio::test]
async fn a_command_on_an_unknown_item_is_not_found() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;
    let missing = format!("{path}/items/{UNKNOWN_ID}");
    let quantity = json!({"quantity": 1});

    let changed = patch(&app, &missing, &quantity, &[]).await;
    let removed = delete(&app, &missing, &[]).await;
    assert_eq!(delete(&app, &item, &[]).await.status, 200);
    let removed_twice = delete(&app, &item, &[]).await;
    let changed_after = patch(&app, &item, &quantity, &[]).await;

    for answer in [changed, removed, removed_twice, changed_after] {
        assert_problem(&answer, 404, "item_not_found");
    }
    app.stop().await;
}

#[tokio::test]
async fn creating_the_same_order_again_shows_it_as_it_is_now() {
    let app = TestApp::start().await;
    let item =
        |price: Value| json!({"itemId": id(1), "productId": "p", "quantity": 2, "price": price});
    let order = |item: Value| json!({"id": id(9), "customerId": "c", "items": [item]});
    let created = app.post("/v1/orders", &order(item(json!("49.9")))).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let path = format!("/v1/orders/{}", id(9));
    let added = app.post(&format!("{path}/items"), &line("q", 1, "1")).await;
    assert_eq!(added.status, 201, "{}", added.text);

    let mut named = order(item(json!("49.90")));
    named["currency"] = json!("EUR");
    let mut no_item_id = order(item(json!(49.9)));
    no_item_id["items"][0]
        .as_object_mut()
        .expect("a line")
        .remove("itemId");
    let upper_case = json!({"id": id(9).to_string().to_uppercase(), "customerId": "c",
        "items": [item(json!("49.9"))]});
    for same in [order(item(json!("49.9"))), named, no_item_id, upper_case] {
        let again = app.post("/v1/orders", &same).await;
        assert_eq!(
            (again.status, again.header("etag")),
            (200, "\"2\""),
            "{same}"
        );
        assert_eq!(again.json(), added.json());
        assert_eq!(again.header("location"), "");
        assert!(!again.header("consistency-token").is_empty());
    }

    let complete = post_nothing(&app, &format!("{path}/complete"), &[]).await;
    let again = app.post("/v1/orders", &order(item(json!("49.9")))).await;
    assert_eq!((again.status, again.json()), (200, complete.json()));
    app.stop().await;
}

#[tokio::test]
async fn creating_another_order_with_a_taken_id_is_refused() {
    let app = TestApp::start().await;
    let item = json!({"itemId": id(1), "productId": "p", "quantity": 2, "price": "5"});
    let order = json!({"id": id(9), "customerId": "c", "items": [item, line("q", 1, "1")]});
    assert_eq!(app.post("/v1/orders", &order).await.status, 201);
    let with = |pointer: &str, value: Value| {
        let mut other = order.clone();
        *other.pointer_mut(pointer).expect("a member") = value;
        other
    };
    let mut dollars = order.clone();
    dollars["currency"] = json!("USD");

    let others = [
        dollars,
        with("/customerId", json!("d")),
        with("/items/0/itemId", json!(id(2))),
        with("/items/0/productId", json!("x")),
        with("/items/0/quantity", json!(3)),
        with("/items/0/price", json!("5.01")),
        with("/items", json!([line("q", 1, "1"), item])),
        with("/items", json!([item])),
        with("/items", json!([])),
        json!({"id": id(9), "customerId": "c"}),
    ];

    for other in others {
        let refused = app.post("/v1/orders", &other).await;
        assert_problem(&refused, 409, "order_already_exists");
    }
    let shown = app.wait_until_projected(id(9), 1).await;
    assert_eq!(shown["version"], 1);
    app.stop().await;
}

#[tokio::test]
async fn an_order_without_items_can_be_placed() {
    let app = TestApp::start().await;

    for body in [
        json!({"customerId": "c"}),
        json!({"customerId": "c", "items": []}),
        json!({"customerId": "c", "items": null, "currency": null, "id": null}),
    ] {
        let placed = app.post("/v1/orders", &body).await;
        let view = placed.json();
        assert_eq!(placed.status, 201, "{}", placed.text);
        assert_eq!(
            (&view["items"], &view["total"]),
            (&json!([]), &json!("0.00"))
        );
        assert_eq!(view["allowedActions"], json!(["addItem", "cancel"]));
    }
    app.stop().await;
}

#[tokio::test]
async fn a_command_on_an_unknown_order_is_not_found() {
    let app = TestApp::start().await;
    let path = format!("/v1/orders/{UNKNOWN_ID}");
    let item = format!("{path}/items/{UNKNOWN_ID}");

    let answers = [
        app.post(&format!("{path}/items"), &line("p", 1, "1")).await,
        patch(&app, &item, &json!({"quantity": 1}), &[]).await,
        delete(&app, &item, &[]).await,
        post_nothing(&app, &format!("{path}/complete"), &[]).await,
        post_nothing(&app, &format!("{path}/cancel"), &[("if-match", "*")]).await,
        post_nothing(&app, &format!("{path}/cancel"), &[("if-match", "\"4\"")]).await,
        app.post(&format!("{path}/cancel"), &json!({"expectedVersion": 4}))
            .await,
    ];

    for answer in answers {
        let problem = assert_problem(&answer, 404, "order_not_found");
        assert_eq!(problem.get("currentVersion"), None);
    }
    app.stop().await;
}
