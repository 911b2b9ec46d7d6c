//! Two services on one database and one stream.

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
async fn one_key_used_in_two_services_at_once_has_one_effect() {
    let one = TestApp::start().await;
    let other = one.second().await;
    let item = json!({"productId": "22423", "quantity": 1, "price": "12.75"});
    let order = json!({"customerId": "17850.0", "currency": "GBP", "items": [item]});

    for round in 0..20 {
        let keys = [("idempotency-key", &*format!("create-{round}"))];
        let (here, there) = tokio::join!(
            one.post_with("/v1/orders", &order, &keys),
            other.post_with("/v1/orders", &order, &keys),
        );
        assert_eq!((here.status, there.status), (201, 201), "{}", here.text);
        assert_eq!(here.text, there.text);
        let replayed = [&here, &there].map(|answer| answer.header("idempotent-replayed") == "true");
        assert_eq!(
            replayed.iter().filter(|was| **was).count(),
            1,
            "{replayed:?}"
        );

        let path = format!("/v1/orders/{}/items", here.id());
        let keys = [("idempotency-key", &*format!("add-{round}"))];
        let (here, there) = tokio::join!(
            one.post_with(&path, &item, &keys),
            other.post_with(&path, &item, &keys),
        );
        assert_eq!((here.status, there.status), (201, 201), "{}", there.text);
        assert_eq!(here.text, there.text);
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

    // Each client goes on until its line is in: losing every race is answered "try again".
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

    // Each was decided on what the one before had left.
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
async fn a_service_goes_on_where_a_killed_one_was() {
    let (options, name) = fresh_database().await;
    let database = PgPool::connect_with(options).await.unwrap();
    let first = Service::on_shared_servers(&name).await;
    // It relays and projects before there is another one.
    let holders = eventually("the first one holds both leases", || async {
        Some(holders(&database).await).filter(|holders| holders.len() == 2)
    })
    .await;
    let second = Service::on_shared_servers(&name).await;
    let (moved, place_of_first) = watch::channel(first.url.clone());
    let place_of_second = watch::channel(second.url.clone()).1;
    let shop = Shop::new(vec![place_of_first, place_of_second], orders());

    let load = shop.open();
    shop.ledger.progress(MIDDLE).await;
    assert!(!load.is_finished());
    first.kill_9().await;
    // As a load balancer does when it has noticed.
    moved.send(second.url.clone()).unwrap();
    load.await.unwrap();

    assert_orders_are_well(&shop, &database, &servers().nats_url, &name, &second.url).await;
    let successors = self::holders(&database).await;
    assert_eq!(successors.len(), 2);
    assert!(successors.iter().all(|holder| !holders.contains(holder)));
}

/// Who relays and who projects.
async fn holders(database: &PgPool) -> Vec<uuid::Uuid> {
    sqlx::query_scalar(
        "select holder from leases
         where name in ('relay', 'projector') and until > clock_timestamp()",
    )
    .fetch_all(database)
    .await
    .unwrap()
}
