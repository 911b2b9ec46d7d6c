//! What a browser sends for a page of another site.

use reqwest::Method;
use serde_json::json;

use crate::support::TestApp;

#[tokio::test]
async fn a_name_that_was_rebound_to_this_machine_is_misdirected() {
    let app = TestApp::start().await;

    for host in ["evil.example", "localhost.evil.example:8080"] {
        let answer = app.get_with("/v1/orders", &[("host", host)]).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (421, "misdirected_request")
        );
    }
    for host in [
        "localhost",
        "127.0.0.1:1",
        "[::1]",
        "shop.example",
        "SHOP.example:443",
    ] {
        let answer = app.get_with("/v1/orders", &[("host", host)]).await;
        assert_eq!(answer.status, 200, "{host}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_form_on_another_site_cancels_no_order() {
    let app = TestApp::start().await;
    let order = app
        .post("/v1/orders", &json!({"customerId": "customer-1"}))
        .await;
    let cancel = format!("/v1/orders/{}/cancel", order.id());

    let foreign: [&[(&str, &str)]; 4] = [
        &[
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://evil.example"),
        ],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
    ];
    for headers in foreign {
        let answer = app.send(Method::POST, &cancel, headers, None).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "cross_site_request")
        );
    }
    let read = app
        .get_with("/v1/orders", &[("sec-fetch-site", "cross-site")])
        .await;
    assert_eq!(read.status, 200, "reads are a matter of CORS");

    let listed = [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://shop.example"),
    ];
    let answer = app.send(Method::POST, &cancel, &listed, None).await;
    assert_eq!(
        answer.status, 200,
        "an origin of ORDERS_CORS_ORIGINS may write"
    );
    app.stop().await;
}

#[tokio::test]
async fn a_page_of_the_service_itself_may_write() {
    let app = TestApp::start().await;

    let own = app.url.as_str();
    for headers in [&[("sec-fetch-site", "same-origin")], &[("origin", own)]] {
        let order = json!({"customerId": "customer-1"});
        assert_eq!(
            app.post_with("/v1/orders", &order, headers).await.status,
            201
        );
    }
    app.stop().await;
}
