//! Answers of the database, or the certainty that there will be none.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tokio::{select, time::timeout};

use super::error::store_error;
use crate::event_sourcing::{Pulse, StoreError, pulse::Silent};

/// How long a query may take before its connection is given up.
const DEADLINE: Duration = Duration::from_secs(5);

/// Runs a query while the database lives. A connection whose query did not end is closed, never
/// reused: it may be cut, and everybody who gets it would wait in turn.
pub(super) async fn within<T>(
    pool: &PgPool,
    pulse: &Pulse,
    query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error> + Send,
) -> Result<T, StoreError> {
    pulse.alive().await?;
    let mut connection = select! {
        connection = pool.acquire() => connection.map_err(store_error)?,
        () = pulse.dead() => return Err(StoreError::unavailable(Silent)),
    };
    let answer = select! {
        answer = timeout(DEADLINE, query(&mut connection)) => {
            answer.map_err(StoreError::unavailable)
        }
        () = pulse.dead() => Err(StoreError::unavailable(Silent)),
    };
    if answer.is_err() {
        connection.close_on_drop();
    }
    answer?.map_err(store_error)
}
