//! Clients that send nothing, or a little at a time, and too many of them.

use std::time::Duration;

use orders::http::request::shares::Limits;

use super::client::RawClient;
use crate::support::{TestApp, eventually};

const LIVE: &str = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LIST: &str = "GET /v1/orders HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn with_short_limits() -> TestApp {
    TestApp::start_with(|config| {
        let time = &mut config.http.limits.time;
        time.head = Duration::from_millis(300);
        time.idle = Duration::from_secs(4);
    })
    .await
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let app = with_short_limits().await;
    let mut client = RawClient::connect(&app).await;

    assert!(client.is_closed_within(Duration::from_secs(5)).await);
    app.stop().await;
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_off_however_often_a_byte_comes() {
    let app = with_short_limits().await;
    let mut client = RawClient::connect(&app).await;

    let is_cut_off = async {
        for byte in LIST.bytes().cycle().filter(|byte| *byte != b'\n') {
            if !client.try_send([byte]).await
                || client.is_closed_within(Duration::from_millis(20)).await
            {
                return true;
            }
        }
        false
    };
    let cut_off = tokio::time::timeout(Duration::from_secs(5), is_cut_off).await;

    assert!(cut_off.is_ok_and(|is_cut_off| is_cut_off));
    app.stop().await;
}

#[tokio::test]
async fn an_idle_connection_has_longer_than_a_head_and_is_closed_then() {
    let app = with_short_limits().await;
    let mut client = RawClient::connect(&app).await;

    client.send(LIVE).await;
    assert_eq!(client.answer().await.status, 200);
    // Longer than a head may take.
    assert!(!client.is_closed_within(Duration::from_millis(500)).await);
    client.send(LIVE).await;
    assert_eq!(client.answer().await.status, 200);

    assert!(client.is_closed_within(Duration::from_secs(15)).await);
    app.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_cut_off() {
    let app = TestApp::start_with(|config| {
        config.http.limits.time.write = Duration::from_millis(300);
    })
    .await;
    let mut client = RawClient::connect(&app).await;

    // Answers of more bytes than the buffers of both sides hold.
    let requests = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(400);
    client.send(requests).await;

    let client = tokio::sync::Mutex::new(client);
    eventually("the service cuts the connection", || async {
        (!client.lock().await.try_send("x").await).then_some(())
    })
    .await;
    app.stop().await;
}

#[tokio::test]
async fn too_many_connections_are_told_so_and_health_still_answers() {
    let app = TestApp::start_with(|config| {
        config.http.limits.connections = Limits {
            total: 4,
            per_address: 4,
        };
    })
    .await;
    let mut kept = vec![];
    for _ in 0..4 {
        let mut client = RawClient::connect(&app).await;
        client.send(LIVE).await;
        assert_eq!(client.answer().await.status, 200);
        kept.push(client);
    }

    let mut further = RawClient::connect(&app).await;
    further.send(LIST).await;
    let refused = further.answer().await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "overloaded")
    );
    assert!(further.is_closed_within(Duration::from_secs(5)).await);
    let mut probe = RawClient::connect(&app).await;
    probe.send(LIVE).await;
    assert_eq!(probe.answer().await.status, 200);

    kept.clear();
    eventually("there is room again", || async {
        let mut client = RawClient::connect(&app).await;
        client.send(LIST).await;
        (client.answer().await.status == 200).then_some(())
    })
    .await;
    app.stop().await;
}
