//! Turns: commands on one aggregate in one process go one after the other instead of racing, and a
//! key that is being used is not used twice at once.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use super::store::IdempotencyKey;

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
