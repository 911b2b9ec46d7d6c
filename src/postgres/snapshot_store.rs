//! Snapshots in PostgreSQL: one row per aggregate, replaced only by a newer snapshot.

use sqlx::PgPool;

use super::within;
use crate::event_sourcing::{SnapshotStore, StoreError, StreamId, Version};

/// A snapshot store in the table `snapshots`.
#[derive(Debug, Clone)]
pub struct PgSnapshotStore {
    pool: PgPool,
}

impl PgSnapshotStore {
    /// Creates a snapshot store in the database of `pool`.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

impl SnapshotStore for PgSnapshotStore {
    async fn save(
        &self,
        stream: StreamId,
        version: Version,
        schema: i32,
        state: String,
    ) -> Result<(), StoreError> {
        within(&self.pool, async |connection| {
            sqlx::query!(
                r#"insert into snapshots (aggregate_id, aggregate_type, version, schema_version, state)
                   values ($1, $2, $3, $4, $5::text::jsonb)
                   on conflict on constraint snapshots_pkey do update
                   set version = excluded.version, schema_version = excluded.schema_version,
                       state = excluded.state, created_at = now()
                   where snapshots.version < excluded.version
                      or (snapshots.version = excluded.version
                          and snapshots.schema_version < excluded.schema_version)"#,
                stream.aggregate_id,
                stream.aggregate_type,
                version.get(),
                schema,
                state,
            )
            .execute(connection)
            .await
            .map(drop)
        })
        .await
    }
}
