//! More than the service can take: it refuses what it cannot take, and answers the rest. For ten minutes
//! (`make overload`) its memory does not grow either.

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

/// How many clients send at once, each its next request as soon as the last one is answered.
const CLIENTS: u64 = 600;
/// How much is answered at least (more orders than are kept in memory), and how much refused (more than
/// may wait), however long it takes.
const ANSWERED: u64 = 3000;
const REFUSED: u64 = 300;
/// How many commands may wait: fewer than there are clients.
const QUEUE: &str = "128";
/// How many orders are kept in memory: the cache is to be full long before the end.
const CACHED: &str = "2000";
/// How much longer that may take than was asked for.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often the memory is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How many looks are a line.
const LINE: usize = 30;

/// What the clients were answered.
#[derive(Default)]
struct Count {
    is_over: AtomicBool,
    done: AtomicU64,
    refused: AtomicU64,
}

impl Count {
    /// One client: mostly places orders, and now and then looks at the newest ones.
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
        self.done.load(Ordering::Relaxed) >= ANSWERED
            && self.refused.load(Ordering::Relaxed) >= REFUSED
    }
}

fn mean(sizes: &[u64]) -> u64 {
    sizes.iter().sum::<u64>() / sizes.len() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_refused_and_memory_stays_flat() {
    let seconds = env::var("SECONDS_OF_OVERLOAD").map_or(0, |text| text.parse().unwrap());
    let data = DataDir::new("overload");
    let settings = [
        ("ORDERS_WRITE_QUEUE", QUEUE),
        ("ORDERS_CACHED_ORDERS", CACHED),
    ];
    let mut service = Service::embedded_with(&data, &settings).await;
    let count = Arc::new(Count::default());
    let client = Client::new();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let count = Arc::clone(&count);
        clients.spawn(count.client(number, client.clone(), service.url.clone()));
    }

    let began = Instant::now();
    let mut sizes = vec![];
    while began.elapsed() < Duration::from_secs(seconds) || !count.is_enough() {
        assert!(began.elapsed() < Duration::from_secs(seconds) + PATIENCE);
        sleep(LOOK).await;
        sizes.push(service.resident_kib());
        if sizes.len() % LINE == 0 {
            let (done, refused) = (&count.done, &count.refused);
            eprintln!(
                "{:4} s: {:6} KiB resident, {} answered, {} refused",
                began.elapsed().as_secs(),
                mean(&sizes[sizes.len() - LINE..]),
                done.load(Ordering::Relaxed),
                refused.load(Ordering::Relaxed),
            );
        }
    }
    count.is_over.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.expect("every answer is one that a client can take");
    }

    assert!(service.is_running());
    let third = sizes.len() / 3;
    // Until the cache is full, memory has reason to grow.
    if third >= LINE {
        let (second, last) = (mean(&sizes[third..2 * third]), mean(&sizes[2 * third..]));
        eprintln!("{second} KiB in the second third, {last} KiB in the last");
        assert!(last * 5 <= second * 6, "memory grows by more than a fifth");
    }
}
