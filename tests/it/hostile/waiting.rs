//! Reads that wait for the read model, and tokens that nobody was given.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::future::join_all;
use serde_json::json;

use crate::support::TestApp;

/// How many reads wait at the same time.
const READS: usize = 200;

fn token(position: i64) -> String {
    URL_SAFE_NO_PAD.encode(format!("p{position}"))
}

/// The transactions that the database has counted. Each statement of a read is one.
async fn transactions(app: &TestApp) -> i64 {
    let count = "select xact_commit + xact_rollback from pg_stat_database
                 where datname = current_database()";
    let count = sqlx::query_scalar(count).fetch_one(&app.database).await;
    count.expect("PostgreSQL answers")
}

#[tokio::test]
async fn a_token_from_the_future_is_refused_after_one_look_at_the_store() {
    let app = TestApp::start().await;
    let placed = app.post("/v1/orders", &json!({"customerId": "c"})).await;
    app.wait_until_projected(placed.id(), 1).await;
    let path = format!("/v1/orders/{}", placed.id());
    let before = transactions(&app).await;
    let began = Instant::now();

    for token in [token(2), token(999_999_999), token(i64::MAX)] {
        for path in [
            path.as_str(),
            "/v1/orders",
            &format!("{path}/events"),
            &format!("{path}?version=1"),
            &format!("{path}/stream"),
        ] {
            for wait in ["wait=0", "wait=10"] {
                let with = [("consistency-token", token.as_str()), ("prefer", wait)];
                let refused = app.get_with(path, &with).await;

                assert_eq!(
                    (refused.status, refused.code().as_str()),
                    (400, "invalid_header"),
                    "{path} {wait}"
                );
                let header = &refused.json()["errors"][0]["header"];
                assert_eq!(header, "Consistency-Token");
            }
        }
    }

    assert!(began.elapsed() < Duration::from_secs(5), "no read waits");
    let spent = transactions(&app).await - before;
    // Thirty reads; the rest are the background tasks.
    assert!(spent < 300, "{spent} transactions");
    app.stop().await;
}

#[tokio::test]
async fn two_hundred_waiting_reads_look_at_the_database_as_often_as_one() {
    let app = TestApp::start().await;
    let placed = app.post("/v1/orders", &json!({"customerId": "c"})).await;
    app.wait_until_projected(placed.id(), 1).await;
    let mut blocker = app.database.begin().await.unwrap();
    sqlx::raw_sql("select from projection_checkpoint for update")
        .execute(&mut *blocker)
        .await
        .unwrap();
    let path = format!("/v1/orders/{}", placed.id());
    let cancelled = app.post(&format!("{path}/cancel"), &json!({})).await;
    let token = cancelled.header("consistency-token");
    let before = transactions(&app).await;

    let with = [("consistency-token", token), ("prefer", "wait=3")];
    let reads = join_all((0..READS).map(|_| app.get_with(&path, &with))).await;

    let spent = transactions(&app).await - before;
    for read in reads {
        assert_eq!(read.code(), "read_model_behind");
    }
    // Three for each read, a look every 10 ms, and the background tasks.
    assert!(spent < 1000, "{spent} transactions");
    blocker.rollback().await.unwrap();
    let shown = app.get_with(&path, &with).await;
    assert_eq!(shown.json()["status"], "cancelled");
    app.stop().await;
}
