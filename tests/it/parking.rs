//! An order that is parked because its event cannot be applied: what clients, readiness, metrics and the
//! command line show.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    TestApp, eventually,
    service::{Service, orders},
};

/// Makes the table refuse a customer whom the write side accepts, as a manual change of the schema
/// could.
async fn refuse_customer(app: &TestApp, customer: &str) {
    let refuse = format!(
        "alter table order_views add constraint refused check (customer_id <> '{customer}')"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(refuse))
        .execute(&app.database)
        .await
        .unwrap();
}

async fn accept_all_customers(app: &TestApp) {
    sqlx::raw_sql("alter table order_views drop constraint refused")
        .execute(&app.database)
        .await
        .unwrap();
}

/// Waits until readiness shows the read model in this state, and returns the check.
async fn wait_for_read_model(app: &TestApp, state: &str) -> Value {
    eventually(&format!("the read model is {state}"), || async {
        let ready = app.get("/health/ready").await;
        assert_eq!(ready.status, 200, "{}", ready.text);
        let checks = ready.json()["checks"].as_array().unwrap().clone();
        let mut checks = checks.into_iter();
        checks.find(|check| check["name"] == "readModel" && check["status"] == state)
    })
    .await
}

/// Waits until a metric has this value: of a service in a process of its own, because all services of the
/// test process share one recorder.
async fn wait_for_metric(service: &Service, metric: &str, value: &str) {
    eventually(&format!("{metric} is {value}"), || async {
        let metrics = reqwest::get(format!("{}/metrics", service.url))
            .await
            .unwrap();
        let metrics = metrics.text().await.unwrap();
        let line = format!("{metric} {value}");
        metrics.lines().any(|found| found == line).then_some(())
    })
    .await;
}

/// Places a parked order and a healthy one, and adds a line to the parked one. Returns the parked
/// order's id and the token of its last command.
async fn place_and_change(app: &TestApp) -> (Uuid, String) {
    let item = json!({"productId": "p", "quantity": 2, "price": "1.50"});
    let order = |customer: &str| json!({"customerId": customer, "items": [item]});
    let parked = app.post("/v1/orders", &order("refused")).await.id();
    let healthy = app.post("/v1/orders", &order("accepted")).await.id();
    app.wait_until_projected(healthy, 1).await;
    let path = format!("/v1/orders/{parked}/items");
    let added = app.post(&path, &item).await;
    assert_eq!(added.status, 201, "{}", added.text);
    app.wait_until_caught_up().await;
    let other = app.get(&format!("/v1/orders/{healthy}")).await;
    assert_eq!((other.status, other.header("order-parked")), (200, ""));
    (parked, added.header("consistency-token").to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_order_is_marked_and_shown_from_the_write_side() {
    let app = TestApp::start().await;
    refuse_customer(&app, "refused").await;
    let (parked, token) = place_and_change(&app).await;
    let path = format!("/v1/orders/{parked}");

    let token = [("consistency-token", token.as_str())];
    let shown = app.get_with(&path, &token).await;
    assert_eq!(
        (shown.status, shown.header("order-parked")),
        (200, "version=1")
    );
    assert_eq!(
        (shown.header("etag"), shown.json()["total"].as_str()),
        ("\"2\"", Some("6.00"))
    );
    let unchanged = app.get_with(&path, &[("if-none-match", "\"2\"")]).await;
    assert_eq!(
        (unchanged.status, unchanged.header("order-parked")),
        (304, "version=1")
    );

    accept_all_customers(&app).await;
    let variables = [("DATABASE_URL", app.database_url.as_str())];
    let retried = orders(&["parked", "retry"], &variables).await;
    assert_eq!(retried.status.code(), Some(0), "{retried:?}");
    let whole = app.get(&path).await;
    assert_eq!((whole.status, whole.header("order-parked")), (200, ""));
    assert_eq!(whole.text, shown.text);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_metrics_and_command_line_report_a_parked_order_until_it_is_retried() {
    let app = TestApp::start().await;
    refuse_customer(&app, "refused").await;
    let (parked, _) = place_and_change(&app).await;
    let service = Service::on_shared_servers(&app.config.nats_stream).await;

    let check = wait_for_read_model(&app, "degraded").await;
    let detail = check["detail"].as_str().unwrap();
    assert!(detail.contains("1 orders are parked"), "{check}");
    wait_for_metric(&service, "orders_parked", "1").await;
    wait_for_metric(&service, "orders_part_state{part=\"readModel\"}", "1").await;
    wait_for_metric(&service, "orders_projection_lag_events", "0").await;
    wait_for_metric(&service, "orders_relay_lag_seconds", "0").await;
    let variables = [("DATABASE_URL", app.database_url.as_str())];
    let listed = orders(&["parked", "list"], &variables).await;
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains(&parked.to_string()) && listed.contains("refused"),
        "{listed}"
    );

    // A retry leaves the order parked until the cause is removed.
    let retried = orders(&["parked", "retry"], &variables).await;
    assert_eq!(retried.status.code(), Some(1), "{retried:?}");
    accept_all_customers(&app).await;
    let retried = orders(&["parked", "retry", &parked.to_string()], &variables).await;
    assert_eq!(retried.status.code(), Some(0), "{retried:?}");

    wait_for_read_model(&app, "ok").await;
    wait_for_metric(&service, "orders_parked", "0").await;
    wait_for_metric(&service, "orders_part_state{part=\"readModel\"}", "0").await;
    app.stop().await;
}
