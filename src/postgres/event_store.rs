//! The event store in PostgreSQL: its reads. Appends go through the [`super::writer`].

use std::time::Duration;

use serde_json::value::RawValue;
use sqlx::{PgPool, types::Json};
use tokio::select;

use super::{idempotency, queue::WriterHandle, read_last_position};
use crate::{
    event_sourcing::{
        Append, AppendError, Appended, EventStore, IdempotencyKey, Position, Pulse, RecordedEvent,
        StoreError, StoredSnapshot, StoredStream, StreamId, Timestamp, UsedKey, Version,
        pulse::NoAnswer, store::Until,
    },
    sql::{EventRow, run_query},
};

/// The event store in PostgreSQL.
#[derive(Debug, Clone)]
pub struct PgEventStore {
    pool: PgPool,
    writer: WriterHandle,
    key_ttl: Duration,
    pulse: Pulse,
}

impl PgEventStore {
    /// Creates a store that reads through `pool` and appends through `writer`. Idempotency keys
    /// expire after `key_ttl`.
    #[must_use]
    pub fn new(pool: PgPool, writer: WriterHandle, key_ttl: Duration) -> Self {
        Self {
            pool,
            writer,
            key_ttl,
            pulse: Pulse::unwatched(),
        }
    }

    /// The same store, read through another pool.
    #[must_use]
    pub fn read_through(&self, pool: PgPool) -> Self {
        Self {
            pool,
            ..self.clone()
        }
    }

    /// Fails queries at once when `pulse` says that the server does not answer.
    #[must_use]
    pub fn watched_by(mut self, pulse: Pulse) -> Self {
        self.pulse = pulse;
        self
    }
}

/// The newest version and the newest time that belong to `until`; no time where it is unbounded.
fn bounds(until: Until) -> (i32, Option<Timestamp>) {
    match until {
        Until::Now => (i32::MAX, None),
        Until::Version(version) => (version.get(), None),
        Until::Timestamp(instant) => (i32::MAX, Some(instant)),
    }
}

impl EventStore for PgEventStore {
    async fn load(
        &self,
        stream: StreamId,
        until: Until,
        snapshot: Option<i32>,
    ) -> Result<StoredStream, StoreError> {
        let (version, instant) = bounds(until);
        let rows = run_query(&self.pool, &self.pulse, async |connection| {
            sqlx::query!(
                r#"with snapshot as materialized (
                       select s.version, s.state::text as state
                       from snapshots s
                       join events e on e.aggregate_id = s.aggregate_id and e.version = s.version
                       where s.aggregate_id = $1 and s.aggregate_type = $2
                         and s.schema_version = $3 and s.version <= $4
                         and e.created_at <= coalesce($5, 'infinity'::timestamptz)
                   )
                   select case when e.version = (select version from snapshot)
                               then (select state from snapshot) end as state,
                          position, event_id, aggregate_type, aggregate_id, e.version,
                          type as event_type, schema_version,
                          data as "data: Json<Box<RawValue>>",
                          metadata as "metadata: Json<Box<RawValue>>", created_at
                   from events e
                   where e.aggregate_id = $1 and e.aggregate_type = $2
                     and e.version >= coalesce((select version from snapshot), 1)
                     and e.version <= $4
                     and e.created_at <= coalesce($5, 'infinity'::timestamptz)
                   order by e.version"#,
                stream.aggregate_id,
                stream.aggregate_type,
                snapshot,
                version,
                instant,
            )
            .fetch_all(connection)
            .await
        })
        .await?;
        let mut stored = StoredStream::default();
        for row in rows {
            if let Some(state) = row.state {
                stored.snapshot = Some(StoredSnapshot {
                    version: Version::new(row.version),
                    position: Position::new(row.position),
                    occurred_at: row.created_at,
                    state,
                });
            } else {
                let event = EventRow {
                    position: row.position,
                    event_id: row.event_id,
                    aggregate_type: row.aggregate_type,
                    aggregate_id: row.aggregate_id,
                    version: row.version,
                    event_type: row.event_type,
                    schema_version: row.schema_version,
                    data: row.data,
                    metadata: row.metadata,
                    created_at: row.created_at,
                };
                stored.events.push(event.into());
            }
        }
        Ok(stored)
    }

    async fn read_stream(
        &self,
        stream: StreamId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let rows = run_query(&self.pool, &self.pulse, async |connection| {
            sqlx::query_as!(
                EventRow,
                r#"select position, event_id, aggregate_type, aggregate_id, version,
                          type as event_type, schema_version,
                          data as "data: Json<Box<RawValue>>",
                          metadata as "metadata: Json<Box<RawValue>>", created_at
                   from events
                   where aggregate_id = $1 and aggregate_type = $2 and version >= $3
                   order by version
                   limit $4"#,
                stream.aggregate_id,
                stream.aggregate_type,
                from.get(),
                i64::from(limit),
            )
            .fetch_all(connection)
            .await
        })
        .await?;
        Ok(rows.into_iter().map(RecordedEvent::from).collect())
    }

    async fn read_stream_after(
        &self,
        stream: StreamId,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let rows = run_query(&self.pool, &self.pulse, async |connection| {
            // There is no index of a stream's positions. They rise with the versions, so a binary
            // search on the primary key finds the last version up to `after`: 31 look-ups, whatever
            // the stream's length. A version that does not exist counts as later. The version also
            // bounds the events from above: no plan can read the rest of a long stream.
            sqlx::query_as!(
                EventRow,
                r#"with recursive search (version, step) as (
                       select 0, 1 << 30
                       union all
                       select case when (select e.position from events e
                                         where e.aggregate_id = $1
                                           and e.version = s.version + s.step) <= $3
                                   then s.version + s.step else s.version end,
                              s.step / 2
                       from search s
                       where s.step > 0
                   ), last_before as (
                       select max(version) as version from search
                   )
                   select position, event_id, aggregate_type, aggregate_id, version,
                          type as event_type, schema_version,
                          data as "data: Json<Box<RawValue>>",
                          metadata as "metadata: Json<Box<RawValue>>", created_at
                   from events
                   where aggregate_id = $1 and aggregate_type = $2
                     and version > (select version from last_before)
                     and version <= (select version from last_before) + $4::bigint
                   order by version"#,
                stream.aggregate_id,
                stream.aggregate_type,
                after.get(),
                i64::from(limit),
            )
            .fetch_all(connection)
            .await
        })
        .await?;
        Ok(rows.into_iter().map(RecordedEvent::from).collect())
    }

    async fn read_all(
        &self,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let rows = run_query(&self.pool, &self.pulse, async |connection| {
            sqlx::query_as!(
                EventRow,
                r#"select position, event_id, aggregate_type, aggregate_id, version,
                          type as event_type, schema_version,
                          data as "data: Json<Box<RawValue>>",
                          metadata as "metadata: Json<Box<RawValue>>", created_at
                   from events
                   where position > $1
                   order by position
                   limit $2"#,
                after.get(),
                i64::from(limit),
            )
            .fetch_all(connection)
            .await
        })
        .await?;
        Ok(rows.into_iter().map(RecordedEvent::from).collect())
    }

    async fn newest(&self) -> Result<Position, StoreError> {
        run_query(&self.pool, &self.pulse, async |connection| {
            read_last_position(connection).await
        })
        .await
    }

    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        // An error here is certain to mean that the command was not queued.
        self.pulse.wait_until_alive().await?;
        select! {
            reply = self.writer.append(append) => reply,
            () = self.pulse.wait_until_dead() => Err(StoreError::unknown(NoAnswer).into()),
        }
    }

    async fn find_key(&self, key: &IdempotencyKey) -> Result<Option<UsedKey>, StoreError> {
        run_query(&self.pool, &self.pulse, async |connection| {
            idempotency::find(connection, key, self.key_ttl).await
        })
        .await
    }
}
