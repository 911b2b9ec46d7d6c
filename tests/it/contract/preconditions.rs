//! `If-Match` and `expectedVersion`: commands that apply only to the version that the client has seen.

use futures::future::join_all;
use serde_json::{Value, json};

use super::{
    assert_fields, assert_invalid, assert_problem, delete, line, patch, place_one, post_nothing,
};
use crate::support::{TestApp, app::Answer};

#[track_caller]
fn assert_conflict(answer: &Answer, status: u16, expected: i32, current: i32) {
    let problem = assert_problem(answer, status, "version_conflict");
    assert_eq!(problem["expectedVersion"], expected);
    assert_eq!(problem["currentVersion"], current);
    assert_eq!(problem["currentStatus"], "created");
}

#[tokio::test]
async fn a_command_with_the_current_version_is_applied() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;
    let items = format!("{path}/items");

    let strong = app
        .post_with(&items, &line("p", 1, "1"), &[("if-match", "\"1\"")])
        .await;
    let weak = patch(
        &app,
        &item,
        &json!({"quantity": 7}),
        &[("if-match", "W/\"2\"")],
    )
    .await;
    let star = patch(&app, &item, &json!({"quantity": 8}), &[("if-match", "*")]).await;
    let body = json!({"quantity": 9, "expectedVersion": 4});
    let in_body = patch(&app, &item, &body, &[]).await;
    let body = json!({"quantity": 10, "expectedVersion": 5});
    let both = patch(&app, &item, &body, &[("if-match", "\"5\"")]).await;
    let star_and_body = json!({"quantity": 11, "expectedVersion": 6});
    let star_and_body = patch(&app, &item, &star_and_body, &[("if-match", "*")]).await;
    let removed = delete(&app, &item, &[("if-match", "\"7\"")]).await;
    let completed = app
        .post(&format!("{path}/complete"), &json!({"expectedVersion": 8}))
        .await;

    let versions = [
        strong,
        weak,
        star,
        in_body,
        both,
        star_and_body,
        removed,
        completed,
    ]
    .map(|answer| answer.header("etag").to_owned());
    assert_eq!(versions.join(" "), r#""2" "3" "4" "5" "6" "7" "8" "9""#);
    app.stop().await;
}

#[tokio::test]
async fn a_command_with_another_version_is_a_conflict() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;
    assert_eq!(
        patch(&app, &item, &json!({"quantity": 7}), &[])
            .await
            .header("etag"),
        "\"2\""
    );
    let (stale, cancel) = ([("if-match", "\"1\"")], format!("{path}/cancel"));

    assert_conflict(
        &patch(&app, &item, &json!({"quantity": 9}), &stale).await,
        412,
        1,
        2,
    );
    assert_conflict(&delete(&app, &item, &stale).await, 412, 1, 2);
    for (etag, expected) in [("\"1\"", 1), ("W/\"1\"", 1), ("\"3\"", 3), ("\"0\"", 0)] {
        let refused = post_nothing(&app, &cancel, &[("if-match", etag)]).await;
        assert_conflict(&refused, 412, expected, 2);
    }
    let body = json!({"expectedVersion": 1});
    assert_conflict(&app.post(&cancel, &body).await, 409, 1, 2);
    assert_conflict(
        &app.post_with(&cancel, &body, &[("if-match", "*")]).await,
        409,
        1,
        2,
    );
    assert_conflict(&app.post_with(&cancel, &body, &stale).await, 412, 1, 2);
    // The line has this quantity already, but the version is checked first.
    assert_conflict(
        &patch(&app, &item, &json!({"quantity": 7}), &stale).await,
        412,
        1,
        2,
    );
    let huge = [("if-match", "\"99999999999999999999\"")];
    assert_problem(
        &post_nothing(&app, &cancel, &huge).await,
        412,
        "version_conflict",
    );
    app.stop().await;
}

#[tokio::test]
async fn the_version_is_checked_before_the_status() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;
    assert_eq!(
        post_nothing(&app, &format!("{path}/complete"), &[])
            .await
            .status,
        200
    );

    let stale = delete(&app, &item, &[("if-match", "\"1\"")]).await;
    let stale_body = app
        .post(&format!("{path}/cancel"), &json!({"expectedVersion": 1}))
        .await;
    let current = delete(&app, &item, &[("if-match", "\"2\"")]).await;
    let gone = format!("{path}/items/{}", super::UNKNOWN_ID);
    let no_item = delete(&app, &gone, &[("if-match", "\"1\"")]).await;

    let problem = assert_problem(&stale, 412, "version_conflict");
    assert_eq!(problem["currentStatus"], "completed");
    assert_problem(&stale_body, 409, "version_conflict");
    assert_problem(&current, 409, "order_not_open");
    assert_problem(&no_item, 412, "version_conflict");
    app.stop().await;
}

#[tokio::test]
async fn if_match_without_a_valid_version_is_refused() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;

    for bad in [
        "1",
        "\"\"",
        "\"x\"",
        "\"-1\"",
        "\"01\"",
        "w/\"1\"",
        "\"1",
        "\"1\", \"2\"",
        "\"1.0\"",
        "",
        "**",
        "\"1\"x",
        "é",
        "*, \"1\"",
    ] {
        let refused = delete(&app, &item, &[("if-match", bad)]).await;
        assert_problem(&refused, 400, "invalid_header");
        assert_fields(&refused, &[("If-Match", "invalid")]);
    }
    let repeated = delete(&app, &item, &[("if-match", "\"1\""), ("if-match", "\"1\"")]).await;
    assert_problem(&repeated, 400, "invalid_header");
    let body = json!({"expectedVersion": 1});
    let unequal = app
        .post_with(&format!("{path}/cancel"), &body, &[("if-match", "\"2\"")])
        .await;
    assert_problem(&unequal, 400, "invalid_header");
    for value in ["\"1\"", "*", "x"] {
        let order = json!({"customerId": "c"});
        let create = app
            .post_with("/v1/orders", &order, &[("if-match", value)])
            .await;
        assert_problem(&create, 400, "invalid_header");
    }
    app.stop().await;
}

#[tokio::test]
async fn an_expected_version_in_a_body_is_a_whole_number_from_1() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;

    for (value, code) in [
        (json!(0), "out_of_range"),
        (json!(-1), "out_of_range"),
        (json!(2_147_483_648_u64), "out_of_range"),
        (json!(99_999_999_999_999_999_u64), "out_of_range"),
        (json!(2.5), "wrong_type"),
        (json!("2"), "wrong_type"),
        (json!(true), "wrong_type"),
        (json!([1]), "wrong_type"),
    ] {
        let body = json!({"quantity": 5, "expectedVersion": value});
        let refused = patch(&app, &item, &body, &[]).await;
        assert_invalid(&refused, &[("#/expectedVersion", code)]);
        let body = json!({"expectedVersion": body["expectedVersion"]});
        for command in ["complete", "cancel"] {
            let refused = app.post(&format!("{path}/{command}"), &body).await;
            assert_invalid(&refused, &[("#/expectedVersion", code)]);
        }
    }
    // Null counts as missing.
    let body = json!({"quantity": 5, "expectedVersion": Value::Null});
    assert_eq!(patch(&app, &item, &body, &[]).await.status, 200);
    app.stop().await;
}

#[tokio::test]
async fn of_many_concurrent_commands_with_one_version_exactly_one_is_applied() {
    let app = TestApp::start().await;
    let second = app.second().await;
    let (path, _) = place_one(&app).await;
    let (items, body) = (format!("{path}/items"), line("p", 1, "1"));

    let answers = join_all((0..20).map(|number| {
        let service = if number % 2 == 0 { &app } else { &second };
        service.post_with(&items, &body, &[("if-match", "\"1\"")])
    }))
    .await;

    let won = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(won, 1);
    for lost in answers.iter().filter(|answer| answer.status != 201) {
        assert_conflict(lost, 412, 1, 2);
    }
    second.stop().await;
    app.stop().await;
}

#[tokio::test]
async fn without_a_version_the_service_retries_lost_races() {
    let app = TestApp::start().await;
    let (path, _) = place_one(&app).await;
    let (items, body) = (format!("{path}/items"), line("p", 1, "1"));

    let answers = join_all((0..20).map(|_| app.post(&items, &body))).await;

    let mut versions: Vec<_> = answers
        .iter()
        .map(|answer| answer.json()["version"].as_i64())
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, (2..=21).map(Some).collect::<Vec<_>>());
    for answer in &answers {
        let count = answer.json()["itemCount"].as_i64();
        assert_eq!(count, answer.json()["version"].as_i64());
    }
    app.stop().await;
}
