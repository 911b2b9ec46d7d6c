//! The smallest store, identity and lease that relay and subscriber can work with.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, Ordering},
};

use chrono::{TimeZone, Utc};
use futures::future::BoxFuture;
use orders::event_sourcing::{
    Append, AppendError, Appended, Epoch, EventStore, IdempotencyKey, Lease, Position,
    RecordedEvent, StoreError, StoreIdentity, StoredStream, StreamId, UsedKey, Version,
    store::Until,
};
use serde_json::value::RawValue;
use uuid::Uuid;

/// A store in memory, with gaps between the positions, as PostgreSQL has them.
#[derive(Clone, Default)]
pub struct TestStore(Arc<Mutex<Vec<RecordedEvent>>>);

impl TestStore {
    /// Appends `count` events of `bytes` bytes each.
    pub fn append(&self, count: usize, bytes: usize) {
        let mut events = self.0.lock().unwrap();
        for _ in 0..count {
            let number = i64::try_from(events.len()).unwrap();
            let data = format!(r#"{{"note": "{}"}}"#, "x".repeat(bytes));
            events.push(RecordedEvent {
                position: Position::new(10 + number * 3),
                event_id: Uuid::now_v7(),
                aggregate_type: "Order".to_owned(),
                aggregate_id: Uuid::from_u128(7),
                version: Version::new(i32::try_from(number).unwrap() + 1),
                event_type: "OrderNoted".to_owned(),
                schema_version: 1,
                data: RawValue::from_string(data).unwrap(),
                metadata: RawValue::from_string(r#"{"actor":"me"}"#.to_owned()).unwrap(),
                occurred_at: Utc.timestamp_opt(1_795_425_302 + number, 0).unwrap(),
            });
        }
    }

    /// A copy of the store that is restored to its first `count` events.
    pub fn restored_at(&self, count: usize) -> Self {
        Self(Arc::new(Mutex::new(self.events()[..count].to_vec())))
    }

    pub fn events(&self) -> Vec<RecordedEvent> {
        self.0.lock().unwrap().clone()
    }

    pub fn positions(&self) -> Vec<i64> {
        self.events().iter().map(|e| e.position.get()).collect()
    }
}

impl EventStore for TestStore {
    async fn load(
        &self,
        _: StreamId,
        _: Until,
        _: Option<i32>,
    ) -> Result<StoredStream, StoreError> {
        Ok(StoredStream::default())
    }

    async fn read_stream(
        &self,
        _: StreamId,
        _: Version,
        _: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        Ok(Vec::new())
    }

    async fn read_stream_after(
        &self,
        _: StreamId,
        _: Position,
        _: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        Ok(Vec::new())
    }

    async fn read_all(
        &self,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let events = self.0.lock().unwrap();
        let later = events.iter().filter(|event| event.position > after);
        Ok(later.take(limit as usize).cloned().collect())
    }

    async fn newest(&self) -> Result<Position, StoreError> {
        let events = self.0.lock().unwrap();
        let newest = events.last().map(|event| event.position);
        Ok(newest.unwrap_or(Position::ZERO))
    }

    async fn append(&self, _: Append) -> Result<Appended, AppendError> {
        Err(AppendError::VersionConflict)
    }

    async fn find_key(&self, _: &IdempotencyKey) -> Result<Option<UsedKey>, StoreError> {
        Ok(None)
    }
}

/// A fixed store id and a counter of incarnations that ignores the lease.
#[derive(Clone)]
pub struct FixedIdentity {
    id: Uuid,
    /// The last incarnation.
    pub incarnation: Arc<AtomicI64>,
}

impl FixedIdentity {
    /// The identity that tests use unless they need two.
    pub fn default_store() -> Self {
        Self::of(1)
    }

    pub fn of(number: u128) -> Self {
        Self {
            id: Uuid::from_u128(number),
            incarnation: Arc::default(),
        }
    }
}

impl StoreIdentity for FixedIdentity {
    fn id(&self) -> BoxFuture<'_, Result<Uuid, StoreError>> {
        Box::pin(async { Ok(self.id) })
    }

    fn begin_incarnation(
        &self,
        after: i64,
        _: Epoch,
    ) -> BoxFuture<'_, Result<Option<i64>, StoreError>> {
        let last = self.incarnation.load(Ordering::SeqCst).max(after);
        self.incarnation.store(last + 1, Ordering::SeqCst);
        Box::pin(async move { Ok(Some(last + 1)) })
    }
}

/// A lease that anybody gets while its epoch is not zero.
#[derive(Clone)]
pub struct FixedLease {
    /// The epoch; zero while another process holds the lease.
    pub epoch: Arc<AtomicI64>,
}

impl FixedLease {
    pub fn held() -> Self {
        Self {
            epoch: Arc::new(AtomicI64::new(1)),
        }
    }
}

impl Lease for FixedLease {
    async fn hold(&self) -> Result<Option<Epoch>, StoreError> {
        let epoch = self.epoch.load(Ordering::SeqCst);
        Ok((epoch > 0).then_some(Epoch(epoch)))
    }

    async fn release(&self) -> Result<(), StoreError> {
        self.epoch.store(0, Ordering::SeqCst);
        Ok(())
    }
}
