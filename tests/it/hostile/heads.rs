//! Request heads that are too large, or cannot be read.

use super::client::RawClient;
use crate::support::TestApp;

/// Sends one request on a connection of its own.
async fn refused(app: &TestApp, request: &str) -> (u16, String, String) {
    let mut client = RawClient::connect(app).await;
    client.send(request).await;
    let answer = client.answer().await;
    let (code, head) = (answer.code(), answer.head.to_ascii_lowercase());
    (answer.status, code, head)
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_answered_with_a_problem_document() {
    let app = TestApp::start().await;

    let cases = [
        ("nonsense\r\n\r\n".to_owned(), 400, "invalid_header"),
        (
            "GET / HTTP/1.1\r\nHost localhost\r\n\r\n".to_owned(),
            400,
            "invalid_header",
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n",
                "x".repeat(70 << 10)
            ),
            431,
            "headers_too_large",
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
                "X-Many: 1\r\n".repeat(200)
            ),
            431,
            "headers_too_large",
        ),
        (
            format!(
                "GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
                "x".repeat(20 << 10)
            ),
            414,
            "uri_too_long",
        ),
        (
            "GET /health/live HTTP/1.1\r\n\r\n".to_owned(),
            400,
            "invalid_header",
        ),
        (
            "GET /health/live HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n".to_owned(),
            400,
            "invalid_header",
        ),
    ];
    for (request, status, code) in cases {
        let start: String = request.chars().take(60).collect();

        let (answered, problem, head) = refused(&app, &request).await;

        assert_eq!((answered, problem.as_str()), (status, code), "{start}");
        assert!(
            head.contains("content-type: application/problem+json"),
            "{head}"
        );
        assert!(head.contains("x-request-id: "), "{head}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_head_just_below_the_limits_is_served() {
    let app = TestApp::start().await;
    let mut client = RawClient::connect(&app).await;

    let long = "x".repeat(60 << 10);
    client
        .send(format!(
            "GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Long: {long}\r\n\r\n"
        ))
        .await;

    assert_eq!(client.answer().await.status, 200);
    app.stop().await;
}
