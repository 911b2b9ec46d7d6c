//! Two services on one database and one stream.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use sqlx::PgPool;
use tokio::sync::watch;

use super::{MIDDLE, assert_orders_are_well, orders};
use crate::support::{
    TestApp, eventually,
    servers::{fresh_database, servers},
    service::Service,
    shop::Shop,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_used_in_two_services_at_once_is_applied_once() {
    let one = TestApp::start().await;
    let other = one.second().await;
    let item = json!({"productId": "22423", "quantity": 1, "price": "12.75"});
    let order = json!({"customerId": "17850.0", "currency": "GBP", "items": [item]});

    for round in 0..20 {
        let keys = [("idempotency-key", &*format!("create-{round}"))];
        let (first, second) = tokio::join!(
            one.post_with("/v1/orders", &order, &keys),
            other.post_with("/v1/orders", &order, &keys),
        );
        assert_eq!((first.status, second.status), (201, 201), "{}", first.text);
        assert_eq!(first.text, second.text);
        let replayed =
            [&first, &second].map(|answer| answer.header("idempotent-replayed") == "true");
        assert_eq!(
            replayed.iter().filter(|was| **was).count(),
            1,
            "{replayed:?}"
        );

        let path = format!("/v1/orders/{}/items", first.id());
        let keys = [("idempotency-key", &*format!("add-{round}"))];
        let (first, second) = tokio::join!(
            one.post_with(&path, &item, &keys),
            other.post_with(&path, &item, &keys),
        );
        assert_eq!((first.status, second.status), (201, 201), "{}", second.text);
        assert_eq!(first.text, second.text);
    }

    one.wait_until_caught_up().await;
    let stored: (i64, i64) =
        sqlx::query_as("select count(*), count(distinct aggregate_id) from events")
            .fetch_one(&one.database)
            .await
            .unwrap();
    assert_eq!(stored, (40, 20));
    other.stop().await;
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_on_one_order_through_two_services_are_all_kept() {
    let one = TestApp::start().await;
    let other = one.second().await;
    let order = json!({"customerId": "17850.0", "currency": "GBP"});
    let order = one.post("/v1/orders", &order).await.id();
    let path = format!("/v1/orders/{order}/items");
    let item = json!({"productId": "22423", "quantity": 1, "price": "12.75"});

    // Each client repeats its request until its line is added. A request that loses every race is
    // answered with `write_contention`.
    let adding = [&one, &other].map(|app| {
        let (path, item) = (&path, &item);
        join_all((0..20).map(move |_| async move {
            eventually("a line is added", || async move {
                let answer = app.post(path, item).await;
                let is_added = answer.status == 201;
                assert!(
                    is_added || answer.code() == "write_contention",
                    "{}",
                    answer.text
                );
                is_added.then(|| answer.header("etag").to_owned())
            })
            .await
        }))
    });
    let added = join_all(adding).await.concat();

    // Each command was decided on the state after the one before.
    let mut versions: Vec<u32> = added
        .iter()
        .map(|etag| etag.trim_matches('"').parse().unwrap())
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, (2..=41).collect::<Vec<_>>());

    let shown = other.wait_until_projected(order, 41).await;
    assert_eq!(shown["version"], 41);
    assert_eq!(shown["itemCount"], 40);
    assert_eq!(shown["total"], "510.00");
    other.stop().await;
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_takes_over_from_a_killed_one() {
    let (options, name) = fresh_database().await;
    let database = PgPool::connect_with(options).await.unwrap();
    let first = Service::on_shared_servers(&name).await;
    // It relays and projects before the second one starts.
    let holders = eventually("the first service holds both leases", || async {
        Some(holders(&database).await).filter(|holders| holders.len() == 2)
    })
    .await;
    let second = Service::on_shared_servers(&name).await;
    let (set_url, url_of_first) = watch::channel(first.url.clone());
    let url_of_second = watch::channel(second.url.clone()).1;
    let shop = Shop::new(vec![url_of_first, url_of_second], orders());

    let load = shop.open();
    shop.ledger.progress(MIDDLE).await;
    assert!(!load.is_finished());
    first.kill_9().await;
    let killed = Instant::now();
    let successors = eventually("the second service holds both leases", || async {
        let now = self::holders(&database).await;
        let is_taken = now.iter().all(|holder| !holders.contains(holder));
        (now.len() == 2 && is_taken).then_some(now)
    })
    .await;
    // The leases last five seconds. On an idle machine this takes less than half a second.
    let taken_after = killed.elapsed();
    assert!(taken_after < Duration::from_secs(2), "{taken_after:?}");
    eprintln!("both leases were taken after {taken_after:?}");
    // As a load balancer does once it has noticed the failure.
    set_url.send(second.url.clone()).unwrap();
    load.await.unwrap();

    assert_orders_are_well(&shop, &database, &servers().nats_url, &name, &second.url).await;
    assert_eq!(self::holders(&database).await, successors);
}

/// The holders of the leases of relay and projector.
async fn holders(database: &PgPool) -> Vec<uuid::Uuid> {
    sqlx::query_scalar(
        "select holder from leases
         where name in ('relay', 'projector') and until > clock_timestamp()",
    )
    .fetch_all(database)
    .await
    .unwrap()
}
