//! Reads idempotency keys and deletes expired ones. The statement that appends a command's events
//! inserts its key.

use std::time::Duration;

use sqlx::{PgConnection, PgPool, postgres::types::PgInterval};

use super::within;
use crate::{
    event_sourcing::{IdempotencyKey, Position, StoreError, UsedKey, Version},
    sql::error::store_error,
};

/// Finds what is stored under a key; `None` if the key is unused or older than `ttl`.
///
/// # Errors
/// The error of the statement.
pub async fn find(
    connection: &mut PgConnection,
    key: &IdempotencyKey,
    ttl: Duration,
) -> Result<Option<UsedKey>, sqlx::Error> {
    let ttl = PgInterval::try_from(ttl).map_err(sqlx::Error::Encode)?;
    let row = sqlx::query!(
        r#"select k.fingerprint, k.version, k.changed, k.position,
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
        Ok(UsedKey {
            fingerprint,
            aggregate_id: row.aggregate_id,
            version: Version::new(row.version),
            has_changed: row.changed,
            position: Position::new(row.position),
        })
    })
    .transpose()
}

/// How many keys one batch deletes: few, so that it blocks no command for long.
pub const CLEAR_BATCH: u32 = 500;

/// Deletes a batch of expired keys. Returns how many, at most [`CLEAR_BATCH`].
///
/// # Errors
/// If the store does not answer.
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
            i64::from(CLEAR_BATCH),
        )
        .execute(connection)
        .await?;
        Ok(cleared.rows_affected())
    })
    .await
}
