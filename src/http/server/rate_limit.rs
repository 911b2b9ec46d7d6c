//! Limits the requests a second of each address (generic cell rate algorithm, by `governor`).

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::http::request::client::ClientAddress;

/// How often addresses without recent requests are removed from memory.
const SWEEP: Duration = Duration::from_mins(1);

/// Counts requests by address. An address may send all requests of a second at once.
#[derive(Debug)]
pub struct RateLimit {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    swept: Mutex<Instant>,
}

impl RateLimit {
    /// Allows each address `per_second` requests a second.
    #[must_use]
    pub fn new(per_second: NonZeroU32) -> Self {
        Self {
            limiter: RateLimiter::keyed(Quota::per_second(per_second)),
            swept: Mutex::new(Instant::now()),
        }
    }

    /// Counts a request. Returns false if it exceeds the limit.
    #[must_use]
    pub fn admits(&self, client: ClientAddress) -> bool {
        self.sweep();
        self.limiter.check_key(&client.network()).is_ok()
    }

    /// Removes addresses without recent requests, once a minute.
    fn sweep(&self) {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.elapsed() >= SWEEP {
            *swept = Instant::now();
            drop(swept);
            self.limiter.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> ClientAddress {
        ClientAddress(address.parse().unwrap())
    }

    #[test]
    fn each_address_may_send_the_requests_of_a_second_at_once() {
        // The limit allows one more request an hour, so a slow test does not change the result.
        let limit = RateLimit {
            limiter: RateLimiter::keyed(
                Quota::with_period(Duration::from_hours(1))
                    .unwrap()
                    .allow_burst(NonZeroU32::new(3).unwrap()),
            ),
            swept: Mutex::new(Instant::now()),
        };

        let admitted = [(); 5].map(|()| limit.admits(client("192.0.2.1")));

        assert_eq!(admitted, [true, true, true, false, false]);
        assert!(limit.admits(client("192.0.2.2")));
        assert!(!limit.admits(client("::ffff:192.0.2.1")));
    }
}
