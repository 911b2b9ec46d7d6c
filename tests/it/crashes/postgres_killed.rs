//! PostgreSQL killed, and its answers lost: commands answer 2xx or "try again", and nothing else.

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
async fn a_killed_postgresql_loses_and_doubles_nothing() {
    let data = DataDir::new("postgres-killed");
    let mut service = Service::embedded(&data).await;
    let shop = Shop::at(&service.url, orders());

    let load = shop.open();
    for _ in 0..2 {
        shop.ledger.progress(MIDDLE).await;
        assert!(!load.is_finished());
        let killed = eventually("PostgreSQL runs", async || data.postgres_pid()).await;
        kill(killed, Signal::SIGKILL).unwrap();
        eventually("another PostgreSQL runs", || async {
            data.postgres_pid().filter(|pid| *pid != killed)
        })
        .await;
    }
    // The clients accept 2xx and retryable 503 only.
    load.await.unwrap();

    assert!(service.is_running());
    assert_all_is_well(&shop, &data, &service.url).await;
}

/// What is stored though its answer never came, which a kill hits by luck only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_of_postgresql_double_nothing() {
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
async fn a_command_whose_outcome_cannot_be_learnt_is_answered_so_and_can_be_repeated() {
    let (app, network) = app_behind_a_lossy_network().await;
    let item = json!({"productId": "22423", "quantity": 1, "price": "12.75"});
    let order = json!({"customerId": "17850.0", "currency": "GBP", "items": [item]});
    let create = async |key| {
        app.post_with("/v1/orders", &order, &[("idempotency-key", key)])
            .await
    };
    // The connection is there, and the statement known to it.
    assert_eq!(create("first").await.status, 201);

    network.set(Mode::CutAfter(1));
    let unknown = create("second").await;
    // By now there is no connection: what is not sent is certainly not applied.
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
    let repeated = eventually("PostgreSQL is known to be back", || async {
        let answer = create("second").await;
        (answer.status != 503).then_some(answer)
    })
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

pub async fn app_behind_a_lossy_network() -> (TestApp, Proxy) {
    let mut network = None;
    let app = TestApp::start_with(|config| {
        let Servers::Given { database_url, .. } = &mut config.servers else {
            panic!("the tests' servers are given");
        };
        let (proxy, through) = Proxy::to_postgres(database_url);
        *database_url = through;
        network = Some(proxy);
        // So few that one which keeps its place without need is missed.
        config.database_connections = 3;
    })
    .await;
    (app, network.expect("the servers are configured"))
}
