//! Live streams while the service and PostgreSQL are killed: a client that reconnects with the last
//! id that it has seen misses no event and sees none twice.

use std::{sync::Arc, time::Duration};

use nix::sys::signal::{Signal, kill};
use reqwest::Client;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::{MIDDLE, orders};
use crate::support::{
    EventSource, PATIENCE, eventually,
    service::{DataDir, Service},
    shop::Shop,
};

/// The order that ends the streams.
const LAST: Uuid = Uuid::from_u128(0x019a_af00_0000_7000_8000_0000_0000_ffff);

/// Reads the stream until it shows the last order. Reconnects with the last id whenever the stream
/// ends, as a browser does. Returns the positions it has seen, and how often the stream ended.
async fn follow(mut current_url: watch::Receiver<String>) -> (Vec<i64>, usize) {
    let client = Client::new();
    let (mut seen, mut breaks): (Vec<i64>, usize) = (vec![], 0);
    loop {
        let url = format!(
            "{}/v1/orders/stream",
            current_url.borrow_and_update().clone()
        );
        let last = seen.last().copied().unwrap_or_default();
        let request = client.get(url).header("last-event-id", last);
        match request.send().await {
            // 503: without PostgreSQL the service cannot tell where a stream begins.
            Ok(response) if response.status() != 503 => {
                let mut stream = EventSource::open(response).await;
                while let Some(message) = stream.next().await {
                    assert_ne!(message.event, "resync");
                    seen.push(message.position());
                    if message.data["orderId"] == json!(LAST) {
                        return (seen, breaks);
                    }
                }
                breaks += 1;
            }
            _ => sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reconnects_misses_no_event_and_sees_none_twice() {
    let data = DataDir::new("streams");
    let mut service = Service::embedded(&data).await;
    let (set_url, current_url) = watch::channel(service.url.clone());
    let followers: Vec<_> = (0..3)
        .map(|_| tokio::spawn(follow(current_url.clone())))
        .collect();
    eventually("the streams are counted", || async {
        let metrics = reqwest::get(format!("{}/metrics", service.url)).await;
        let metrics = metrics.unwrap().text().await.unwrap();
        metrics.contains("\norders_streams 3\n").then_some(())
    })
    .await;
    let shop = Shop::new(vec![current_url], orders());
    let load = Arc::clone(&shop).open();

    shop.ledger.progress(MIDDLE).await;
    service.kill_9().await;
    service = Service::embedded(&data).await;
    set_url.send(service.url.clone()).unwrap();
    shop.ledger.progress(MIDDLE).await;
    kill(data.postgres_pid().unwrap(), Signal::SIGKILL).unwrap();
    load.await.unwrap();

    let last = json!({"id": LAST, "customerId": "17850"});
    eventually("the last order is placed", || async {
        let url = format!("{}/v1/orders", service.url);
        let placed = Client::new().post(url).json(&last).send().await.unwrap();
        placed.status().is_success().then_some(())
    })
    .await;

    let stored = sqlx::query_scalar::<_, i64>("select position from events order by position");
    let stored = stored.fetch_all(&data.database()).await.unwrap();
    for follower in followers {
        let followed = timeout(PATIENCE, follower).await;
        let (seen, breaks) = followed.expect("the stream shows the last order").unwrap();
        assert_eq!(seen, stored);
        assert!(breaks > 0);
    }
}
