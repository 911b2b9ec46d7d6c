//! How many connections there may be: in all, and from one address. Beyond that a few more are taken
//! that may only ask for health, so that a full service can still say that it lives.

use crate::http::request::{
    client::ClientAddress,
    shares::{Limits, Share, Shares},
};

/// How many connections may ask for health while all others are taken.
const HEALTH_ONLY: usize = 32;

/// Marks a request on a connection that may only ask for health, because there are too many others.
#[derive(Debug, Clone, Copy)]
pub struct HealthOnly;

/// The connections that are open.
#[derive(Debug, Clone)]
pub struct Connections {
    all: Shares,
    health_only: Shares,
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
    _share: Share,
}

impl Connections {
    /// Counts connections up to these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let health_only = Limits {
            total: HEALTH_ONLY,
            per_address: HEALTH_ONLY,
        };
        Self {
            all: Shares::new(limits),
            health_only: Shares::new(health_only),
        }
    }

    /// Counts a connection; `None` where there is no room for it, not even to ask for health.
    #[must_use]
    pub fn admit(&self, client: ClientAddress) -> Option<Admitted> {
        let address = client.network();
        let all = self.all.take(address).map(|share| (Access::All, share));
        let admitted = all.or_else(|| {
            let share = self.health_only.take(address)?;
            Some((Access::HealthOnly, share))
        });
        let (access, share) = admitted?;
        metrics::gauge!("orders_connections").increment(1.0);
        Some(Admitted {
            access,
            _share: share,
        })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        metrics::gauge!("orders_connections").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn client(last: u8) -> ClientAddress {
        ClientAddress(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn beyond_the_limit_a_few_may_ask_for_health_and_then_none() {
        let connections = Connections::new(Limits {
            total: 1,
            per_address: 1,
        });
        let first = connections.admit(client(1));

        let kept: Vec<_> = (0..HEALTH_ONLY)
            .map(|_| connections.admit(client(1)))
            .collect();

        let access = |admitted: &Option<Admitted>| admitted.as_ref().map(|one| one.access);
        assert_eq!(access(&first), Some(Access::All));
        let all_health_only = |one| access(one) == Some(Access::HealthOnly);
        assert!(kept.iter().all(all_health_only));
        assert!(connections.admit(client(2)).is_none());
        drop(kept);
        assert_eq!(
            access(&connections.admit(client(2))),
            Some(Access::HealthOnly)
        );
        drop(first);
        assert_eq!(access(&connections.admit(client(2))), Some(Access::All));
    }
}
