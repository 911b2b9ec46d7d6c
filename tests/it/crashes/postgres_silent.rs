//! PostgreSQL that does not answer: its processes are stopped, or the network drops everything.
//! Requests fail soon, and the service works again when PostgreSQL answers again.

use std::time::Duration;

use futures::future::join_all;
use nix::sys::signal::Signal;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::postgres_killed::app_behind_a_lossy_network;
use crate::support::{
    TestApp, eventually,
    proxy::Mode,
    service::{DataDir, Service},
};

/// How long a request may take while PostgreSQL does not answer; half a second is for a busy
/// machine.
const LIMIT: Duration = Duration::from_millis(2000 + 500);

/// One request of each kind.
struct Requests {
    url: String,
    order: String,
    token: String,
}

impl Requests {
    /// Creates an order that the requests are about.
    async fn about_a_new_order(url: &str) -> Self {
        let placed = Client::new()
            .post(format!("{url}/v1/orders"))
            .header("idempotency-key", "known")
            .json(&json!({"customerId": "c"}))
            .send()
            .await
            .unwrap();
        assert_eq!(placed.status(), 201);
        let token = placed.headers()["consistency-token"].to_str().unwrap();
        let token = token.to_owned();
        let placed: Value = placed.json().await.unwrap();
        let order = format!("/v1/orders/{}", placed["id"].as_str().unwrap());
        let url = url.to_owned();
        Self { url, order, token }
    }

    /// Sends all requests at once. Returns name, status, body and duration of each.
    async fn send(&self) -> Vec<(String, u16, Value, Duration)> {
        let get = |path: String| (Method::GET, path, None, "");
        let post = |path: &str, key| (Method::POST, path.to_owned(), Some(()), key);
        let order = &self.order;
        let all = [
            // None of these can be answered from memory.
            get(format!("/v1/orders/{}", Uuid::from_u128(7))),
            get(format!("{order}?minVersion=3")),
            get(format!("{order}?version=1")),
            get(format!("{order}/events")),
            get("/v1/orders?customerId=c&includeTotal=true".to_owned()),
            post("/v1/orders", "new"),
            post("/v1/orders", "known"),
            post(&format!("{order}/cancel"), ""),
        ];
        join_all(all.map(async |(method, path, body, key)| {
            let started = Instant::now();
            let name = format!("{method} {path} {key}");
            let mut request = Client::new().request(method, format!("{}{path}", self.url));
            if body.is_some() {
                let body = if key.is_empty() {
                    json!({})
                } else {
                    json!({"customerId": "c"})
                };
                request = request.json(&body);
            } else {
                request = request.header("consistency-token", &self.token);
            }
            if !key.is_empty() {
                request = request.header("idempotency-key", key);
            }
            let answer = timeout(Duration::from_secs(20), request.send());
            let answer = answer.await.expect(&name).unwrap();
            let status = answer.status().as_u16();
            let has_hint = answer.headers().contains_key("retry-after");
            assert!(status < 500 || has_hint, "{name}: no Retry-After");
            let body = answer.json().await.unwrap();
            (name, status, body, started.elapsed())
        }))
        .await
    }

    /// Checks that every request is refused in time and may be repeated.
    async fn assert_refused(&self) {
        for (name, status, body, after) in self.send().await {
            let code = body["code"].as_str().unwrap_or_default();
            // The last one means that another request with the same key is still waiting.
            let is_refused = matches!(
                (status, code),
                (503, "store_unavailable" | "timeout") | (409, "idempotency_in_progress")
            );
            assert!(
                is_refused && body["retryable"] == true,
                "{name}: {status} {body}"
            );
            assert!(after < LIMIT, "{name} took {after:?}");
        }
    }

    /// Waits until every request is answered, and checks that this stays so.
    async fn assert_answered(&self) {
        eventually("everything is answered", || async {
            let answers = self.send().await;
            answers
                .iter()
                .all(|(_, status, ..)| *status < 500)
                .then_some(())
        })
        .await;
        for _ in 0..10 {
            for (name, status, body, _) in self.send().await {
                assert!(status < 500, "{name}: {status} {body}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_fail_within_two_seconds_while_postgresql_is_stopped() {
    let data = DataDir::new("postgres-stopped");
    let mut service = Service::embedded(&data).await;
    let requests = Requests::about_a_new_order(&service.url).await;
    requests.assert_answered().await;
    let processes = service.descendants().await;
    let postgres = || {
        processes
            .iter()
            .filter(|process| process.name == "postgres")
    };

    // All of them, also the postmaster, so that it cannot fork a new backend.
    for process in postgres() {
        process.signal(Signal::SIGSTOP);
    }
    requests.assert_refused().await;
    requests.assert_refused().await;
    for process in postgres() {
        process.signal(Signal::SIGCONT);
    }

    requests.assert_answered().await;
    assert!(service.is_running());
    data.assert_verifies().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_answers_are_abandoned() {
    let (app, network) = app_behind_a_lossy_network().await;
    let requests = Requests::about_a_new_order(&app.url).await;
    requests.assert_answered().await;

    network.set(Mode::Hold);
    // More requests than connections, and clients that hang up early.
    let hurried = join_all((0..5).map(|_| timeout(Duration::from_millis(300), requests.send())));
    let patient = join_all((0..5).map(|_| requests.assert_refused()));
    futures::join!(hurried, patient);
    requests.assert_refused().await;
    // The old connections never answer again.
    network.forget_connections();
    network.set(Mode::Pass);

    requests.assert_answered().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_hang_up_leave_no_transaction_open() {
    let app = TestApp::start_with(|config| config.database_connections = 3).await;
    let order = app
        .post("/v1/orders", &json!({"customerId": "c"}))
        .await
        .id();
    let path = format!("/v1/orders/{order}");
    let hurried = [
        (Method::GET, path.clone()),
        (Method::GET, format!("{path}/events")),
        (
            Method::GET,
            "/v1/orders?includeTotal=true&view=full".to_owned(),
        ),
        (Method::POST, format!("{path}/items")),
    ];

    for round in 0..40_u64 {
        join_all(
            hurried
                .iter()
                .cycle()
                .take(24)
                .enumerate()
                .map(|(number, (method, path))| {
                    let item = json!({"productId": "p", "quantity": 1, "price": "1"});
                    let mut request = app.request(method.clone(), path);
                    if *method == Method::POST {
                        request = request.json(&item);
                    }
                    // A new connection for each request, which is closed and not reused.
                    let request = request.header("connection", "close").send();
                    let hang_up_after = Duration::from_micros(200 * (round + number as u64 % 7));
                    async move { drop(timeout(hang_up_after, request).await) }
                }),
        )
        .await;
    }

    eventually("no transaction is left open", || async {
        let open: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where datname = current_database() and state like 'idle in transaction%'",
        )
        .fetch_one(&app.database)
        .await
        .unwrap();
        if open > 0 {
            sleep(Duration::from_millis(50)).await;
        }
        (open == 0).then_some(())
    })
    .await;
    let answers = join_all((0..60).map(|_| app.get(&path))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    app.stop().await;
}
