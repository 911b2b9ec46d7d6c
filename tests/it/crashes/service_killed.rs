//! `kill -9` of the service.

use nix::sys::signal::{Signal, kill};
use tokio::sync::watch;

use super::{MIDDLE, assert_all_is_well, orders};
use crate::support::{
    service::{DataDir, Service, assert_gone},
    shop::{Outcome, Shop},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_killed_in_the_middle_of_orders_loses_and_doubles_nothing() {
    let data = DataDir::new("killed");
    let mut service = Service::embedded(&data).await;
    let (moved, place) = watch::channel(service.url.clone());
    let shop = Shop::new(vec![place], orders());
    let load = shop.open();

    for _ in 0..2 {
        shop.ledger.progress(MIDDLE).await;
        assert!(!load.is_finished());
        let servers = service.descendants().await;
        service.kill_9().await;
        // The next start comes at once, while the servers of the killed one may still be ending.
        service = Service::embedded(&data).await;
        assert_gone(&servers).await;
        moved.send(service.url.clone()).unwrap();
    }
    load.await.unwrap();

    assert!(shop.ledger.count(|outcome| outcome == Outcome::Unknown) > 0);
    assert_all_is_well(&shop, &data, &service.url).await;
}

/// A service that dies while one of its servers is stopped: the kernel wakes that server and hangs
/// up on its process group, supervisors included. Here the hang-up comes first, not by luck.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_killed_while_nats_is_stopped_leaves_no_server_behind() {
    let data = DataDir::new("killed-while-stopped");
    let service = Service::embedded(&data).await;
    let servers = service.descendants().await;
    kill(data.nats_pid().unwrap(), Signal::SIGSTOP).unwrap();
    let supervisors: Vec<_> = servers.iter().filter(|one| one.name == "sh").collect();
    assert!(supervisors.len() >= 2, "{servers:?}");
    for supervisor in supervisors {
        supervisor.signal(Signal::SIGHUP);
    }

    service.kill_9().await;

    assert_gone(&servers).await;
}
