//! The self-check: what it finds, repairs and counts, and that one process does it for all.

use std::{collections::HashMap, sync::Arc, time::Duration};

use metrics_exporter_prometheus::PrometheusBuilder;
use orders::{
    event_sourcing::Lease,
    live::FreshEvents,
    order::upcasters::upcasters,
    postgres::{self, PgEventStore, PgLease, Writer, writer::WriterOptions},
    read_model::{
        Projector,
        self_check::{LEASE, LEASE_TTL, SelfCheck},
    },
};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{TestApp, eventually};

async fn place(app: &TestApp, customer: &str) -> Uuid {
    let body = json!({"customerId": customer, "items": [
        {"productId": "product-1", "quantity": 2, "price": "49.99"}]});
    let created = app.post("/v1/orders", &body).await;
    assert_eq!(created.status, 201, "{}", created.text);
    created.id()
}

/// Changes the rows of an order, so that they differ from its events.
async fn damage(app: &TestApp, statement: &'static str, order: Uuid) {
    let damaged = sqlx::query(statement).bind(order).execute(&app.database);
    assert_eq!(damaged.await.unwrap().rows_affected(), 1);
}

/// A self-check and its lease, as the process `holder` has them.
fn check(app: &TestApp, holder: u128) -> (SelfCheck<PgEventStore, PgLease>, PgLease) {
    let options = postgres::connect_options(&app.database_url).unwrap();
    let pool: PgPool = postgres::pool(options.clone(), 4);
    let (_, writer) = Writer::new(options, WriterOptions::default(), FreshEvents::default());
    let store = PgEventStore::new(pool.clone(), writer, Duration::from_mins(1));
    let chain = Arc::new(upcasters("EUR".parse().unwrap()).unwrap());
    let lease = PgLease::new(pool.clone(), LEASE, Uuid::from_u128(holder), LEASE_TTL);
    let projector = Projector::new(pool, store, chain);
    (SelfCheck::new(projector, lease.clone(), 40), lease)
}

#[tokio::test]
async fn a_running_service_repairs_a_difference() {
    let app = TestApp::start_with(|config| config.verify_per_second = 1000).await;
    let (changed, deleted) = (
        place(&app, "customer-1").await,
        place(&app, "customer-2").await,
    );
    let correct = app.wait_until_projected(changed, 1).await;
    app.wait_until_projected(deleted, 1).await;

    let set = "update order_views set total_minor = 1, status = 'completed' where id = $1";
    damage(&app, set, changed).await;
    damage(&app, "delete from order_views where id = $1", deleted).await;

    // The rows are read from the database: the service shows recently read orders from its memory.
    eventually("both rows are repaired", || async {
        let repaired: i64 = sqlx::query_scalar(
            "select count(*) from order_views where status = 'created' and id in ($1, $2)",
        )
        .bind(changed)
        .bind(deleted)
        .fetch_one(&app.database)
        .await
        .expect("PostgreSQL answers");
        (repaired == 2).then_some(())
    })
    .await;
    let shown = app.get(&format!("/v1/orders/{changed}")).await.json();
    assert_eq!(shown, correct);
    app.stop().await;
}

#[tokio::test]
async fn a_round_counts_what_it_found_and_repaired() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    // The test runs on one thread, so this recorder counts everything that it awaits.
    let _counting = metrics::set_default_local_recorder(&recorder);
    let counters = || -> HashMap<String, String> {
        let text = metrics.render();
        let lines = text
            .lines()
            .filter(|line| line.starts_with("orders_verify"));
        let pairs = lines.filter_map(|line| line.split_once(' '));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let app = TestApp::start().await;
    let (one, other) = (
        place(&app, "customer-1").await,
        place(&app, "customer-2").await,
    );
    app.wait_until_projected(one, 1).await;
    app.wait_until_projected(other, 1).await;
    let (mut check, _) = check(&app, 1);
    assert_eq!(counters()["orders_verify_checked_total"], "0");
    damage(
        &app,
        "update order_views set total_minor = 1 where id = $1",
        one,
    )
    .await;

    let report = check.run_once().await.unwrap();

    assert_eq!(
        (report.orders, report.in_read_model, report.repaired),
        (2, 1, 1)
    );
    let counted = counters();
    assert_eq!(counted["orders_verify_checked_total"], "2");
    assert_eq!(counted["orders_verify_differences_total"], "1");
    assert_eq!(counted["orders_verify_repaired_total"], "1");
    assert!(check.run_once().await.unwrap().is_clean());
    app.stop().await;
}

#[tokio::test]
async fn an_order_that_has_not_changed_is_verified_in_the_sample() {
    let app = TestApp::start().await;
    let order = place(&app, "customer-1").await;
    app.wait_until_projected(order, 1).await;
    let (mut check, _) = check(&app, 1);
    assert!(check.run_once().await.unwrap().is_clean());

    // No order has changed since the last round, so only the sample can find the difference.
    damage(
        &app,
        "update order_views set total_minor = 1 where id = $1",
        order,
    )
    .await;
    let report = check.run_once().await.unwrap();

    assert_eq!((report.in_read_model, report.repaired), (1, 1));
    app.stop().await;
}

#[tokio::test]
async fn only_the_holder_of_the_lease_verifies() {
    let app = TestApp::start().await;
    let order = place(&app, "customer-1").await;
    app.wait_until_projected(order, 1).await;
    let ((mut first, lease), (mut second, _)) = (check(&app, 1), check(&app, 2));

    assert_eq!(first.run_once().await.unwrap().orders, 1);
    assert_eq!(second.run_once().await.unwrap().orders, 0);
    lease.release().await.unwrap();
    assert_eq!(second.run_once().await.unwrap().orders, 1);
    app.stop().await;
}

#[tokio::test]
async fn an_empty_store_has_no_finding() {
    let app = TestApp::start().await;

    let report = check(&app, 1).0.run_once().await.unwrap();

    assert!(report.is_clean());
    assert_eq!(report.orders, 0);
    app.stop().await;
}
