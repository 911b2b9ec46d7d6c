//! PostgreSQL is restored from a backup under a running service, and a service on the stream of another
//! store.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;

use crate::support::{TestApp, eventually, servers::servers, truth};

/// Runs statements on the server while nothing is connected to the database `name`.
async fn run_offline(name: &str, statements: &[String]) {
    let options: PgConnectOptions = servers().database_url.parse().unwrap();
    let mut server = PgConnection::connect_with(&options).await.unwrap();
    let disconnect = [
        format!("alter database {name} with allow_connections false"),
        format!(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = '{name}'"
        ),
    ];
    for statement in disconnect.iter().chain(statements) {
        sqlx::raw_sql(AssertSqlSafe(statement.as_str()))
            .execute(&mut server)
            .await
            .unwrap();
    }
    server.close().await.unwrap();
}

/// Copies the database.
async fn back_up(name: &str) {
    run_offline(
        name,
        &[
            format!("create database {name}_backup template {name}"),
            format!("alter database {name} with allow_connections true"),
        ],
    )
    .await;
}

/// Replaces the database by its copy.
async fn restore(name: &str) {
    run_offline(
        name,
        &[
            format!("drop database {name} with (force)"),
            format!("alter database {name}_backup rename to {name}"),
        ],
    )
    .await;
}

/// Places an order. Tries again while the database is not available.
async fn place(app: &TestApp, customer: &str) -> Uuid {
    let order = json!({"customerId": customer});
    let key = Uuid::now_v7().to_string();
    eventually("an order is placed", || async {
        let headers = [("idempotency-key", key.as_str())];
        let answer = app.post_with("/v1/orders", &order, &headers).await;
        assert!(
            answer.status == 201 || answer.json()["retryable"] == true,
            "{}",
            answer.text
        );
        (answer.status == 201).then(|| answer.id())
    })
    .await
}

/// The check of the relay in the readiness answer.
async fn relay_check(app: &TestApp) -> Value {
    let ready = app.get("/health/ready").await.json();
    let checks = ready["checks"].as_array().unwrap().clone();
    let check = checks.into_iter().find(|check| check["name"] == "relay");
    check.expect("a check")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_stream_is_made_for_a_restored_database() {
    let app = TestApp::start().await;
    let name = app.config.nats_stream.clone();
    let kept = place(&app, "kept").await;
    app.wait_until_projected(kept, 1).await;
    back_up(&name).await;
    for number in 0..5 {
        place(&app, &format!("lost-{number}")).await;
    }
    eventually("the lost orders are shown", || async {
        let shown = app.get("/v1/orders").await;
        (shown.header("projection-position") == "6").then_some(())
    })
    .await;

    restore(&name).await;

    // Placed at once, at the position of a lost order.
    let after = place(&app, "after").await;
    eventually("readiness reports it", || async {
        let check = relay_check(&app).await;
        let text = check["detail"].as_str().unwrap_or_default().to_owned();
        (check["status"] == "degraded" && text.contains("does not match")).then_some(())
    })
    .await;
    let shown = eventually("the new order is projected", || async {
        let shown = app.get(&format!("/v1/orders/{after}")).await;
        (shown.status == 200).then_some(shown)
    })
    .await;
    assert_eq!(shown.json()["customerId"], "after");
    // The token of a lost order: "p6".
    let lost = [("consistency-token", "cDY"), ("prefer", "wait=10")];
    let refused = app.get_with("/v1/orders", &lost).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (400, "invalid_header")
    );
    app.wait_until_caught_up().await;
    let listed = app.get("/v1/orders?includeTotal=true").await.json();
    assert_eq!(listed["totalCount"], 2, "{listed}");
    truth::assert_stream_holds_the_store(&servers().nats_url, &name, &app.database).await;
    eventually("readiness reports no problem", || async {
        (relay_check(&app).await["status"] == "ok").then_some(())
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_on_another_stores_stream_never_writes_to_it_and_serves_its_own_orders() {
    let owner = TestApp::start().await;
    let theirs = place(&owner, "theirs").await;
    owner.wait_until_projected(theirs, 1).await;
    let other = TestApp::start_with(|config| {
        config.nats_stream.clone_from(&owner.config.nats_stream);
        config.nats_prefix.clone_from(&owner.config.nats_prefix);
    })
    .await;

    let ours = place(&other, "ours").await;
    eventually("readiness reports it", || async {
        let check = relay_check(&other).await;
        let text = check["detail"].as_str().unwrap_or_default().to_owned();
        (check["status"] == "degraded" && text.contains("belongs to")).then_some(())
    })
    .await;
    let theirs = place(&owner, "theirs").await;
    owner.wait_until_projected(theirs, 1).await;

    // The read model comes from the store: it holds this service's order and no other.
    other.wait_until_projected(ours, 1).await;
    let projected: i64 = sqlx::query_scalar("select count(*) from order_views")
        .fetch_one(&other.database)
        .await
        .unwrap();
    assert_eq!(projected, 1);
    let name = &owner.config.nats_stream;
    truth::assert_stream_holds_the_store(&servers().nats_url, name, &owner.database).await;
    owner.stop().await;
    other.stop().await;
}
