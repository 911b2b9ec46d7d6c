//! Two services, restarted one after the other under load.

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

/// The clients accept 2xx, retryable 503 and a refused connection. With every attempt they change
/// to the other service, as behind a load balancer without health checks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_answers_every_command_that_it_stores() {
    let (options, name) = fresh_database().await;
    let database = PgPool::connect_with(options).await.unwrap();
    let mut running = vec![];
    let mut urls = vec![];
    for _ in 0..2 {
        let service = Service::on_shared_servers(&name).await;
        let (set_url, url) = watch::channel(service.url.clone());
        running.push((service, set_url));
        urls.push(url);
    }
    let shop = Shop::new(urls, orders());
    let load = shop.open();

    for (service, set_url) in &mut running {
        shop.ledger.progress(MIDDLE).await;
        assert!(!load.is_finished());
        service.signal(Signal::SIGTERM);
        let status = service.ended(STOP_LIMIT).await;
        assert_eq!(status.code(), Some(0), "{status}");
        *service = Service::on_shared_servers(&name).await;
        set_url.send(service.url.clone()).unwrap();
    }
    load.await.unwrap();

    // No command was stored without an answer to its client.
    truth::assert_everything_stored_was_answered(&shop, &database).await;
    let url = &running[1].0.url;
    assert_orders_are_well(&shop, &database, &servers().nats_url, &name, url).await;
}
