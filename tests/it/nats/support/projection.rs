//! A projection that records what it applies.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, AtomicUsize, Ordering},
};

use orders::event_sourcing::{
    Epoch, Position, StoreError,
    projection::{Delivery, Projection},
};

use super::{store::TestStore, wait::eventually};

/// A projection that records the positions that it applies, and reads missing events from the
/// store.
#[derive(Clone)]
pub struct RecordingProjection {
    store: TestStore,
    applied: Arc<Mutex<Vec<i64>>>,
    /// How many events came from the stream, not from the store.
    pub delivered: Arc<AtomicUsize>,
    /// How many of the next chunks fail.
    pub failures: Arc<AtomicU32>,
}

impl RecordingProjection {
    pub fn new(store: &TestStore) -> Self {
        Self {
            store: store.clone(),
            applied: Arc::default(),
            delivered: Arc::default(),
            failures: Arc::default(),
        }
    }

    /// A projection that has applied the first `count` events.
    pub fn with_applied(store: &TestStore, count: usize) -> Self {
        let projection = Self::new(store);
        *projection.applied.lock().unwrap() = store.positions()[..count].to_vec();
        projection
    }

    pub fn store(&self) -> &TestStore {
        &self.store
    }

    pub fn applied(&self) -> Vec<i64> {
        self.applied.lock().unwrap().clone()
    }

    pub fn position(&self) -> Position {
        let applied = self.applied.lock().unwrap();
        Position::new(applied.last().copied().unwrap_or(0))
    }

    /// Waits until every event is applied, and checks that each was applied once and in order.
    pub async fn caught_up(&self) {
        eventually("the projection has caught up", async || {
            self.applied().len() == self.store.positions().len()
        })
        .await;
        assert_eq!(self.applied(), self.store.positions());
    }
}

impl Projection for RecordingProjection {
    async fn checkpoint(&self) -> Result<Position, StoreError> {
        Ok(self.position())
    }

    async fn apply(&self, deliveries: Vec<Delivery>, _: Epoch) -> Result<Position, StoreError> {
        let failing = self.failures.load(Ordering::SeqCst);
        if failing > 0 {
            self.failures.store(failing - 1, Ordering::SeqCst);
            return Err(StoreError::Overloaded);
        }
        let mut applied = self.applied.lock().unwrap();
        for delivery in deliveries {
            self.delivered.fetch_add(1, Ordering::SeqCst);
            let checkpoint = applied.last().copied().unwrap_or(0);
            let (previous, position) = (delivery.previous.get(), delivery.event.position.get());
            if position <= checkpoint {
                continue;
            }
            let missing = self.store.positions().into_iter();
            applied.extend(missing.filter(|missed| (checkpoint + 1..=previous).contains(missed)));
            applied.push(position);
        }
        Ok(Position::new(applied.last().copied().unwrap_or(0)))
    }
}
