//! Shares of something that there is only so much of: in all, and for one address. So no client alone
//! can take what all need.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How much may be taken at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub total: usize,
    /// By one address (of IPv6: by one /64 network).
    pub per_address: usize,
}

impl Limits {
    /// A limit in all, of which one address may take three quarters.
    #[must_use]
    pub fn shared(total: usize) -> Self {
        Self {
            total,
            per_address: most_of(total),
        }
    }

    /// Lowers both limits, so that at most `total` are taken in all and three quarters of it by one
    /// address.
    #[must_use]
    pub fn at_most(self, total: usize) -> Self {
        let total = self.total.min(total);
        Self {
            total,
            per_address: self.per_address.min(most_of(total)),
        }
    }
}

/// Three quarters, and one at least.
fn most_of(total: usize) -> usize {
    (total.saturating_mul(3) / 4).max(1)
}

/// Counts what is taken. Clones count together.
#[derive(Debug, Clone)]
pub struct Shares {
    limits: Limits,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// What one request or connection has taken, until this is dropped.
#[derive(Debug)]
pub struct Share {
    shares: Shares,
    address: IpAddr,
    amount: usize,
}

impl Shares {
    /// Nothing is taken yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            taken: Arc::default(),
        }
    }

    /// A share of an address, with nothing in it yet.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Share {
        Share {
            shares: self.clone(),
            address,
            amount: 0,
        }
    }

    /// Takes one; `None` where none is left for this address.
    #[must_use]
    pub fn take(&self, address: IpAddr) -> Option<Share> {
        let mut share = self.of(address);
        share.grow(1).then_some(share)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Takes some more. Returns false, and takes nothing, where so much is not left.
    #[must_use]
    pub fn grow(&mut self, by: usize) -> bool {
        let limits = self.shares.limits;
        let mut taken = self.shares.lock();
        let of_address = taken.by_address.get(&self.address).copied().unwrap_or(0);
        let is_left = |taken: usize, limit| taken.saturating_add(by) <= limit;
        if !is_left(taken.total, limits.total) || !is_left(of_address, limits.per_address) {
            return false;
        }
        taken.total += by;
        taken.by_address.insert(self.address, of_address + by);
        self.amount += by;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.amount == 0 {
            return;
        }
        let mut taken = self.shares.lock();
        taken.total -= self.amount;
        if let Some(of_address) = taken.by_address.get_mut(&self.address) {
            *of_address -= self.amount;
            if *of_address == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn shares(total: usize, per_address: usize) -> Shares {
        Shares::new(Limits { total, per_address })
    }

    #[test]
    fn each_address_and_all_together_have_a_limit() {
        let shares = shares(3, 2);

        let mut taken: Vec<_> = [1, 1, 1, 2, 2]
            .map(|last| shares.take(address(last)))
            .into_iter()
            .collect();

        let are_taken = taken.iter().map(Option::is_some);
        assert_eq!(
            are_taken.collect::<Vec<_>>(),
            [true, true, false, true, false]
        );
        drop(taken.remove(0));
        assert!(shares.take(address(2)).is_some());
    }

    #[test]
    fn a_share_that_cannot_grow_keeps_what_it_has() {
        let shares = shares(100, 75);
        let mut share = shares.of(address(1));

        assert!(share.grow(70) && !share.grow(6) && share.grow(5));
        assert!(!shares.of(address(1)).grow(1));
        assert!(shares.of(address(2)).grow(25), "it is given back at once");

        drop(share);
        assert!(shares.of(address(1)).grow(75));
        assert!(shares.lock().by_address.is_empty());
    }

    #[test]
    fn one_address_gets_most_but_not_all() {
        let per_address = |total| Limits::shared(total).per_address;

        assert_eq!([1, 2, 3, 4, 1000].map(per_address), [1, 1, 2, 3, 750]);
        let lowered = Limits::shared(1000).at_most(8);
        assert_eq!(
            lowered,
            Limits {
                total: 8,
                per_address: 6
            }
        );
        assert_eq!(lowered.at_most(100), lowered);
    }
}
