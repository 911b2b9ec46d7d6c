//! Readiness tells the truth: each fault shows in words, on every instance, and no flood of requests
//! reaches the database.

mod nats_faults;
mod postgres_faults;
mod schema;

use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};

use crate::support::{TestApp, app::Answer, eventually};

/// Reads readiness, and compares it with the OpenAPI document.
async fn readiness(app: &TestApp) -> Answer {
    let ready = app.get("/health/ready").await;
    let document = app.get("/openapi.json").await.json();
    let documented = schema::of_answer(&document, "/health/ready", ready.status);
    schema::assert_documented(&document, documented, &ready.json());
    let is_unavailable = ready.json()["status"] == "unavailable";
    assert_eq!(ready.status, if is_unavailable { 503 } else { 200 });
    ready
}

/// Waits until one part is in this state, and its words contain these.
async fn wait_for(app: &TestApp, part: &str, state: &str, words: &str) -> String {
    let what = format!("{part} is {state}: {words}");
    eventually(&what, || async {
        let ready = readiness(app).await.json();
        let checks = ready["checks"].as_array().expect("checks").clone();
        let check = checks.into_iter().find(|check| check["name"] == part)?;
        let detail = check["detail"].as_str().expect("words").to_owned();
        (check["status"] == state && detail.contains(words)).then_some(detail)
    })
    .await
}

/// Waits until every part is well.
async fn wait_until_ok(app: &TestApp) {
    eventually("the service is ready", || async {
        (readiness(app).await.json()["status"] == "ok").then_some(())
    })
    .await;
}

/// Takes a lock in a transaction of its own, until that ends.
async fn lock(app: &TestApp, statement: &'static str) -> Transaction<'static, Postgres> {
    let mut blocker = app.database.begin().await.expect("PostgreSQL answers");
    sqlx::raw_sql(statement)
        .execute(&mut *blocker)
        .await
        .expect("a lock");
    blocker
}

async fn place(app: &TestApp) -> Answer {
    app.post("/v1/orders", &json!({"customerId": "customer-1"}))
        .await
}

#[tokio::test]
async fn health_answers_with_exactly_the_documented_json() {
    let app = TestApp::start().await;
    let document = app.get("/openapi.json").await.json();

    let live = app.get("/health/live").await;

    let documented = schema::of_answer(&document, "/health/live", 200);
    schema::assert_documented(&document, documented, &live.json());
    assert_eq!(live.text, r#"{"status":"ok"}"#);
    wait_until_ok(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn a_flood_of_health_checks_does_not_reach_the_database() {
    let app = TestApp::start().await;
    wait_until_ok(&app).await;
    // Whoever looks at the read model now waits.
    let blocked = lock(&app, "lock table projection_checkpoint").await;

    let ready = join_all((0..100).map(|_| app.get("/health/ready"))).await;
    let metrics = join_all((0..100).map(|_| app.get("/metrics"))).await;

    let waiting: i64 = sqlx::query_scalar(
        "select count(*) from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock'
           and query like '%count(*) from projection_parked%'",
    )
    .fetch_one(&app.database)
    .await
    .expect("PostgreSQL answers");
    assert!(waiting <= 1, "{waiting} sessions wait");
    assert!(
        ready
            .iter()
            .all(|answer| answer.json()["checks"].is_array())
    );
    assert!(metrics.iter().all(|answer| answer.status == 200));
    blocked.rollback().await.expect("PostgreSQL answers");
    wait_until_ok(&app).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_model_that_is_behind_says_so_on_every_instance() {
    let app = TestApp::start().await;
    let second = app.second().await;
    wait_until_ok(&app).await;
    let stalled = lock(&app, "select from projection_checkpoint for update").await;

    for _ in 0..3 {
        assert_eq!(place(&app).await.status, 201);
    }

    for instance in [&app, &second] {
        let words = wait_for(instance, "readModel", "degraded", "3 events and ").await;
        assert!(words.contains("is at position 0"), "{words}");
    }
    stalled.rollback().await.expect("PostgreSQL answers");
    for instance in [&app, &second] {
        wait_until_ok(instance).await;
    }
    second.stop().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_nobody_renews_is_named() {
    let app = TestApp::start().await;
    wait_until_ok(&app).await;

    // Nobody can write to it, but all can read it.
    let unattended = lock(&app, "lock table leases in share row exclusive mode").await;

    let words = "no process has renewed the projector's lease";
    wait_for(&app, "readModel", "degraded", words).await;
    let words = "no process has renewed the relay's lease";
    wait_for(&app, "relay", "degraded", words).await;
    unattended.rollback().await.expect("PostgreSQL answers");
    wait_until_ok(&app).await;
    app.stop().await;
}

/// What readiness says as a whole.
async fn status(app: &TestApp) -> Value {
    readiness(app).await.json()["status"].clone()
}
