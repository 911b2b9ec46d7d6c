//! Locks within one process: commands on one aggregate run one after the other, and an idempotency
//! key is used by one command at a time.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use uuid::Uuid;

use super::store::IdempotencyKey;

/// How many bytes of state count as one aggregate in the cache. A larger state counts as several.
/// The cache entry itself takes about half as much again.
const ORDINARY_WEIGHT: usize = 1024;

/// The locks of aggregates. Each lock holds a value that its last owner left for the next one. The
/// number of locks is bounded: the least recently used one is evicted first, with its value, which
/// can be loaded again.
pub struct AggregateLocks<T>(Cache<Uuid, AggregateLock<T>>);

/// The lock of one aggregate.
#[derive(Debug)]
pub struct AggregateLock<T> {
    value: Arc<AsyncMutex<Option<T>>>,
    /// As how many aggregates of ordinary size this one counts.
    weight: u32,
}

impl<T> Clone for AggregateLock<T> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
            weight: self.weight,
        }
    }
}

impl<T> Default for AggregateLock<T> {
    fn default() -> Self {
        Self {
            value: Arc::default(),
            weight: 1,
        }
    }
}

impl<T> AggregateLock<T> {
    /// Waits for the lock. The guard holds the value of the last owner, if there is one.
    pub async fn lock(&self) -> OwnedMutexGuard<Option<T>> {
        Arc::clone(&self.value).lock_owned().await
    }
}

impl<T: Send + Sync + 'static> AggregateLocks<T> {
    /// Creates locks for at most `capacity` aggregates of ordinary size.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        let cache = Cache::builder()
            .max_capacity(capacity)
            .weigher(|_, lock: &AggregateLock<T>| lock.weight)
            // New aggregates get the next commands. The default policy would evict them in favour
            // of those that were used often in the past.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(Duration::from_hours(1));
        Self(cache.build())
    }

    /// The lock of an aggregate.
    pub fn of(&self, id: Uuid) -> AggregateLock<T> {
        self.0.get_with(id, AggregateLock::default)
    }

    /// Updates the weight of an aggregate whose state now has this many bytes.
    pub fn weigh(&self, id: Uuid, lock: &AggregateLock<T>, bytes: usize) {
        let weight = bytes.div_ceil(ORDINARY_WEIGHT).max(1);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        if weight != lock.weight {
            let value = Arc::clone(&lock.value);
            self.0.insert(id, AggregateLock { value, weight });
        }
    }
}

/// The idempotency keys of the commands that run in this process.
#[derive(Debug, Clone, Default)]
pub struct KeysInFlight(Arc<Mutex<HashSet<(String, String)>>>);

/// Holds a key until dropped.
#[derive(Debug)]
pub struct KeyGuard {
    keys: KeysInFlight,
    key: (String, String),
}

impl KeysInFlight {
    /// Claims the key; `None` while another command holds it.
    #[must_use]
    pub fn claim(&self, key: &IdempotencyKey) -> Option<KeyGuard> {
        let key = (key.scope.clone(), key.key.clone());
        let claimed = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.clone());
        claimed.then(|| KeyGuard {
            keys: self.clone(),
            key,
        })
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        self.keys
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves a number in each of these locks, as a state of `bytes` bytes.
    async fn leave(
        locks: &AggregateLocks<u128>,
        ids: impl IntoIterator<Item = u128>,
        bytes: usize,
    ) {
        for id in ids {
            let lock = locks.of(Uuid::from_u128(id));
            *lock.lock().await = Some(id);
            locks.weigh(Uuid::from_u128(id), &lock, bytes);
            // The cache evicts now and then; the test needs it after each step.
            locks.0.run_pending_tasks();
        }
    }

    /// Which of these aggregates are still cached. Iterating does not count as use.
    fn cached(locks: &AggregateLocks<u128>, ids: impl IntoIterator<Item = u128>) -> Vec<u128> {
        let found: HashSet<_> = locks.0.iter().map(|(id, _)| id.as_u128()).collect();
        ids.into_iter().filter(|id| found.contains(id)).collect()
    }

    #[tokio::test]
    async fn a_new_aggregate_is_kept_however_often_others_were_used() {
        let locks = AggregateLocks::new(10);
        for _ in 0..50 {
            leave(&locks, 0..10, 1).await;
        }

        leave(&locks, 10..13, 1).await;

        assert_eq!(cached(&locks, 0..13), [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let lock = locks.of(Uuid::from_u128(12));
        assert_eq!(*lock.lock().await, Some(12), "the value is still there");
    }

    #[tokio::test]
    async fn a_large_state_counts_as_several_until_it_is_small_again() {
        let locks = AggregateLocks::new(10);
        leave(&locks, 0..10, ORDINARY_WEIGHT).await;

        leave(&locks, [9], 4 * ORDINARY_WEIGHT + 1).await;
        assert_eq!(cached(&locks, 0..10), [4, 5, 6, 7, 8, 9]);

        leave(&locks, [9], ORDINARY_WEIGHT).await;
        leave(&locks, 10..14, 1).await;
        assert_eq!(cached(&locks, 0..14).len(), 10);
    }

    #[tokio::test]
    async fn a_held_lock_keeps_others_out() {
        let locks = AggregateLocks::<u8>::new(10);
        let (first, second) = (locks.of(Uuid::nil()), locks.of(Uuid::nil()));

        let held = first.lock().await;

        assert!(second.value.try_lock().is_err());
        drop(held);
        assert!(second.value.try_lock().is_ok());
    }
}
