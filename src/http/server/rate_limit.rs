//! So many requests a second for each address (generic cell rate algorithm, by `governor`).

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// How often addresses that have been silent are forgotten.
const SWEEP: Duration = Duration::from_mins(1);

/// Where a request comes from: the other end of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Counts requests by address. Each may have a second's worth of them at once.
#[derive(Debug)]
pub struct RateLimit {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    swept: Mutex<Instant>,
}

impl RateLimit {
    /// So many requests a second.
    #[must_use]
    pub fn new(per_second: NonZeroU32) -> Self {
        Self {
            limiter: RateLimiter::keyed(Quota::per_second(per_second)),
            swept: Mutex::new(Instant::now()),
        }
    }

    /// Counts a request; `false` where it is one too many.
    #[must_use]
    pub fn admits(&self, client: ClientAddress) -> bool {
        self.sweep();
        self.limiter.check_key(&client.who()).is_ok()
    }

    /// Keeps the memory to those who were here lately.
    fn sweep(&self) {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.elapsed() >= SWEEP {
            *swept = Instant::now();
            drop(swept);
            self.limiter.retain_recent();
        }
    }
}

impl ClientAddress {
    /// Who is counted as one: an address, and of IPv6 the network, which is what one customer gets.
    fn who(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address @ IpAddr::V4(_) => address,
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
    fn each_address_has_a_seconds_worth_at_once() {
        // So few a second that the test cannot be slow enough for one more.
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

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let who = |address: &str| client(address).who();

        assert_eq!(who("2001:db8:0:1::1"), who("2001:db8:0:1:ffff::2"));
        assert_ne!(who("2001:db8:0:1::1"), who("2001:db8:0:2::1"));
    }
}
