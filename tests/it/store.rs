//! The contract of event stores, and what PostgreSQL guarantees beyond it.

use std::time::Duration;

use orders::{
    event_sourcing::{
        Append, AppendError, Appended, EventStore, IdempotencyKey, Position, RecordedEvent,
        SnapshotStore, StoreError, StoredStream, StreamId, UsedKey, Version,
        store::Until,
        testing::{InMemoryEventStore, contract},
    },
    live::FreshEvents,
    postgres::{self, PgEventStore, PgSnapshotStore, Writer, writer::WriterOptions},
};
use sqlx::PgPool;

use crate::support::servers::fresh_database;

/// PostgreSQL's event store and snapshot store as one value: the contract needs both.
#[derive(Clone)]
struct Both {
    events: PgEventStore,
    snapshots: PgSnapshotStore,
}

impl Both {
    async fn start() -> (Self, PgPool) {
        let (options, _) = fresh_database().await;
        let (writer, handle) = Writer::new(
            options.clone(),
            WriterOptions::default(),
            FreshEvents::default(),
        );
        tokio::spawn(writer.run());
        let pool = postgres::pool(options, 4);
        let events = PgEventStore::new(pool.clone(), handle, Duration::from_hours(1));
        let snapshots = PgSnapshotStore::new(pool.clone());
        (Self { events, snapshots }, pool)
    }
}

impl EventStore for Both {
    async fn load(
        &self,
        stream: StreamId,
        until: Until,
        snapshot: Option<i32>,
    ) -> Result<StoredStream, StoreError> {
        self.events.load(stream, until, snapshot).await
    }

    async fn read_stream(
        &self,
        stream: StreamId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.events.read_stream(stream, from, limit).await
    }

    async fn read_stream_after(
        &self,
        stream: StreamId,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.events.read_stream_after(stream, after, limit).await
    }

    async fn read_all(
        &self,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.events.read_all(after, limit).await
    }

    async fn newest(&self) -> Result<Position, StoreError> {
        self.events.newest().await
    }

    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.events.append(append).await
    }

    async fn find_key(&self, key: &IdempotencyKey) -> Result<Option<UsedKey>, StoreError> {
        self.events.find_key(key).await
    }
}

impl SnapshotStore for Both {
    async fn save(
        &self,
        stream: StreamId,
        version: Version,
        schema: i32,
        state: String,
    ) -> Result<(), StoreError> {
        self.snapshots.save(stream, version, schema, state).await
    }
}

#[tokio::test]
async fn the_in_memory_store_fulfils_the_contract() {
    contract::every_promise_is_kept(&InMemoryEventStore::default()).await;
}

#[tokio::test]
async fn the_postgresql_store_fulfils_the_contract() {
    let (store, _) = Both::start().await;

    contract::every_promise_is_kept(&store).await;
}

#[tokio::test]
async fn events_cannot_be_updated_deleted_or_truncated() {
    let (store, pool) = Both::start().await;
    contract::an_append_is_read_back(&store).await;

    for statement in [
        "update events set type = 'x'",
        "delete from events",
        "truncate events",
    ] {
        let refused = sqlx::query(statement).execute(&pool).await;

        let refused = refused.expect_err(statement).to_string();
        assert!(refused.contains("events are never changed"), "{refused}");
    }
}
