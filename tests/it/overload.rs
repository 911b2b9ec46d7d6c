//! Overload: the service refuses the commands that it cannot queue and answers the others. `make
//! overload` runs it for ten minutes, and then memory must not grow either.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::Client;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::support::service::{DataDir, Service};

/// The number of clients. Each sends its next request as soon as the last one is answered.
const CLIENTS: u64 = 600;
/// The test ends when at least so many requests were answered (more than the cache holds) and
/// refused (more than the queue holds).
const MIN_ANSWERED: u64 = 3000;
const MIN_REFUSED: u64 = 300;
/// `ORDERS_WRITE_QUEUE`: fewer commands than there are clients.
const QUEUE: &str = "128";
/// `ORDERS_CACHED_ORDERS`: few, so that the cache is full long before the end.
const CACHED: &str = "2000";
/// How much longer than `SECONDS_OF_OVERLOAD` the test may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often the memory is measured.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// How many samples are printed as one line.
const SAMPLES_PER_LINE: usize = 30;

/// The answers that the clients have received.
#[derive(Default)]
struct Answers {
    is_over: AtomicBool,
    done: AtomicU64,
    refused: AtomicU64,
}

impl Answers {
    /// One client: places orders, and lists its orders with every eighth request.
    async fn client(self: Arc<Self>, number: u64, client: Client, url: String) {
        let order = json!({"customerId": format!("c{number}"), "items": [
            {"productId": "p", "quantity": 1, "price": "1.50"}]});
        for turn in 0_u64.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let request = if turn % 8 == number % 8 {
                client.get(format!("{url}/v1/orders?customerId=c{number}"))
            } else {
                client.post(format!("{url}/v1/orders")).json(&order)
            };
            let answer = request.send().await.expect("an answer");
            match answer.status().as_u16() {
                200 | 201 => &self.done,
                503 => {
                    assert!(answer.headers().contains_key("retry-after"));
                    &self.refused
                }
                status => panic!("{status}"),
            }
            .fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_enough(&self) -> bool {
        self.done.load(Ordering::Relaxed) >= MIN_ANSWERED
            && self.refused.load(Ordering::Relaxed) >= MIN_REFUSED
    }
}

fn mean(sizes: &[u64]) -> u64 {
    sizes.iter().sum::<u64>() / sizes.len() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn excess_commands_are_refused_and_memory_does_not_grow() {
    let seconds = env::var("SECONDS_OF_OVERLOAD").map_or(0, |text| text.parse().unwrap());
    let data = DataDir::new("overload");
    let settings = [
        ("ORDERS_WRITE_QUEUE", QUEUE),
        ("ORDERS_CACHED_ORDERS", CACHED),
    ];
    let mut service = Service::embedded_with(&data, &settings).await;
    let answers = Arc::new(Answers::default());
    let client = Client::new();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let answers = Arc::clone(&answers);
        clients.spawn(answers.client(number, client.clone(), service.url.clone()));
    }

    let started = Instant::now();
    let mut sizes = vec![];
    while started.elapsed() < Duration::from_secs(seconds) || !answers.is_enough() {
        assert!(started.elapsed() < Duration::from_secs(seconds) + PATIENCE);
        sleep(SAMPLE_INTERVAL).await;
        sizes.push(service.resident_kib());
        if sizes.len() % SAMPLES_PER_LINE == 0 {
            let (done, refused) = (&answers.done, &answers.refused);
            eprintln!(
                "{:4} s: {:6} KiB resident, {} answered, {} refused",
                started.elapsed().as_secs(),
                mean(&sizes[sizes.len() - SAMPLES_PER_LINE..]),
                done.load(Ordering::Relaxed),
                refused.load(Ordering::Relaxed),
            );
        }
    }
    answers.is_over.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.expect("every answer is 2xx, or 503 with Retry-After");
    }

    assert!(service.is_running());
    let third = sizes.len() / 3;
    // While the cache fills, memory grows.
    if third >= SAMPLES_PER_LINE {
        let (second, last) = (mean(&sizes[third..2 * third]), mean(&sizes[2 * third..]));
        eprintln!("{second} KiB in the second third, {last} KiB in the last");
        assert!(last * 5 <= second * 6, "memory grows by more than a fifth");
    }
}
