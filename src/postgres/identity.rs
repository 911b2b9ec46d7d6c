//! The identity of the event store, in the table `relay_state`.

use futures::{FutureExt, future::BoxFuture};
use sqlx::PgPool;
use uuid::Uuid;

use super::within;
use crate::event_sourcing::{Epoch, StoreError, StoreIdentity};

/// The identity of the event store of a database.
#[derive(Debug, Clone)]
pub struct PgStoreIdentity {
    pool: PgPool,
    lease: &'static str,
}

impl PgStoreIdentity {
    /// The identity of the store in the database of `pool`. Only the holder of `lease` begins an
    /// incarnation.
    #[must_use]
    pub const fn new(pool: PgPool, lease: &'static str) -> Self {
        Self { pool, lease }
    }
}

impl StoreIdentity for PgStoreIdentity {
    fn id(&self) -> BoxFuture<'_, Result<Uuid, StoreError>> {
        within(&self.pool, async |connection| {
            sqlx::query_scalar!("select store_id from relay_state")
                .fetch_one(connection)
                .await
        })
        .boxed()
    }

    fn begin_incarnation(
        &self,
        after: i64,
        epoch: Epoch,
    ) -> BoxFuture<'_, Result<Option<i64>, StoreError>> {
        within(&self.pool, async move |connection| {
            sqlx::query_scalar!(
                "update relay_state r
                 set incarnation = greatest(r.incarnation, $1) + 1, began_at = clock_timestamp(),
                     -- The new stream has held nothing yet.
                     position = 0
                 from leases l
                 where l.name = $2 and l.epoch = $3 and l.until > clock_timestamp()
                 returning r.incarnation",
                after,
                self.lease,
                epoch.0,
            )
            .fetch_optional(connection)
            .await
        })
        .boxed()
    }
}
