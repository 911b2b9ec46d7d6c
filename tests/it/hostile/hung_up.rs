//! Commands whose clients hang up, or keep the others waiting.

use std::time::Duration;

use orders::http::request::shares::Limits;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::client::RawClient;
use crate::support::{TestApp, app::Answer, eventually};

/// How long the service may take to notice that a client has hung up.
const SOON: Duration = Duration::from_secs(5);

/// The header that names a client, where a proxy is trusted.
const CLIENT: &str = "x-forwarded-for";

async fn create(app: &TestApp) -> Uuid {
    let created = app.post("/v1/orders", &json!({"customerId": "c"})).await;
    assert_eq!(created.status, 201, "{}", created.text);
    created.id()
}

fn item(product: &str) -> Value {
    json!({"productId": product, "quantity": 1, "price": "1"})
}

async fn add_item(app: &TestApp, order: Uuid, product: &str) -> Answer {
    app.post(&format!("/v1/orders/{order}/items"), &item(product))
        .await
}

/// Sends a command on a connection of its own, and does not wait for the answer.
async fn send_item(app: &TestApp, order: Uuid, product: &str) -> RawClient {
    let mut client = RawClient::connect(app).await;
    let body = item(product).to_string();
    let length = body.len();
    client
        .send(format!(
            "POST /v1/orders/{order}/items HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await;
    client
}

/// The products of an order's items.
fn products(answer: &Answer) -> Vec<String> {
    let items = answer.json()["items"].as_array().expect("items").clone();
    let product = |item: &Value| item["productId"].as_str().expect("text").to_owned();
    items.iter().map(product).collect()
}

fn assert_overloaded(answer: &Answer) {
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (503, "overloaded"),
        "{}",
        answer.text
    );
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn a_command_whose_client_hangs_up_while_it_waits_is_given_up() {
    let app = TestApp::start().await;
    let order = create(&app).await;
    let blocker = app.block_appends().await;
    let mut running = send_item(&app, order, "first").await;
    app.wait_for_a_blocked_append().await;

    let mut waiting = vec![];
    for _ in 0..32 {
        waiting.push(send_item(&app, order, "given-up").await);
    }
    for client in &mut waiting {
        client.hang_up().await;
    }
    for client in &mut waiting {
        assert!(client.is_closed_within(SOON).await);
    }
    blocker.rollback().await.expect("appends continue");

    assert_eq!(running.answer().await.status, 201);
    // A command that still waited would run before this one.
    let last = add_item(&app, order, "last").await;
    assert_eq!(products(&last), ["first", "last"]);
    app.stop().await;
}

#[tokio::test]
async fn a_command_that_waits_too_long_for_its_order_is_not_applied() {
    let app =
        TestApp::start_with(|config| config.http.request_timeout = Duration::from_secs(2)).await;
    let order = create(&app).await;
    let blocker = app.block_appends().await;
    let mut running = send_item(&app, order, "first").await;
    app.wait_for_a_blocked_append().await;

    let refused = add_item(&app, order, "refused").await;

    assert_overloaded(&refused);
    blocker.rollback().await.expect("appends continue");
    // On a slow machine the first one may be too late by now, but it is applied.
    running.answer().await;
    let last = add_item(&app, order, "last").await;
    assert_eq!(products(&last), ["first", "last"]);
    app.stop().await;
}

#[tokio::test]
async fn hung_up_commands_on_many_orders_run_up_to_a_limit_that_leaves_room_for_others() {
    let app = TestApp::start_with(|config| {
        config.http.trusted_proxy_hops = 1;
        config.http.work.commands = Limits {
            total: 4,
            per_address: 3,
        };
    })
    .await;
    let blocker = app.block_appends().await;
    let order = json!({"customerId": "c"});

    let hostile = [(CLIENT, "198.51.100.1")];
    let refused = eventually("a refusal", || async {
        let sent = app.post_with("/v1/orders", &order, &hostile);
        tokio::time::timeout(Duration::from_millis(200), sent)
            .await
            .ok()
    })
    .await;
    let neighbour = [(CLIENT, "198.51.100.2")];
    let release = async {
        app.wait_for_a_blocked_append().await;
        blocker.rollback().await.expect("appends continue");
    };
    let (answered, ()) = futures::join!(app.post_with("/v1/orders", &order, &neighbour), release);

    assert_overloaded(&refused);
    assert_eq!(answered.status, 201);
    eventually("there is room again", || async {
        let answer = app.post_with("/v1/orders", &order, &hostile).await;
        (answer.status == 201).then_some(())
    })
    .await;
    app.wait_until_caught_up().await;
    let listed = app.get("/v1/orders?includeTotal=true").await;
    let of_both = json!(3 + 1 + 1);
    assert_eq!(listed.json()["totalCount"], of_both, "three were let in");
    app.stop().await;
}

#[tokio::test]
async fn bodies_that_stop_half_way_take_their_senders_share_only() {
    let app = TestApp::start_with(|config| {
        config.http.trusted_proxy_hops = 1;
        config.http.work.body_bytes = Limits {
            total: 100_000,
            per_address: 75_000,
        };
    })
    .await;
    let padded = |bytes: usize| format!("{{\"customerId\": \"c\"}}{}", " ".repeat(bytes));
    let post = async |client: &str, bytes: usize| {
        let headers = [(CLIENT, client), ("content-type", "application/json")];
        app.send_raw(Method::POST, "/v1/orders", &headers, padded(bytes))
            .await
    };

    let mut hostile = RawClient::connect(&app).await;
    hostile
        .send(format!(
            "POST /v1/orders HTTP/1.1\r\nHost: localhost\r\n{CLIENT}: 198.51.100.1\r\n\
             Content-Type: application/json\r\nContent-Length: 80000\r\n\r\n{}",
            padded(70_000)
        ))
        .await;
    let refused = eventually("a refusal", || async {
        let answer = post("198.51.100.1", 10_000).await;
        (answer.status != 201).then_some(answer)
    })
    .await;

    assert_overloaded(&refused);
    assert_eq!(post("198.51.100.2", 10_000).await.status, 201);
    drop(hostile);
    eventually("there is room again", || async {
        let answer = post("198.51.100.1", 70_000).await;
        (answer.status == 201).then_some(())
    })
    .await;
    app.stop().await;
}

#[tokio::test]
async fn a_storm_of_hung_up_commands_leaves_other_orders_alone() {
    let app = TestApp::start().await;
    let (hot, other) = (create(&app).await, create(&app).await);

    let app = std::sync::Arc::new(app);
    let mut storm = JoinSet::new();
    for _ in 0..16 {
        let app = std::sync::Arc::clone(&app);
        storm.spawn(async move {
            for _ in 0..100 {
                drop(send_item(&app, hot, "hung-up").await);
            }
        });
    }
    for number in 0..20 {
        let added = add_item(&app, other, &number.to_string()).await;
        assert_eq!(added.status, 201, "{}", added.text);
    }
    storm.join_all().await;

    let last = add_item(&app, hot, "last").await;
    assert_eq!(products(&last).last().map(String::as_str), Some("last"));
    let app = std::sync::Arc::into_inner(app).expect("the storm is over");
    let took = app.stop().await;
    assert!(took < SOON, "nothing is left to do: {took:?}");
}
