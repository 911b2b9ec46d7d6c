//! Idempotency keys: a command that is sent twice happens once.

use serde_json::json;

use super::{
    UNKNOWN_ID, assert_invalid, assert_problem, delete, id, line, patch, place_one, post_nothing,
};
use crate::support::{TestApp, app::Answer};

pub const KEY: &str = "idempotency-key";

/// Asserts that an answer repeats the first one.
#[track_caller]
pub fn assert_replays(again: &Answer, first: &Answer) {
    assert_eq!(
        again.header("idempotent-replayed"),
        "true",
        "{}",
        again.text
    );
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    for header in ["etag", "location", "consistency-token", "content-type"] {
        assert_eq!(again.header(header), first.header(header), "{header}");
    }
}

#[tokio::test]
async fn a_repeated_key_gets_the_first_answer_however_the_order_has_changed() {
    let app = TestApp::start().await;
    let body = json!({"customerId": "c", "items": [line("p", 1, "1")]});
    let first = app
        .post_with("/v1/orders", &body, &[(KEY, "create-1")])
        .await;
    assert_eq!(
        (first.status, first.header("idempotent-replayed")),
        (201, "")
    );
    let path = format!("/v1/orders/{}", first.id());
    let added = app
        .post_with(
            &format!("{path}/items"),
            &line("q", 1, "2"),
            &[(KEY, "add")],
        )
        .await;
    let item = format!(
        "{path}/items/{}",
        added.json()["items"][1]["itemId"].as_str().expect("an id")
    );
    let changed = patch(&app, &item, &json!({"quantity": 5}), &[(KEY, "change")]).await;
    let removed = delete(&app, &item, &[(KEY, "remove")]).await;
    let completed = post_nothing(&app, &format!("{path}/complete"), &[(KEY, "complete")]).await;
    assert_eq!(
        (removed.status, completed.status),
        (200, 200),
        "{}",
        completed.text
    );

    let first_again = app
        .post_with("/v1/orders", &body, &[(KEY, "create-1")])
        .await;
    let added_again = app
        .post_with(
            &format!("{path}/items"),
            &line("q", 1, "2"),
            &[(KEY, "add")],
        )
        .await;
    let changed_again = patch(&app, &item, &json!({"quantity": 5}), &[(KEY, "change")]).await;
    let removed_again = delete(&app, &item, &[(KEY, "remove")]).await;
    let completed_again =
        post_nothing(&app, &format!("{path}/complete"), &[(KEY, "complete")]).await;

    assert_replays(&first_again, &first);
    assert_replays(&added_again, &added);
    assert_replays(&changed_again, &changed);
    assert_replays(&removed_again, &removed);
    assert_replays(&completed_again, &completed);
    app.stop().await;
}

#[tokio::test]
async fn a_replay_also_works_in_another_process() {
    let app = TestApp::start().await;
    let second = app.second().await;
    let body = json!({"customerId": "c"});
    let first = app.post_with("/v1/orders", &body, &[(KEY, "k")]).await;

    let elsewhere = second.post_with("/v1/orders", &body, &[(KEY, "k")]).await;

    assert_replays(&elsewhere, &first);
    second.stop().await;
    app.stop().await;
}

#[tokio::test]
async fn the_key_is_looked_up_before_any_precondition() {
    let app = TestApp::start().await;
    let (path, _) = place_one(&app).await;
    let items = format!("{path}/items");
    let mut body = line("q", 1, "2");
    let first = app
        .post_with(&items, &body, &[(KEY, "k"), ("if-match", "\"1\"")])
        .await;
    assert_eq!(first.status, 201, "{}", first.text);

    let stale = app
        .post_with(&items, &body, &[(KEY, "k"), ("if-match", "\"1\"")])
        .await;
    let other = app
        .post_with(&items, &body, &[(KEY, "k"), ("if-match", "\"77\"")])
        .await;
    let none = app.post_with(&items, &body, &[(KEY, "k")]).await;
    body["expectedVersion"] = json!(1);
    let in_body = app.post_with(&items, &body, &[(KEY, "k")]).await;

    for again in [stale, other, none, in_body] {
        assert_replays(&again, &first);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_key_that_was_used_for_another_request_is_refused() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;
    let (other, _) = place_one(&app).await;
    let key = [(KEY, "k")];
    let items = format!("{path}/items");
    assert_eq!(
        app.post_with(&items, &line("p", 1, "1"), &key).await.status,
        201
    );

    let refused = [
        app.post_with(&items, &line("p", 2, "1"), &key).await,
        app.post_with(
            &items,
            &json!({"productId": "p", "quantity": 1, "price": 1}),
            &key,
        )
        .await,
        app.post_with(&format!("{other}/items"), &line("p", 1, "1"), &key)
            .await,
        app.post_with(
            &format!("/v1/orders/{UNKNOWN_ID}/items"),
            &line("p", 1, "1"),
            &key,
        )
        .await,
        post_nothing(&app, &format!("{path}/complete"), &key).await,
        patch(&app, &item, &json!({"quantity": 9}), &key).await,
        delete(&app, &item, &key).await,
        delete(&app, &item, &[(KEY, "k"), ("if-match", "\"77\"")]).await,
        app.post_with("/v1/orders", &json!({"customerId": "c"}), &key)
            .await,
    ];

    for answer in refused {
        assert_problem(&answer, 422, "idempotency_key_reused");
    }
    let shown = app.get(&format!("{path}?minVersion=2")).await;
    assert_eq!(shown.json()["version"], 2);
    app.stop().await;
}

#[tokio::test]
async fn requests_are_compared_by_their_parsed_json() {
    let app = TestApp::start().await;
    let first = r#"{"customerId":"c\u0061","items":[{"productId":"p","quantity":2,"price":50}]}"#;
    let spaced =
        r#" { "items" : [ {"price": 50, "quantity": 2, "productId": "p"} ], "customerId": "ca" } "#;
    let send = async |text: &'static str| {
        let headers = [(KEY, "k"), ("content-type", "application/json")];
        app.send_raw(reqwest::Method::POST, "/v1/orders", &headers, text)
            .await
    };
    let placed = send(first).await;
    assert_eq!(placed.status, 201, "{}", placed.text);

    let again = send(spaced).await;
    // Other spellings of the same numbers.
    let spelled =
        send(r#"{"customerId":"ca","items":[{"productId":"p","quantity":2.0,"price":5e1}]}"#).await;
    let other =
        send(r#"{"customerId":"ca","items":[{"productId":"p","quantity":2,"price":"50"}]}"#).await;

    assert_replays(&again, &placed);
    assert_replays(&spelled, &placed);
    assert_problem(&other, 422, "idempotency_key_reused");
    app.stop().await;
}

#[tokio::test]
async fn a_missing_body_is_the_same_request_as_an_empty_one() {
    let app = TestApp::start().await;
    let (path, _) = place_one(&app).await;
    let complete = format!("{path}/complete");
    let first = post_nothing(&app, &complete, &[(KEY, "k")]).await;

    let empty = app.post_with(&complete, &json!({}), &[(KEY, "k")]).await;
    let expecting = app
        .post_with(&complete, &json!({"expectedVersion": 1}), &[(KEY, "k")])
        .await;

    assert_replays(&empty, &first);
    assert_replays(&expecting, &first);
    app.stop().await;
}

#[tokio::test]
async fn a_refused_command_does_not_use_up_its_key() {
    let app = TestApp::start().await;
    let order = json!({"id": id(1), "customerId": "c"});
    let placed = app.post("/v1/orders", &order).await;
    let path = format!("/v1/orders/{}", placed.id());
    let key = [(KEY, "k")];

    let no_items = post_nothing(&app, &format!("{path}/complete"), &key).await;
    let stale = post_nothing(
        &app,
        &format!("{path}/cancel"),
        &[(KEY, "k"), ("if-match", "\"9\"")],
    )
    .await;
    let invalid = app
        .post_with(&format!("{path}/items"), &line("p", 0, "1"), &key)
        .await;
    let malformed = app
        .send_raw(
            reqwest::Method::POST,
            &format!("{path}/items"),
            &[(KEY, "k"), ("content-type", "application/json")],
            "{",
        )
        .await;
    let taken = json!({"id": id(1), "customerId": "d"});
    let taken = app.post_with("/v1/orders", &taken, &key).await;
    let unknown = post_nothing(&app, &format!("/v1/orders/{UNKNOWN_ID}/cancel"), &key).await;
    let added = app
        .post_with(&format!("{path}/items"), &line("p", 1, "1"), &key)
        .await;

    assert_problem(&no_items, 409, "order_has_no_items");
    assert_problem(&stale, 412, "version_conflict");
    assert_invalid(&invalid, &[("#/quantity", "out_of_range")]);
    assert_problem(&malformed, 400, "malformed_json");
    assert_problem(&taken, 409, "order_already_exists");
    assert_problem(&unknown, 404, "order_not_found");
    assert_eq!(
        (added.status, added.header("idempotent-replayed")),
        (201, "")
    );
    app.stop().await;
}

#[tokio::test]
async fn one_pair_of_quotes_around_a_key_is_ignored() {
    let app = TestApp::start().await;
    let longest = "k".repeat(255);
    let body = json!({"customerId": "c"});
    let send = |key: String| {
        let (app, body) = (&app, &body);
        async move { app.post_with("/v1/orders", body, &[(KEY, &key)]).await }
    };

    let first = send("a b!~".to_owned()).await;
    let quoted = send("\"a b!~\"".to_owned()).await;
    let twice = send("\"\"a b!~\"\"".to_owned()).await;
    let long = send(format!("\"{longest}\"")).await;
    let quote = send("\"".to_owned()).await;

    assert_replays(&quoted, &first);
    assert_eq!(
        (twice.status, twice.header("idempotent-replayed")),
        (201, "")
    );
    assert_eq!((long.status, quote.status), (201, 201));
    for bad in [
        String::new(),
        "\"\"".to_owned(),
        "k".repeat(256),
        format!("\"{longest}k\""),
        "é".to_owned(),
        "a\tb".to_owned(),
    ] {
        assert_problem(&send(bad).await, 400, "invalid_header");
    }
    let repeated = app
        .post_with("/v1/orders", &body, &[(KEY, "a"), (KEY, "b")])
        .await;
    let problem = assert_problem(&repeated, 400, "invalid_header");
    assert_eq!(problem["errors"][0]["header"], "Idempotency-Key");
    app.stop().await;
}

#[tokio::test]
async fn a_key_whose_events_were_erased_does_not_repeat_its_command() {
    let app = TestApp::start().await;
    let body = json!({"customerId": "c", "items": [line("p", 1, "1")]});
    let first = app.post_with("/v1/orders", &body, &[(KEY, "k")]).await;
    app.wait_until_projected(first.id(), 1).await;
    let mut connection = app.database.acquire().await.expect("a connection");
    let erase = "set orders.allow_event_maintenance = on; delete from events;
                 delete from order_items; delete from order_views";
    sqlx::raw_sql(erase)
        .execute(&mut *connection)
        .await
        .expect("the rows are deleted");
    drop(connection);

    let again = app.post_with("/v1/orders", &body, &[(KEY, "k")]).await;

    assert_problem(&again, 500, "internal_error");
    let events: i64 = sqlx::query_scalar("select count(*) from events")
        .fetch_one(&app.database)
        .await
        .expect("a count");
    assert_eq!(events, 0, "nothing was created again");
    app.stop().await;
}
