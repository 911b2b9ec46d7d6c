//! An event that cannot be applied parks its order, and everybody is told.

use serde_json::{Value, json};

use crate::support::{
    TestApp,
    service::{Service, orders},
};

/// The table refuses what the write side accepts, as after a change of the schema by hand.
async fn refuse_customer(app: &TestApp, customer: &str) {
    let refuse = format!(
        "alter table order_views add constraint refused check (customer_id <> '{customer}')"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(refuse))
        .execute(&app.database)
        .await
        .unwrap();
}

/// How readiness finds the read model.
async fn read_model(app: &TestApp) -> Value {
    let ready = app.get("/health/ready").await;
    assert_eq!(ready.status, 200, "{}", ready.text);
    let checks = ready.json()["checks"].as_array().unwrap().clone();
    let check = checks
        .into_iter()
        .find(|check| check["name"] == "readModel");
    check.expect("a check")
}

/// How many orders the metrics of a service of its own say are parked: the services of the test
/// process share one recorder.
async fn counted(service: &Service) -> String {
    let metrics = reqwest::get(format!("{}/metrics", service.url))
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    let shown = metrics
        .lines()
        .find_map(|line| line.strip_prefix("orders_parked "));
    shown.expect("the gauge").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_order_says_so_and_is_shown_as_the_write_side_knows_it() {
    let app = TestApp::start().await;
    refuse_customer(&app, "poison").await;
    let item = json!({"productId": "p", "quantity": 2, "price": "1.50"});
    let order = |customer: &str| json!({"customerId": customer, "items": [item]});
    let parked = app.post("/v1/orders", &order("poison")).await.id();
    let sound = app.post("/v1/orders", &order("sound")).await.id();
    let path = format!("/v1/orders/{parked}");

    // The others flow, and commands on the parked one go on.
    app.wait_until_projected(sound, 1).await;
    let added = app.post(&format!("{path}/items"), &item).await;
    assert_eq!(added.status, 201, "{}", added.text);
    app.wait_until_caught_up().await;
    let token = [("consistency-token", added.header("consistency-token"))];
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
    let other = app.get(&format!("/v1/orders/{sound}")).await;
    assert_eq!((other.status, other.header("order-parked")), (200, ""));

    let check = read_model(&app).await;
    assert_eq!(check["status"], "degraded");
    assert!(
        check["detail"]
            .as_str()
            .unwrap()
            .contains("1 orders are parked"),
        "{check}"
    );
    let beside = Service::on_shared_servers(&app.config.nats_stream).await;
    assert_eq!(counted(&beside).await, "1");

    // On the command line: it is listed, and stays parked while nothing is mended.
    let variables = [("DATABASE_URL", app.database_url.as_str())];
    let listed = orders(&["parked", "list"], &variables).await;
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains(&parked.to_string()) && listed.contains("refused"),
        "{listed}"
    );
    let retried = orders(&["parked", "retry"], &variables).await;
    assert_eq!(retried.status.code(), Some(1), "{retried:?}");
    sqlx::raw_sql("alter table order_views drop constraint refused")
        .execute(&app.database)
        .await
        .unwrap();
    let retried = orders(&["parked", "retry", &parked.to_string()], &variables).await;
    assert_eq!(retried.status.code(), Some(0), "{retried:?}");

    let whole = app.get(&path).await;
    assert_eq!((whole.status, whole.header("order-parked")), (200, ""));
    assert_eq!(whole.text, shown.text);
    assert_eq!(read_model(&app).await["status"], "ok");
    assert_eq!(counted(&beside).await, "0");
    app.stop().await;
}
