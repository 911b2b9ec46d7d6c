//! Two services replaced one after the other, under load.

use nix::sys::signal::Signal;
use sqlx::PgPool;
use tokio::sync::watch;

use super::{MIDDLE, STOP_LIMIT, assert_orders_are_well, orders};
use crate::support::{
    servers::{fresh_database, servers},
    service::Service,
    shop::Shop,
    truth,
};

/// The clients take 2xx, retryable 503 and a connection that is not there; each of them goes from
/// one service to the other with every attempt, as behind a load balancer that knows nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_answers_everything_that_it_takes() {
    let (options, name) = fresh_database().await;
    let database = PgPool::connect_with(options).await.unwrap();
    let mut running = vec![];
    let mut places = vec![];
    for _ in 0..2 {
        let service = Service::on_shared_servers(&name).await;
        let (moved, place) = watch::channel(service.url.clone());
        running.push((service, moved));
        places.push(place);
    }
    let shop = Shop::new(places, orders());
    let load = shop.open();

    for (service, moved) in &mut running {
        shop.ledger.progress(MIDDLE).await;
        assert!(!load.is_finished());
        service.signal(Signal::SIGTERM);
        let status = service.ended(STOP_LIMIT).await;
        assert_eq!(status.code(), Some(0), "{status}");
        *service = Service::on_shared_servers(&name).await;
        moved.send(service.url.clone()).unwrap();
    }
    load.await.unwrap();

    // Not one command was stored without its client being told.
    truth::assert_everything_stored_was_answered(&shop, &database).await;
    let url = &running[1].0.url;
    assert_orders_are_well(&shop, &database, &servers().nats_url, &name, url).await;
}
