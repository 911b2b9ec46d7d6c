//! PostgreSQL killed, or its answers lost: commands are answered with 2xx or a retryable 503 only.

use nix::sys::signal::{Signal, kill};
use orders::app::config::Servers;
use serde_json::json;

use super::{MIDDLE, assert_all_is_well, orders};
use crate::support::{
    TestApp, eventually,
    proxy::{Mode, Proxy},
    service::{DataDir, Service},
    shop::Shop,
    truth,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_postgresql_loses_no_command_and_applies_none_twice() {
    let data = DataDir::new("postgres-killed");
    let mut service = Service::embedded(&data).await;
    let shop = Shop::at(&service.url, orders());

    let load = shop.open();
    for _ in 0..2 {
        shop.ledger.progress(MIDDLE).await;
        assert!(!load.is_finished());
        let killed = eventually("PostgreSQL runs", async || data.postgres_pid()).await;
        kill(killed, Signal::SIGKILL).unwrap();
        eventually("PostgreSQL was restarted", || async {
            data.postgres_pid().filter(|pid| *pid != killed)
        })
        .await;
    }
    // The clients accept only 2xx and retryable 503.
    load.await.unwrap();

    assert!(service.is_running());
    assert_all_is_well(&shop, &data, &service.url).await;
}

/// Commands that are stored although the answer is lost. A kill reaches that moment only by chance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_of_postgresql_apply_no_command_twice() {
    let (app, network) = app_behind_a_lossy_network().await;
    let shop = Shop::at(&app.url, orders());

    network.set(Mode::CutAfter(25));
    shop.open().await.unwrap();
    network.set(Mode::Pass);
    let lost = network.lost();

    assert!(lost > 10, "only {lost} answers were lost");
    truth::caught_up(&app.database).await;
    truth::assert_store_is_what_was_acknowledged(&shop, &app.database).await;
    truth::assert_views_are_what_the_file_says(&shop, &app.url).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_with_an_unknown_outcome_is_answered_with_timeout_and_can_be_repeated() {
    let (app, network) = app_behind_a_lossy_network().await;
    let item = json!({"productId": "22423", "quantity": 1, "price": "12.75"});
    let order = json!({"customerId": "17850.0", "currency": "GBP", "items": [item]});
    let create = async |key| {
        app.post_with("/v1/orders", &order, &[("idempotency-key", key)])
            .await
    };
    // Now the connection exists and has prepared the statement.
    assert_eq!(create("first").await.status, 201);

    network.set(Mode::CutAfter(1));
    let unknown = create("second").await;
    // Now there is no connection: a command that is not sent is certainly not applied.
    let unsent = create("third").await;
    network.set(Mode::Pass);

    assert_eq!((unknown.status, &*unknown.code()), (503, "timeout"));
    assert_eq!((unsent.status, &*unsent.code()), (503, "store_unavailable"));
    let stored = "select count(*) from events";
    let stored = || async {
        sqlx::query_scalar::<_, i64>(stored)
            .fetch_one(&app.database)
            .await
    };
    assert_eq!(stored().await.unwrap(), 2);
    let repeated = eventually(
        "the service has noticed that PostgreSQL answers again",
        || async {
            let answer = create("second").await;
            (answer.status != 503).then_some(answer)
        },
    )
    .await;
    assert_eq!(
        (repeated.status, repeated.header("idempotent-replayed")),
        (201, "true")
    );
    let repeated = create("third").await;
    assert_eq!(
        (repeated.status, repeated.header("idempotent-replayed")),
        (201, "")
    );
    assert_eq!(stored().await.unwrap(), 3);
    app.stop().await;
}

/// A service whose connections to PostgreSQL pass through a proxy.
pub async fn app_behind_a_lossy_network() -> (TestApp, Proxy) {
    let mut network = None;
    let app = TestApp::start_with(|config| {
        let Servers::Given { database_url, .. } = &mut config.servers else {
            panic!("the tests use given servers");
        };
        let (proxy, through) = Proxy::to_postgres(database_url);
        *database_url = through;
        network = Some(proxy);
        // So few that the test fails if one of them is never returned to the pool.
        config.database_connections = 3;
    })
    .await;
    (app, network.expect("the servers are configured"))
}
