//! Too many live streams, streams that come back from far behind, and clients that do not read them.

use std::time::Duration;

use futures::future::join_all;
use orders::http::{orders::sse::READERS, request::shares::Limits};
use reqwest::{Method, Response};
use serde_json::json;
use sqlx::AssertSqlSafe;
use tokio::task::JoinSet;

use super::client::RawClient;
use crate::support::{EventSource, TestApp, app::Answer, eventually};

const STREAM: &str = "/v1/orders/stream";

/// The header that names a client, where a proxy is trusted.
const CLIENT: &str = "x-forwarded-for";

/// How long a stream that has ended may take to reach a client that reads.
const SOON: Duration = Duration::from_secs(5);

const ONE: &str = "198.51.100.1";
const OTHER: &str = "198.51.100.2";

async fn open(app: &TestApp, client: &str, last_event_id: &str) -> Response {
    let request = app
        .request(Method::GET, STREAM)
        .header(CLIENT, client)
        .header("last-event-id", last_event_id);
    request.send().await.expect("the service answers")
}

#[tokio::test]
async fn streams_are_limited_in_all_and_for_one_address() {
    let app = TestApp::start_with(|config| {
        config.http.trusted_proxy_hops = 1;
        config.http.work.streams = Limits {
            total: 3,
            per_address: 2,
        };
    })
    .await;

    let mut kept = vec![];
    for (client, status) in [(ONE, 200), (ONE, 200), (ONE, 503), (OTHER, 200)] {
        let answer = open(&app, client, "0").await;
        assert_eq!(answer.status(), status, "{client}");
        kept.push(answer);
    }
    let refused = Answer::of(open(&app, OTHER, "0").await).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "overloaded")
    );
    assert_eq!(refused.header("retry-after"), "1");

    drop(kept);
    eventually("there is room again", || async {
        (open(&app, OTHER, "0").await.status() == 200).then_some(())
    })
    .await;
    app.stop().await;
}

#[tokio::test]
async fn streams_leave_half_of_the_connections_to_requests() {
    let app = TestApp::start_with(|config| {
        config.http.limits.connections = Limits {
            total: 8,
            per_address: 8,
        };
    })
    .await;

    let mut kept = vec![];
    for status in [200, 200, 200, 503] {
        let answer = open(&app, ONE, "0").await;
        assert_eq!(answer.status(), status, "one address gets three of four");
        kept.push(answer);
    }
    drop(kept);
    app.stop().await;
}

#[tokio::test]
async fn streams_that_open_at_once_take_one_connection_from_the_reads() {
    let app = TestApp::start().await;
    let mut blocker = app.database.begin().await.expect("PostgreSQL answers");
    sqlx::query("lock table projection_checkpoint in access exclusive mode")
        .execute(&mut *blocker)
        .await
        .expect("the read model's position cannot be read");

    let mut streams = vec![];
    for _ in 0..32 {
        let mut client = RawClient::connect(&app).await;
        let head = format!("GET {STREAM} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.send(head).await;
        streams.push(client);
    }
    let reading = async || -> i64 {
        sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'
               and query like 'select position, epoch, revision,%'",
        )
        .fetch_one(&app.database)
        .await
        .expect("PostgreSQL answers")
    };
    eventually("a stream reads the position", || async {
        (reading().await > 0).then_some(())
    })
    .await;
    for _ in 0..10 {
        assert_eq!(app.get("/health/live").await.status, 200);
    }
    // One for all streams, and at most two for the projector: the reads have eight connections.
    let reading = reading().await;
    assert!(reading <= 3, "{reading}");
    blocker.rollback().await.expect("reads continue");
    drop(streams);
    app.stop().await;
}

/// Fills the store with events that no stream shows, so that streams have much to read and nothing to
/// send.
async fn fill(app: &TestApp, events: u32) {
    let statement = format!(
        "insert into events (event_id, aggregate_type, aggregate_id, version, type, schema_version,
                             data, metadata, created_at)
         select gen_random_uuid(), 'BankAccount', '00000000-0000-0000-0000-000000000007', n,
                'Deposited', 1, '{{}}', '{{}}', now()
         from generate_series(1, {events}) n"
    );
    sqlx::query(AssertSqlSafe(statement))
        .execute(&app.database)
        .await
        .expect("events are inserted");
}

#[tokio::test]
async fn streams_that_come_back_from_far_behind_have_few_connections_of_their_own() {
    let app = TestApp::start().await;
    fill(&app, 300).await;
    let order = json!({"customerId": "c"});
    let first = app.post("/v1/orders", &order).await.id();
    app.wait_until_caught_up().await;

    let mut streams = JoinSet::new();
    for _ in 0..200 {
        let request = app
            .request(Method::GET, STREAM)
            .header("last-event-id", "0");
        streams.spawn(async move {
            let answer = request.send().await.expect("the service answers");
            EventSource::open(answer)
                .await
                .next()
                .await
                .expect("an event")
        });
    }
    while streams.len() > 100 {
        assert_eq!(app.post("/v1/orders", &order).await.status, 201);
        while streams.try_join_next().is_some() {}
        tokio::task::yield_now().await;
    }
    for message in streams.join_all().await {
        assert_eq!(message.data["orderId"], json!(first));
    }

    let connections: i64 = sqlx::query_scalar(
        "select count(*) from pg_stat_activity
         where datname = current_database() and application_name = 'orders streams'",
    )
    .fetch_one(&app.database)
    .await
    .expect("PostgreSQL answers");
    let most = i64::from(READERS) + 1;
    assert!((1..=most).contains(&connections), "{connections}");
    app.stop().await;
}

#[tokio::test]
async fn clients_that_do_not_read_their_streams_do_not_fill_the_memory() {
    const ORDERS: usize = 24;
    let app = TestApp::start_with(|config| {
        config.http.trusted_proxy_hops = 1;
        config.http.limits.time.write = Duration::from_mins(10);
        config.http.work.unsent_bytes = Limits {
            total: 2 << 20,
            per_address: 1 << 20,
        };
    })
    .await;
    let item = json!({"productId": "p".repeat(128), "quantity": 1, "price": "1"});
    let order = json!({"customerId": "c", "items": vec![item; 2000]});
    let mut kept = vec![];
    for _ in 0..4 {
        let mut client = RawClient::connect(&app).await;
        let head = format!(
            "GET {STREAM} HTTP/1.1\r\nHost: localhost\r\n{CLIENT}: {ONE}\r\n\
             Connection: close\r\n\r\n"
        );
        client.send(head).await;
        kept.push(client);
    }
    let mut neighbour = EventSource::open(open(&app, OTHER, "0").await).await;

    // More than the buffers of the sockets hold.
    for _ in 0..ORDERS {
        assert_eq!(app.post("/v1/orders", &order).await.status, 201);
    }

    neighbour.take(ORDERS).await;
    // Those that are not cut off send on as soon as their clients read.
    let cut_off = join_all(kept.iter_mut().map(|client| client.is_closed_within(SOON))).await;
    assert!(
        cut_off.contains(&true),
        "three events are more than the limit"
    );
    drop(kept);
    app.stop().await;
}
