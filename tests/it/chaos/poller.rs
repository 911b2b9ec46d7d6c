//! Readers that poll orders without tokens. Each asks one instance only, so that the checker sees
//! whether the reads of an instance go back.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{sync::watch, time::sleep};

use super::{client::Client, history::Consistency, workload::Shared};

/// The longest pause between two reads, in milliseconds.
const LONGEST_PAUSE: u64 = 6;
/// How many of the newest shared orders are polled: those that other clients change now.
const NEWEST: usize = 4;

/// A reader of one instance.
pub struct Poller {
    random: StdRng,
    client: Client,
    instance: usize,
    shared: Shared,
}

impl Poller {
    /// The reader with this number in the round of this seed.
    pub fn new(seed: u64, number: u64, client: Client, shared: Shared) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed.wrapping_mul(2003).wrapping_add(number)),
            client,
            instance: usize::from(number % 2 == 1),
            shared,
        }
    }

    /// Reads until it is told to stop.
    pub async fn run(mut self, stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let pause = self.random.random_range(0..=LONGEST_PAUSE);
            sleep(Duration::from_millis(pause)).await;
            let order = {
                let shared = self.shared.lock().unwrap();
                let newest = shared.len().saturating_sub(NEWEST);
                shared
                    .get(self.random.random_range(newest..=shared.len()))
                    .copied()
            };
            if let Some(order) = order {
                self.client
                    .read(self.instance, order, Consistency::Nothing)
                    .await;
            }
        }
    }
}
