//! PostgreSQL killed, and its answers lost: commands answer 2xx or "try again", and nothing else.

use std::sync::atomic::Ordering;

use nix::sys::signal::{Signal, kill};
use orders::config::Servers;

use super::{MIDDLE, assert_all_is_well, orders};
use crate::support::{
    TestApp, eventually,
    lossy::LossyDatabase,
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
        let killed = data.postgres_pid();
        kill(killed, Signal::SIGKILL).unwrap();
        eventually("another PostgreSQL runs", || async {
            (data.postgres_pid() != killed).then_some(())
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
    let lossy = LossyDatabase::new();
    let app = TestApp::start_with(|config| {
        let Servers::Given { database_url, .. } = &mut config.servers else {
            panic!("the tests' servers are given");
        };
        *database_url = lossy.in_front_of(database_url);
    })
    .await;
    let shop = Shop::at(&app.url, orders());

    lossy.loses.store(true, Ordering::Relaxed);
    let load = shop.open();
    load.await.unwrap();
    lossy.loses.store(false, Ordering::Relaxed);

    let lost = lossy.lost.load(Ordering::Relaxed);
    assert!(lost > 10, "only {lost} answers were lost");
    truth::caught_up(&app.database).await;
    truth::assert_store_is_what_was_acknowledged(&shop, &app.database).await;
    truth::assert_views_are_what_the_file_says(&shop, &app.url).await;
    app.stop().await;
}
