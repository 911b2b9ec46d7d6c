//! Turns: commands on one aggregate in one process go one after the other instead of racing, and a
//! key that is being used is not used twice at once.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::sync::{Mutex as Turnstile, MutexGuard};
use uuid::Uuid;

use super::store::IdempotencyKey;

/// How many bytes of state count for one aggregate in the cache: a larger state counts for several. The
/// place in the cache takes half as much again.
const ORDINARY_WEIGHT: usize = 1024;

/// The turns at aggregates, each with what its last holder left there for the next one. Bounded: what
/// was not used for longest goes first, and with it only what can be loaded again.
pub struct AggregateLocks<T>(Cache<Uuid, AggregateLock<T>>);

/// One aggregate's turn.
#[derive(Debug)]
pub struct AggregateLock<T> {
    left: Arc<Turnstile<Option<T>>>,
    /// For how many aggregates of ordinary size this one counts.
    share: u32,
}

impl<T> Clone for AggregateLock<T> {
    fn clone(&self) -> Self {
        Self {
            left: Arc::clone(&self.left),
            share: self.share,
        }
    }
}

impl<T> Default for AggregateLock<T> {
    fn default() -> Self {
        Self {
            left: Arc::default(),
            share: 1,
        }
    }
}

impl<T> AggregateLock<T> {
    /// Waits for the turn; holds what was left there, where anything was.
    pub async fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.left.lock().await
    }
}

impl<T: Send + Sync + 'static> AggregateLocks<T> {
    /// Turns that remember at most this many aggregates of ordinary size.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        let cache = Cache::builder()
            .max_capacity(capacity)
            .weigher(|_, turn: &AggregateLock<T>| turn.share)
            // Whatever is new is what the next commands are about, however often others were used.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(Duration::from_hours(1));
        Self(cache.build())
    }

    /// The turn at an aggregate.
    pub fn of(&self, id: Uuid) -> AggregateLock<T> {
        self.0.get_with(id, AggregateLock::default)
    }

    /// Tells the cache where an aggregate of that many bytes has come to count for more, or fewer, than
    /// it did.
    pub fn weigh(&self, id: Uuid, turn: &AggregateLock<T>, bytes: usize) {
        let share = bytes.div_ceil(ORDINARY_WEIGHT).max(1);
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        if share != turn.share {
            let left = Arc::clone(&turn.left);
            self.0.insert(id, AggregateLock { left, share });
        }
    }
}

/// The idempotency keys of the commands that run in this process right now.
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

    /// Leaves a number at each of these turns, as a state of so many bytes.
    async fn leave(
        turns: &AggregateLocks<u128>,
        ids: impl IntoIterator<Item = u128>,
        bytes: usize,
    ) {
        for id in ids {
            let turn = turns.of(Uuid::from_u128(id));
            *turn.lock().await = Some(id);
            turns.weigh(Uuid::from_u128(id), &turn, bytes);
            // The cache tidies up now and then; here always.
            turns.0.run_pending_tasks();
        }
    }

    /// At which of these turns something is left. Looking does not count as use.
    fn left(turns: &AggregateLocks<u128>, ids: impl IntoIterator<Item = u128>) -> Vec<u128> {
        let found: HashSet<_> = turns.0.iter().map(|(id, _)| id.as_u128()).collect();
        ids.into_iter().filter(|id| found.contains(id)).collect()
    }

    #[tokio::test]
    async fn what_is_new_is_kept_however_often_others_were_used() {
        let turns = AggregateLocks::new(10);
        for _ in 0..50 {
            leave(&turns, 0..10, 1).await;
        }

        leave(&turns, 10..13, 1).await;

        assert_eq!(left(&turns, 0..13), [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(
            *turns.of(Uuid::from_u128(12)).lock().await,
            Some(12),
            "what was left is there"
        );
    }

    #[tokio::test]
    async fn a_large_state_counts_for_several_until_it_is_small_again() {
        let turns = AggregateLocks::new(10);
        leave(&turns, 0..10, ORDINARY_WEIGHT).await;

        leave(&turns, [9], 4 * ORDINARY_WEIGHT + 1).await;
        assert_eq!(left(&turns, 0..10), [4, 5, 6, 7, 8, 9]);

        leave(&turns, [9], ORDINARY_WEIGHT).await;
        leave(&turns, 10..14, 1).await;
        assert_eq!(left(&turns, 0..14).len(), 10);
    }

    #[tokio::test]
    async fn who_holds_a_turn_keeps_others_out() {
        let turns = AggregateLocks::<u8>::new(10);
        let (mine, theirs) = (turns.of(Uuid::nil()), turns.of(Uuid::nil()));

        let held = mine.lock().await;

        assert!(theirs.left.try_lock().is_err());
        drop(held);
        assert!(theirs.left.try_lock().is_ok());
    }
}
