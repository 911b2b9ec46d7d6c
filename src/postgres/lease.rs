//! Leases in PostgreSQL, on the database's clock: one row per lease.
//!
//! A holder that dies is replaced at once: each process keeps an advisory lock in the session of its
//! heartbeat ([`super::heartbeat`]), and a session that is gone frees the lease. A holder that hangs is
//! replaced when its lease has run out. Its writes are then refused, because they carry an old epoch.

use std::time::Duration;

use sqlx::{PgPool, postgres::types::PgInterval};
use uuid::Uuid;

use super::within;
use crate::{
    event_sourcing::{Epoch, Lease, StoreError},
    sql::error::store_error,
};

/// A lease in the table `leases`.
#[derive(Debug, Clone)]
pub struct PgLease {
    pool: PgPool,
    name: &'static str,
    holder: Uuid,
    ttl: Duration,
}

impl PgLease {
    /// Creates the lease `name` for the process `holder`. It expires `ttl` after it was last
    /// renewed.
    #[must_use]
    pub fn new(pool: PgPool, name: &'static str, holder: Uuid, ttl: Duration) -> Self {
        Self {
            pool,
            name,
            holder,
            ttl,
        }
    }
}

impl Lease for PgLease {
    async fn hold(&self) -> Result<Option<Epoch>, StoreError> {
        let ttl = PgInterval::try_from(self.ttl)
            .map_err(sqlx::Error::Encode)
            .map_err(store_error)?;
        within(&self.pool, async |connection| {
            let epoch =
                sqlx::query_scalar!("select hold_lease($1, $2, $3)", self.name, self.holder, ttl,)
                    .fetch_one(connection)
                    .await?;
            Ok(epoch.map(Epoch))
        })
        .await
    }

    async fn release(&self) -> Result<(), StoreError> {
        within(&self.pool, async |connection| {
            sqlx::query!(
                "update leases set until = clock_timestamp() where name = $1 and holder = $2",
                self.name,
                self.holder,
            )
            .execute(connection)
            .await
            .map(drop)
        })
        .await
    }
}
