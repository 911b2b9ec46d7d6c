//! CORS: pages of configured origins may call the service and read the contract's headers; pages of
//! other origins may not.

use reqwest::Method;
use serde_json::json;

use super::{UNKNOWN_ID, place};
use crate::support::{TestApp, app::Answer};

const ORIGIN: (&str, &str) = ("origin", "https://shop.example");

fn exposed(answer: &Answer) -> Vec<String> {
    let mut names: Vec<_> = answer
        .header("access-control-expose-headers")
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn every_answer_exposes_the_headers_of_the_contract() {
    let app = TestApp::start().await;
    let (placed, path) = place(&app, json!([])).await;
    app.wait_until_caught_up().await;
    assert_eq!(placed.header("access-control-allow-origin"), "");

    let answers = [
        app.get_with(&path, &[ORIGIN]).await,
        app.get_with(&path, &[ORIGIN, ("if-none-match", "\"1\"")])
            .await,
        app.get_with(&format!("/v1/orders/{UNKNOWN_ID}"), &[ORIGIN])
            .await,
        app.get_with("/v1/orders/x", &[ORIGIN]).await,
        app.get_with("/nowhere", &[ORIGIN]).await,
        app.send(Method::DELETE, "/v1/orders", &[ORIGIN], None)
            .await,
        app.get_with("/v1/orders", &[ORIGIN, ("accept", "text/html")])
            .await,
        app.post_with("/v1/orders", &json!({}), &[ORIGIN]).await,
        app.post_with("/v1/orders", &json!({"customerId": "c"}), &[ORIGIN])
            .await,
    ];

    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 304, 404, 400, 404, 405, 406, 422, 201]);
    for answer in &answers {
        assert_eq!(answer.header("access-control-allow-origin"), ORIGIN.1);
        assert!(
            answer
                .header("vary")
                .to_ascii_lowercase()
                .contains("origin")
        );
        let expected = [
            "allow",
            "consistency-token",
            "etag",
            "idempotent-replayed",
            "link",
            "location",
            "order-parked",
            "preference-applied",
            "projection-position",
            "retry-after",
            "www-authenticate",
            "x-request-id",
        ];
        assert_eq!(exposed(answer), expected);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_preflight_allows_every_method_and_header_of_the_contract() {
    let app = TestApp::start().await;

    for method in ["GET", "POST", "PATCH", "DELETE"] {
        let asked = [
            ORIGIN,
            ("access-control-request-method", method),
            (
                "access-control-request-headers",
                "content-type,idempotency-key,if-match,if-none-match,consistency-token,prefer,\
                 x-request-id,traceparent,tracestate,baggage,authorization,last-event-id",
            ),
        ];
        let preflight = app.send(Method::OPTIONS, "/v1/orders", &asked, None).await;
        assert!(
            [200, 204].contains(&preflight.status),
            "{}",
            preflight.status
        );
        assert_eq!(preflight.header("access-control-allow-origin"), ORIGIN.1);
        assert!(
            preflight
                .header("access-control-allow-methods")
                .contains(method)
        );
        let allowed = preflight
            .header("access-control-allow-headers")
            .to_ascii_lowercase();
        for header in asked[2].1.split(',') {
            assert!(allowed.contains(header), "{header} is not in {allowed}");
        }
        assert_ne!(preflight.header("x-request-id"), "");
    }
    app.stop().await;
}

#[tokio::test]
async fn other_origins_are_not_allowed() {
    let app = TestApp::start().await;

    for origin in [
        "https://evil.example",
        "null",
        "https://shop.example.evil.example",
    ] {
        let listed = app.get_with("/v1/orders", &[("origin", origin)]).await;
        assert_eq!(listed.status, 200);
        assert_eq!(listed.header("access-control-allow-origin"), "");
        let asked = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
        ];
        let preflight = app.send(Method::OPTIONS, "/v1/orders", &asked, None).await;
        assert_eq!(preflight.header("access-control-allow-origin"), "");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_star_allows_every_origin() {
    let app = TestApp::start_with(|config| config.http.cors_origins = vec!["*".to_owned()]).await;

    let listed = app
        .get_with("/v1/orders", &[("origin", "https://any.example")])
        .await;

    assert_eq!(listed.header("access-control-allow-origin"), "*");
    app.stop().await;
}

#[tokio::test]
async fn without_configured_origins_the_method_options_is_refused() {
    let app = TestApp::start_with(|config| config.http.cors_origins = vec![]).await;

    let asked = [ORIGIN, ("access-control-request-method", "POST")];
    let options = app.send(Method::OPTIONS, "/v1/orders", &asked, None).await;
    let listed = app.get_with("/v1/orders", &[ORIGIN]).await;

    super::assert_problem(&options, 405, "method_not_allowed");
    assert_eq!(listed.header("access-control-allow-origin"), "");
    app.stop().await;
}
