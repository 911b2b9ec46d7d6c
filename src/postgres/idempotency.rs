//! Idempotency keys: written by the append's own statement, read here, and cleared when they run
//! out.

use std::time::Duration;

use sqlx::{PgConnection, PgPool, postgres::types::PgInterval};

use super::within;
use crate::{
    event_sourcing::{IdempotencyKey, Position, Receipt, StoreError, StoredReceipt, Version},
    sql::error::store_error,
};

/// Finds what a key led to, unless it has run out.
///
/// # Errors
/// The statement's.
pub async fn find(
    connection: &mut PgConnection,
    key: &IdempotencyKey,
    ttl: Duration,
) -> Result<Option<StoredReceipt>, sqlx::Error> {
    let ttl = PgInterval::try_from(ttl).map_err(sqlx::Error::Encode)?;
    let row = sqlx::query!(
        r#"select k.fingerprint, k.status, k.version, k.location, k.position,
                  e.aggregate_id as "aggregate_id?"
           from idempotency_keys k
           left join events e on e.position = k.position
           where k.scope = $1 and k.key = $2 and k.created_at > now() - $3::interval"#,
        key.scope,
        key.key,
        ttl,
    )
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        let fingerprint = <[u8; 32]>::try_from(row.fingerprint.as_slice())
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let receipt = Receipt {
            status: row.status.cast_unsigned(),
            version: Version::new(row.version),
            location: row.location,
        };
        Ok(StoredReceipt {
            fingerprint,
            receipt,
            aggregate_id: row.aggregate_id,
            position: Position::new(row.position),
        })
    })
    .transpose()
}

/// How many rows one clearing deletes: small, so that it never stands in anyone's way.
const CLEAR_BATCH: i64 = 500;

/// Deletes a batch of keys that have run out; returns how many.
///
/// # Errors
/// Where the store does not answer.
pub async fn clear_expired(pool: &PgPool, ttl: Duration) -> Result<u64, StoreError> {
    let ttl = PgInterval::try_from(ttl)
        .map_err(sqlx::Error::Encode)
        .map_err(store_error)?;
    within(pool, async |connection| {
        let cleared = sqlx::query!(
            r#"delete from idempotency_keys k
               using (select scope, key from idempotency_keys
                      where created_at <= now() - $1::interval
                      order by created_at limit $2) expired
               where k.scope = expired.scope and k.key = expired.key
                 and k.created_at <= now() - $1::interval"#,
            ttl,
            CLEAR_BATCH,
        )
        .execute(connection)
        .await?;
        Ok(cleared.rows_affected())
    })
    .await
}
