//! Consistent reads: tokens, waiting, and the position that a read reports.

use std::time::Instant;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::{UNKNOWN_ID, assert_problem, block_projector, line, patch, place, place_one};
use crate::support::{TestApp, app::Answer};

fn position(answer: &Answer) -> i64 {
    answer
        .header("projection-position")
        .parse()
        .expect("a position")
}

#[tokio::test]
async fn a_read_with_the_token_of_a_write_holds_that_write() {
    let app = TestApp::start().await;
    let second = app.second().await;
    let (path, item) = place_one(&app).await;

    for quantity in 3..=20 {
        let changed = patch(&app, &item, &json!({"quantity": quantity}), &[]).await;
        let with = [("consistency-token", changed.header("consistency-token"))];

        let (shown, elsewhere, listed) = futures::join!(
            app.get_with(&path, &with),
            second.get_with(&path, &with),
            second.get_with("/v1/orders?view=full", &with),
        );

        assert_eq!(shown.json(), changed.json());
        assert_eq!(elsewhere.json(), changed.json());
        assert_eq!(listed.json()["items"][0], changed.json());
        assert_eq!(shown.header("etag"), changed.header("etag"));
    }
    second.stop().await;
    app.stop().await;
}

#[tokio::test]
async fn every_read_reports_its_position_which_never_goes_back() {
    let app = TestApp::start().await;
    let (placed, path) = place(&app, json!([line("p", 1, "1")])).await;
    let with = [("consistency-token", placed.header("consistency-token"))];
    let first = position(&app.get_with(&path, &with).await);

    let reads = [
        app.get(&path).await,
        app.get_with(&path, &[("if-none-match", "\"1\"")]).await,
        app.get("/v1/orders").await,
        app.get(&format!("{path}?version=1")).await,
        app.get(&format!("{path}?minVersion=1")).await,
        app.get(&format!("{path}/events")).await,
        app.get(&format!("/v1/orders/{UNKNOWN_ID}")).await,
        app.get(&format!("/v1/orders/{UNKNOWN_ID}/events")).await,
        app.get(&format!("{path}?version=9")).await,
        app.get(&format!("{path}?minVersion=9")).await,
    ];

    for read in &reads {
        assert!(position(read) >= first, "{}", read.text);
        assert_eq!(read.header("preference-applied"), "");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_read_whose_wait_has_ended_is_told_that_the_read_model_is_behind() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;
    app.wait_until_caught_up().await;
    let blocker = block_projector(&app).await;
    let changed = patch(&app, &item, &json!({"quantity": 7}), &[]).await;
    let token = changed.header("consistency-token");

    for path in [
        path.as_str(),
        "/v1/orders",
        &format!("{path}/events"),
        &format!("{path}?version=1"),
    ] {
        let started = Instant::now();
        let with = [("consistency-token", token), ("prefer", "wait=0")];
        let behind = app.get_with(path, &with).await;
        assert_problem(&behind, 503, "read_model_behind");
        assert!(started.elapsed().as_millis() < 1000);
    }
    let started = Instant::now();
    let behind = app.get_with(&path, &[("consistency-token", token)]).await;
    assert_problem(&behind, 503, "read_model_behind");
    let waited = started.elapsed().as_millis();
    assert!((1900..5000).contains(&waited), "{waited} ms");
    blocker.rollback().await.expect("the projector continues");
    app.stop().await;
}

#[tokio::test]
async fn a_wait_ends_as_soon_as_the_write_is_projected() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;
    app.wait_until_caught_up().await;
    let blocker = block_projector(&app).await;
    let changed = patch(&app, &item, &json!({"quantity": 7}), &[]).await;
    let token = changed.header("consistency-token");

    let at_once = app
        .get_with(&path, &[("consistency-token", token), ("prefer", "wait=0")])
        .await;
    let without = app.get_with(&path, &[("prefer", "wait=10")]).await;
    let with = [("consistency-token", token), ("prefer", "wait=10")];
    let (shown, ()) = futures::join!(app.get_with(&path, &with), async {
        blocker.rollback().await.expect("the projector continues");
    });

    assert_problem(&at_once, 503, "read_model_behind");
    assert_eq!((without.status, without.header("etag")), (200, "\"1\""));
    assert_eq!((shown.status, shown.json()), (200, changed.json()));
    assert_eq!(shown.header("preference-applied"), "wait=10");
    app.stop().await;
}

#[tokio::test]
async fn the_applied_wait_is_echoed_and_is_at_most_ten_seconds() {
    let app = TestApp::start().await;
    let (_, path) = place(&app, json!([])).await;
    app.wait_until_caught_up().await;

    for (asked, applied) in [
        ("wait=5", "wait=5"),
        ("wait=0", "wait=0"),
        ("wait=10", "wait=10"),
        ("wait=11", "wait=10"),
        ("wait=99999999999999999999999", "wait=10"),
        ("respond-async, wait=3", "wait=3"),
        ("Wait = 4", "wait=4"),
        ("wait=\"6\"", "wait=6"),
        ("return=minimal", ""),
        ("wait=-1", ""),
        ("wait=1.5", ""),
        ("wait=x", ""),
        ("wait", ""),
        ("", ""),
    ] {
        for path in [path.as_str(), "/v1/orders", &format!("{path}/events")] {
            let read = app.get_with(path, &[("prefer", asked)]).await;
            assert_eq!(
                (read.status, read.header("preference-applied")),
                (200, applied),
                "{asked}"
            );
        }
        let unchanged = app
            .get_with(&path, &[("prefer", asked), ("if-none-match", "\"1\"")])
            .await;
        assert_eq!(
            (unchanged.status, unchanged.header("preference-applied")),
            (304, applied)
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn a_token_that_cannot_be_read_is_refused() {
    let app = TestApp::start().await;
    let (placed, path) = place(&app, json!([])).await;
    let token = placed.header("consistency-token");

    for bad in [
        "",
        "nonsense",
        "MTIz",
        "cC0x",
        "é",
        &format!("{token}="),
        &format!("{token},{token}"),
        "\"p1\"",
        &URL_SAFE_NO_PAD.encode("p99999999999999999999"),
        &"A".repeat(5000),
    ] {
        for path in [
            path.as_str(),
            "/v1/orders",
            &format!("{path}/events"),
            &format!("{path}?version=1"),
        ] {
            let refused = app.get_with(path, &[("consistency-token", bad)]).await;
            let problem = assert_problem(&refused, 400, "invalid_header");
            assert_eq!(problem["errors"][0]["header"], "Consistency-Token");
        }
    }
    app.stop().await;
}
