//! One order: its current state and its past states.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    UNKNOWN_ID, assert_problem, block_projector, line, patch, place, place_one, post_nothing,
};
use crate::support::TestApp;

#[tokio::test]
async fn an_order_is_shown_with_its_version_and_may_be_cached_privately() {
    let app = TestApp::start().await;
    let (placed, path) = place(&app, json!([line("p", 2, "49.99")])).await;
    app.wait_until_caught_up().await;

    let shown = app.get(&path).await;
    let head = app.send(Method::HEAD, &path, &[], None).await;
    let upper_case = app
        .get(&path.to_uppercase().replace("/V1/ORDERS", "/v1/orders"))
        .await;

    assert_eq!((shown.status, shown.json()), (200, placed.json()));
    assert_eq!(shown.header("etag"), placed.header("etag"));
    assert_eq!(shown.header("cache-control"), "private, no-cache");
    assert_eq!(shown.header("content-type"), "application/json");
    assert!(shown.header("projection-position").parse::<u64>().is_ok());
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    for header in ["etag", "content-type", "content-length", "cache-control"] {
        assert_eq!(head.header(header), shown.header(header), "{header}");
    }
    assert_eq!(upper_case.text, shown.text);
    app.stop().await;
}

#[tokio::test]
async fn a_client_with_the_current_version_gets_304_without_a_body() {
    let app = TestApp::start().await;
    let (_, path) = place(&app, json!([])).await;
    app.wait_until_caught_up().await;

    for has in ["\"1\"", "W/\"1\"", "*", "\"7\", \"1\"", "\"x\",W/\"1\""] {
        let unchanged = app.get_with(&path, &[("if-none-match", has)]).await;
        assert_eq!(
            (unchanged.status, unchanged.text.as_str()),
            (304, ""),
            "{has}"
        );
        assert_eq!(unchanged.header("etag"), "\"1\"");
        assert_eq!(unchanged.header("cache-control"), "private, no-cache");
        assert_ne!(unchanged.header("x-request-id"), "");
        assert_ne!(unchanged.header("projection-position"), "");
        assert_eq!(unchanged.header("content-type"), "");
    }
    for has in ["\"0\"", "\"9\"", "1", "nonsense", ""] {
        let changed = app.get_with(&path, &[("if-none-match", has)]).await;
        assert_eq!(
            (changed.status, changed.header("etag")),
            (200, "\"1\""),
            "{has}"
        );
    }
    let past = app
        .get_with(&format!("{path}?version=1"), &[("if-none-match", "\"1\"")])
        .await;
    assert_eq!(past.status, 304);
    app.stop().await;
}

#[tokio::test]
async fn an_order_is_shown_as_it_was_at_each_version() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;
    let mut states = vec![];
    for quantity in 3..=6 {
        let changed = patch(&app, &item, &json!({"quantity": quantity}), &[]).await;
        states.push(changed.json());
    }
    states.push(
        post_nothing(&app, &format!("{path}/complete"), &[])
            .await
            .json(),
    );

    for mut state in states {
        let version = state["version"].as_i64().expect("a version");
        let past = app.get(&format!("{path}?version={version}")).await;
        assert_eq!(past.status, 200, "{}", past.text);
        assert_eq!(past.header("etag"), format!("\"{version}\""));
        state["allowedActions"] = json!([]);
        assert_eq!(past.json(), state);
        let at = state["updatedAt"].as_str().expect("a timestamp");
        let as_of = app.get(&format!("{path}?asOf={at}")).await;
        assert_eq!(as_of.json(), state);
        assert_eq!(as_of.header("etag"), past.header("etag"));
        assert_ne!(as_of.header("projection-position"), "");
    }
    let future = app.get(&format!("{path}?version=7")).await;
    assert_problem(&future, 404, "version_not_found");
    let unknown = app.get(&format!("/v1/orders/{UNKNOWN_ID}?version=1")).await;
    assert_problem(&unknown, 404, "order_not_found");
    app.stop().await;
}

#[tokio::test]
async fn as_of_shows_the_order_at_that_time() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;
    let changed = patch(&app, &item, &json!({"quantity": 7}), &[]).await;
    let created = changed.json()["createdAt"]
        .as_str()
        .expect("a timestamp")
        .to_owned();
    let with_offset = chrono::DateTime::parse_from_rfc3339(&created)
        .expect("a timestamp")
        .with_timezone(&chrono::FixedOffset::east_opt(3600).expect("an offset"))
        .to_rfc3339_opts(chrono::SecondsFormat::Micros, false);
    let version_at = async |instant: &str| {
        let answer = app.get(&format!("{path}?asOf={instant}")).await;
        (answer.status, answer.json()["version"].clone())
    };

    let before = app.get(&format!("{path}?asOf=2001-01-01T00:00:00Z")).await;
    let unknown = app
        .get(&format!(
            "/v1/orders/{UNKNOWN_ID}?asOf=2001-01-01T00:00:00Z"
        ))
        .await;

    assert_problem(&before, 404, "version_not_found");
    assert_problem(&unknown, 404, "order_not_found");
    assert_eq!(version_at(&created).await, (200, json!(1)));
    // A plus sign is a plus sign, percent-encoded or not.
    assert_eq!(version_at(&with_offset).await, (200, json!(1)));
    assert_eq!(
        version_at(&with_offset.replace('+', "%2B")).await,
        (200, json!(1))
    );
    assert_eq!(version_at("2999-01-01T00:00:00Z").await, (200, json!(2)));
    assert_eq!(
        version_at("9999-12-31T23:59:59.999999999Z").await,
        (200, json!(2))
    );
    assert_eq!(version_at("2999-06-30T23:59:60Z").await, (200, json!(2)));
    assert_eq!(version_at("0000-01-01T00:00:00Z").await, (404, Value::Null));
    let now = app.get(&format!("{path}?asOf=2999-01-01T00:00:00Z")).await;
    assert_eq!(now.json()["allowedActions"], json!([]));
    app.stop().await;
}

#[tokio::test]
async fn a_read_is_never_older_than_its_min_version() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;
    app.wait_until_caught_up().await;
    // The read model stays at version 1.
    let blocker = block_projector(&app).await;
    let changed = patch(&app, &item, &json!({"quantity": 7}), &[]).await;

    let behind = app.get(&path).await;
    let at_least = app.get(&format!("{path}?minVersion=2")).await;
    let too_new = app.get(&format!("{path}?minVersion=3")).await;
    let seen = app.get_with(&path, &[("if-none-match", "\"2\"")]).await;
    let (unprojected, _) = place_one(&app).await;
    let found = app.get(&format!("{unprojected}?minVersion=1")).await;
    blocker.rollback().await.expect("the projector continues");

    assert_eq!(behind.header("etag"), "\"1\"");
    assert_eq!(
        (at_least.header("etag"), at_least.json()),
        ("\"2\"", changed.json())
    );
    assert_eq!(at_least.header("cache-control"), "private, no-cache");
    assert_problem(&too_new, 404, "version_not_found");
    assert_eq!((seen.status, seen.header("etag")), (304, "\"2\""));
    assert_eq!((found.status, found.header("etag")), (200, "\"1\""));
    let unknown = app
        .get(&format!("/v1/orders/{UNKNOWN_ID}?minVersion=1"))
        .await;
    assert_problem(&unknown, 404, "order_not_found");
    app.stop().await;
}
