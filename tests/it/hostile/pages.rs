//! The pages of the documentation, in a browser.

use reqwest::{Method, redirect::Policy};
use serde_json::json;

use super::client::RawClient;
use crate::support::TestApp;

#[tokio::test]
async fn the_documentation_runs_only_what_comes_from_this_service_and_is_never_framed() {
    let app = TestApp::start().await;

    for path in [
        "/docs/",
        "/docs/swagger-initializer.js",
        "/docs/swagger-ui.css",
        "/openapi.json",
    ] {
        let page = app.get(path).await;

        assert_eq!(page.status, 200, "{path}");
        let policy = page.header("content-security-policy");
        assert!(!policy.contains("script-src 'self' "), "{policy}");
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
        ] {
            let is_there = policy.split(';').any(|part| part.trim() == rule);
            assert!(is_there, "{rule}: {policy}");
        }
        assert_eq!(page.header("x-frame-options"), "DENY");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
    }
    app.stop().await;
}

#[tokio::test]
async fn no_answer_is_sniffed_for_another_type() {
    let app = TestApp::start().await;
    let placed = app
        .post("/v1/orders", &json!({"customerId": "<script>"}))
        .await;

    let answers = [
        placed,
        app.get("/docs/").await,
        app.get("/metrics").await,
        app.get("/health/live").await,
        app.get("/nowhere").await,
    ];
    for answer in &answers {
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    let mut client = RawClient::connect(&app).await;
    client.send("nonsense\r\n\r\n").await;
    let head = client.answer().await.head;
    assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    app.stop().await;
}

#[tokio::test]
async fn the_root_leads_to_the_documentation() {
    let app = TestApp::start().await;
    let client = reqwest::Client::builder()
        .redirect(Policy::none())
        .build()
        .expect("a client");

    let root = client.get(&app.url).send().await.expect("an answer");
    let posted = app.send(Method::POST, "/", &[], None).await;

    assert_eq!(
        (root.status(), posted.status),
        (303.try_into().expect("a status"), 405)
    );
    assert_eq!(root.headers()["location"], "/docs/");
    let page = app.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    app.stop().await;
}
