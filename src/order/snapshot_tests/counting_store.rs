//! A store that counts its loads and can hide its snapshots.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use crate::event_sourcing::{
    Append, AppendError, Appended, EventStore, IdempotencyKey, Position, RecordedEvent, StoreError,
    StoredStream, StreamId, UsedKey, Version, store::Until, testing::InMemoryEventStore,
};

/// An event store in memory. Clones share its events.
#[derive(Clone, Default)]
pub struct CountingStore {
    pub inner: InMemoryEventStore,
    /// Whether loads leave out snapshots.
    pub hides_snapshots: bool,
    /// How many reads the store has answered.
    pub loads: Arc<AtomicUsize>,
}

impl EventStore for CountingStore {
    async fn load(
        &self,
        stream: StreamId,
        until: Until,
        snapshot: Option<i32>,
    ) -> Result<StoredStream, StoreError> {
        self.loads.fetch_add(1, SeqCst);
        let snapshot = snapshot.filter(|_| !self.hides_snapshots);
        self.inner.load(stream, until, snapshot).await
    }

    async fn read_stream(
        &self,
        stream: StreamId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.loads.fetch_add(1, SeqCst);
        self.inner.read_stream(stream, from, limit).await
    }

    async fn read_stream_after(
        &self,
        stream: StreamId,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.loads.fetch_add(1, SeqCst);
        self.inner.read_stream_after(stream, after, limit).await
    }

    async fn read_all(
        &self,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.loads.fetch_add(1, SeqCst);
        self.inner.read_all(after, limit).await
    }

    async fn newest(&self) -> Result<Position, StoreError> {
        self.inner.newest().await
    }

    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.inner.append(append).await
    }

    async fn find_key(&self, key: &IdempotencyKey) -> Result<Option<UsedKey>, StoreError> {
        self.inner.find_key(key).await
    }
}
