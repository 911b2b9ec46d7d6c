//! How many connections there may be: in all, and from one address. Beyond that a few more are taken
//! that may only ask for health, so that a full service can still say that it lives.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::rate_limit::ClientAddress;

/// How many connections may ask for health while all others are taken.
const HEALTH_ONLY: usize = 32;

/// Limits on the number of connections.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// In all.
    pub total: usize,
    /// From one address (of IPv6: from one /64 network).
    pub per_address: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            total: 10_000,
            per_address: 2000,
        }
    }
}

/// Marks a request on a connection that may only ask for health, because there are too many others.
#[derive(Debug, Clone, Copy)]
pub struct HealthOnly;

/// The connections that are open.
#[derive(Debug, Clone)]
pub struct Connections {
    limits: ConnectionLimits,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    health_only: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// What a connection may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    All,
    /// Health only: there are too many connections.
    HealthOnly,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub struct Admitted {
    /// What it may ask for.
    pub access: Access,
    address: IpAddr,
    connections: Connections,
}

impl Connections {
    /// Counts connections up to these limits.
    #[must_use]
    pub fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            open: Arc::default(),
        }
    }

    /// Counts a connection; `None` where there is no room for it, not even to ask for health.
    #[must_use]
    pub fn admit(&self, client: ClientAddress) -> Option<Admitted> {
        let address = client.network();
        let mut open = self.lock();
        let of_address = open.by_address.get(&address).copied().unwrap_or(0);
        let access = if open.total < self.limits.total && of_address < self.limits.per_address {
            open.total += 1;
            *open.by_address.entry(address).or_insert(0) += 1;
            Access::All
        } else if open.health_only < HEALTH_ONLY {
            open.health_only += 1;
            Access::HealthOnly
        } else {
            return None;
        };
        metrics::gauge!("orders_connections").increment(1.0);
        Some(Admitted {
            access,
            address,
            connections: self.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        metrics::gauge!("orders_connections").decrement(1.0);
        let mut open = self.connections.lock();
        match self.access {
            Access::All => {
                open.total -= 1;
                if let Some(count) = open.by_address.get_mut(&self.address) {
                    *count -= 1;
                    if *count == 0 {
                        open.by_address.remove(&self.address);
                    }
                }
            }
            Access::HealthOnly => open.health_only -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> ClientAddress {
        ClientAddress(IpAddr::from([192, 0, 2, last]))
    }

    fn access(admitted: Option<&Admitted>) -> Option<Access> {
        admitted.map(|admitted| admitted.access)
    }

    #[test]
    fn each_address_and_all_together_have_a_limit() {
        let limits = ConnectionLimits {
            total: 3,
            per_address: 2,
        };
        let connections = Connections::new(limits);

        let mut first: Vec<_> = (0..3).map(|_| connections.admit(client(1))).collect();
        let second: Vec<_> = (0..2).map(|_| connections.admit(client(2))).collect();

        let accesses = first.iter().chain(&second).map(Option::as_ref).map(access);
        let [all, health] = [Some(Access::All), Some(Access::HealthOnly)];
        assert_eq!(
            accesses.collect::<Vec<_>>(),
            [all, all, health, all, health]
        );

        drop(first.remove(0));
        assert_eq!(access(connections.admit(client(2)).as_ref()), all);
    }

    #[test]
    fn beyond_the_limit_a_few_may_ask_for_health_and_then_none() {
        let limits = ConnectionLimits {
            total: 0,
            per_address: 1,
        };
        let connections = Connections::new(limits);

        let kept: Vec<_> = (0..HEALTH_ONLY)
            .map(|_| connections.admit(client(1)))
            .collect();

        assert!(kept.iter().all(Option::is_some));
        assert!(connections.admit(client(2)).is_none());
        drop(kept);
        assert!(connections.admit(client(2)).is_some());
    }
}
