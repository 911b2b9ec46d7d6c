//! NATS away for long, under load: reads with tokens go on.

use std::time::{Duration, Instant};

use futures::future::join_all;
use nix::sys::signal::{Signal, kill};
use reqwest::Client;
use serde_json::json;

use crate::support::service::{DataDir, Service};

/// How long NATS does not answer.
const AWAY: Duration = Duration::from_mins(1);
/// How many clients write and read all the time.
const CLIENTS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_without_nats_delays_less_than_one_read_with_a_token_in_a_hundred() {
    let data = DataDir::new("nats-away");
    let service = Service::embedded(&data).await;
    let nats = data.nats_pid().unwrap();

    kill(nats, Signal::SIGSTOP).unwrap();
    let until = Instant::now() + AWAY;
    let clients = (0..CLIENTS).map(|_| write_and_read(&service.url, until));
    let reads: Vec<Duration> = join_all(clients).await.concat();
    kill(nats, Signal::SIGCONT).unwrap();

    let late = reads.iter().filter(|took| **took > Duration::from_secs(1));
    let (late, all) = (late.count(), reads.len());
    eprintln!("{late} of {all} reads took more than a second");
    assert!(all > 100, "{all} reads");
    assert!(late * 100 <= all, "{late} of {all} reads took too long");
}

/// Places orders and reads each with the token of its answer. Returns how long the reads took.
async fn write_and_read(url: &str, until: Instant) -> Vec<Duration> {
    let (http, mut reads) = (Client::new(), vec![]);
    while Instant::now() < until {
        let order = json!({"customerId": "customer-1"});
        let placed = http
            .post(format!("{url}/v1/orders"))
            .json(&order)
            .send()
            .await
            .unwrap();
        assert_eq!(placed.status(), 201);
        let path = placed.headers()["location"].to_str().unwrap().to_owned();
        let token = placed.headers()["consistency-token"].clone();
        let began = Instant::now();
        let read = http
            .get(format!("{url}{path}"))
            .header("consistency-token", token)
            .header("prefer", "wait=10")
            .send()
            .await
            .unwrap();
        assert_eq!(read.status(), 200);
        reads.push(began.elapsed());
    }
    reads
}
