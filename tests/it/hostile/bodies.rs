//! Answers that come before a request's body was read.

use std::time::Duration;

use serde_json::json;

use super::client::RawClient;
use crate::support::TestApp;

const BODY: &str = r#"{"customerId": "customer-1"}"#;

fn head(method: &str, path: &str, length: usize) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn an_early_answer_leaves_the_connection_usable() {
    let app = TestApp::start().await;
    let mut client = RawClient::connect(&app).await;

    let early = [
        ("POST", "/nowhere", 404),
        ("PUT", "/v1/orders", 405),
        ("POST", "/v1/orders/no-uuid/items", 400),
        ("POST", "/v1/orders?unknown=1", 400),
    ];
    for (method, path, status) in early {
        // Head and body come in two packets.
        client.send(head(method, path, BODY.len())).await;
        client.send(BODY).await;
        assert_eq!(client.answer().await.status, status, "{method} {path}");
    }

    client.send(head("POST", "/v1/orders", BODY.len())).await;
    client.send(BODY).await;
    assert_eq!(client.answer().await.status, 201, "the same connection");
    app.stop().await;
}

#[tokio::test]
async fn a_body_that_never_comes_delays_an_early_answer_by_a_second_only() {
    let app = TestApp::start().await;
    let mut client = RawClient::connect(&app).await;

    client.send(head("POST", "/nowhere", 100)).await;

    assert_eq!(client.answer().await.status, 404);
    assert!(client.is_closed_within(Duration::from_secs(5)).await);
    app.stop().await;
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_a_body_is_refused_without_it() {
    let app = TestApp::start().await;
    let mut client = RawClient::connect(&app).await;

    let head =
        head("POST", "/nowhere", 100).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    client.send(head).await;

    assert_eq!(
        client.answer().await.status,
        404,
        "no 100 Continue before it"
    );
    app.stop().await;
}

#[tokio::test]
async fn a_body_that_stops_half_way_ends_its_request_and_changes_nothing() {
    let app = TestApp::start_with(|config| {
        config.http.limits.time.body = Duration::from_millis(200);
    })
    .await;
    let mut client = RawClient::connect(&app).await;

    client.send(head("POST", "/v1/orders", BODY.len())).await;
    client.send(&BODY[..10]).await;

    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "malformed_json")
    );
    assert!(client.is_closed_within(Duration::from_secs(5)).await);
    let listed = app.get("/v1/orders").await.json();
    assert_eq!(listed["items"], json!([]));
    app.stop().await;
}
