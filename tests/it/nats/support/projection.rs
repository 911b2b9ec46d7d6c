//! A projection that records what it applies.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, AtomicUsize, Ordering},
};

use orders::event_sourcing::{Epoch, Position, RecordedEvent, StoreError, projection::Projection};

use super::{store::TestStore, wait::eventually};

/// A projection that records the positions that it applies.
#[derive(Clone)]
pub struct RecordingProjection {
    store: TestStore,
    applied: Arc<Mutex<Vec<i64>>>,
    /// How often it was made anew.
    pub rebuilds: Arc<AtomicUsize>,
    /// How many of the next chunks fail.
    pub failures: Arc<AtomicU32>,
}

impl RecordingProjection {
    pub fn new(store: &TestStore) -> Self {
        Self {
            store: store.clone(),
            applied: Arc::default(),
            rebuilds: Arc::default(),
            failures: Arc::default(),
        }
    }

    /// A projection that has applied the first `count` events.
    pub fn with_applied(store: &TestStore, count: usize) -> Self {
        let projection = Self::new(store);
        *projection.applied.lock().unwrap() = store.positions()[..count].to_vec();
        projection
    }

    /// A projection whose checkpoint is beyond the end of the store.
    pub fn beyond(store: &TestStore) -> Self {
        let projection = Self::with_applied(store, store.positions().len());
        projection.applied.lock().unwrap().push(i64::MAX / 2);
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

    async fn apply(
        &self,
        after: Position,
        events: &[Arc<RecordedEvent>],
        _: Epoch,
    ) -> Result<Position, StoreError> {
        let failing = self.failures.load(Ordering::SeqCst);
        if failing > 0 {
            self.failures.store(failing - 1, Ordering::SeqCst);
            return Err(StoreError::Overloaded);
        }
        let mut applied = self.applied.lock().unwrap();
        let checkpoint = applied.last().copied().unwrap_or(0);
        assert!(
            after.get() <= checkpoint,
            "events may be missing before these"
        );
        let new = events.iter().map(|event| event.position.get());
        applied.extend(new.filter(|position| *position > checkpoint));
        Ok(Position::new(applied.last().copied().unwrap_or(0)))
    }

    async fn rebuild(&self) -> Result<Position, StoreError> {
        *self.applied.lock().unwrap() = self.store.positions();
        self.rebuilds.fetch_add(1, Ordering::SeqCst);
        Ok(self.position())
    }
}
