//! NATS stopped or killed: commands are accepted, and only reads are delayed.

use nix::sys::signal::{Signal, kill};
use reqwest::Client;
use serde_json::Value;

use super::{MIDDLE, assert_all_is_well, orders};
use crate::support::{
    connect_to_nats, eventually,
    service::{DataDir, Service},
    shop::{Outcome, Shop},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_nats_delays_no_read() {
    let data = DataDir::new("nats-stopped");
    let service = Service::embedded(&data).await;
    let shop = Shop::at(&service.url, orders());
    let nats = data.nats_pid().unwrap();

    let load = shop.open();
    shop.ledger.progress(MIDDLE).await;
    kill(nats, Signal::SIGSTOP).unwrap();
    assert!(!load.is_finished());
    load.await.unwrap();

    // Every command was accepted at the first attempt.
    assert_eq!(shop.ledger.count(|o| !matches!(o, Outcome::Done(_))), 0);
    let (status, read) = read_last_write(&shop, &service.url).await;
    assert_eq!(status, 200, "{read}");
    // The NATS client notices the missing answers to its pings first.
    let ready = format!("{}/health/ready", service.url);
    eventually("readiness is degraded", || async {
        let answer = reqwest::get(&ready).await.unwrap();
        assert_eq!(answer.status(), 200);
        let ready: Value = answer.json().await.unwrap();
        (ready["status"] == "degraded").then_some(())
    })
    .await;

    kill(nats, Signal::SIGCONT).unwrap();

    assert_all_is_well(&shop, &data, &service.url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_that_is_killed_again_and_again_loses_nothing() {
    let data = DataDir::new("nats-killed");
    let service = Service::embedded(&data).await;
    let shop = Shop::at(&service.url, orders());

    let load = shop.open();
    for _ in 0..2 {
        shop.ledger.progress(MIDDLE).await;
        let killed = eventually("NATS runs", async || data.nats_pid()).await;
        kill(killed, Signal::SIGKILL).unwrap();
        eventually("NATS was restarted", || async {
            let is_ready = connect_to_nats(&data.nats_url()?).await.is_ok();
            data.nats_pid().filter(|pid| is_ready && *pid != killed)
        })
        .await;
    }
    load.await.unwrap();

    assert_eq!(shop.ledger.count(|o| !matches!(o, Outcome::Done(_))), 0);
    assert_all_is_well(&shop, &data, &service.url).await;
}

/// Reads an order with the token of the last write.
async fn read_last_write(shop: &Shop, url: &str) -> (u16, Value) {
    let token = shop.ledger.token.lock().unwrap().clone();
    let order = *shop.ledger.orders.lock().unwrap().values().next().unwrap();
    let answer = Client::new()
        .get(format!("{url}/v1/orders/{order}"))
        .header("consistency-token", token)
        .header("prefer", "wait=1")
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}
