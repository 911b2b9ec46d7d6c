//! An event store that counts its calls, and that can interfere with appends or hold them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::sync::Semaphore;

use super::{counter::Event, new_event, plain_append};
use crate::event_sourcing::{
    Append, AppendError, Appended, EventStore, IdempotencyKey, Position, RecordedEvent, StoreError,
    StoredStream, StreamId, UsedKey, Version, store::Until, testing::InMemoryEventStore,
};

/// A store in memory that observes and disturbs.
#[derive(Clone, Default)]
pub struct ObservedStore {
    pub inner: InMemoryEventStore,
    pub loads: Arc<AtomicUsize>,
    pub appends: Arc<AtomicUsize>,
    /// How many of the next appends lose a race: another process sets the counter to 1 before them.
    pub lost_races: Arc<AtomicUsize>,
    pub gate: Option<Arc<Gate>>,
}

/// Holds appends: each one adds a permit to `arrived`, then waits for one of `open`.
pub struct Gate {
    pub arrived: Semaphore,
    pub open: Semaphore,
}

impl ObservedStore {
    /// A store with a closed gate.
    pub fn gated() -> (Self, Arc<Gate>) {
        let gate = Arc::new(Gate {
            arrived: Semaphore::new(0),
            open: Semaphore::new(0),
        });
        let store = Self {
            gate: Some(Arc::clone(&gate)),
            ..Self::default()
        };
        (store, gate)
    }

    async fn append_for_another_process(&self, stream: StreamId) {
        let stored = self.inner.load(stream, Until::Now, None).await.unwrap();
        let version = Version::new(stored.events.len().try_into().unwrap());
        let events = vec![new_event(&Event::WasSet(1))];
        let append = plain_append(stream, version, events);
        self.inner.append(append).await.unwrap();
    }
}

impl EventStore for ObservedStore {
    async fn load(
        &self,
        stream: StreamId,
        until: Until,
        snapshot: Option<i32>,
    ) -> Result<StoredStream, StoreError> {
        self.loads.fetch_add(1, SeqCst);
        self.inner.load(stream, until, snapshot).await
    }

    async fn read_stream(
        &self,
        stream: StreamId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.inner.read_stream(stream, from, limit).await
    }

    async fn read_stream_after(
        &self,
        stream: StreamId,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.inner.read_stream_after(stream, after, limit).await
    }

    async fn read_all(
        &self,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.inner.read_all(after, limit).await
    }

    async fn newest(&self) -> Result<Position, StoreError> {
        self.inner.newest().await
    }

    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.appends.fetch_add(1, SeqCst);
        if let Some(gate) = &self.gate {
            gate.arrived.add_permits(1);
            gate.open.acquire().await.unwrap().forget();
        }
        let loses = self
            .lost_races
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if loses.is_ok() {
            self.append_for_another_process(append.stream).await;
        }
        self.inner.append(append).await
    }

    async fn find_key(&self, key: &IdempotencyKey) -> Result<Option<UsedKey>, StoreError> {
        self.inner.find_key(key).await
    }
}
