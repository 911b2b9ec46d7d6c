//! Asking PostgreSQL: an answer, or the certainty that there will be none. For the adapters that do.

pub mod error;
mod event_row;

use std::time::Duration;

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::{select, time::timeout};

use crate::event_sourcing::{Pulse, StoreError, pulse::Silent};
use error::store_error;
pub use event_row::EventRow;

/// How long a query may take before its connection is given up.
pub const QUERY_DEADLINE: Duration = Duration::from_secs(5);

/// A connection that is closed unless its query came to an end: on its way back to the pool sqlx asks
/// it for a sign of life without a deadline, and one that is cut would keep its place for ever.
struct Lent {
    connection: PoolConnection<Postgres>,
    is_done: bool,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.is_done {
            self.connection.close_on_drop();
        }
    }
}

/// Runs a query within a deadline, given up as soon as the database is known to be dead. A connection
/// whose query did not end is closed, never reused: it may be cut, and everybody who gets it would wait
/// in turn.
///
/// # Errors
/// Where the database does not answer, or with what the query's error means.
pub async fn while_alive<T>(
    pool: &PgPool,
    pulse: &Pulse,
    query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error> + Send,
) -> Result<T, StoreError> {
    pulse.alive().await?;
    let connection = select! {
        connection = pool.acquire() => connection.map_err(store_error)?,
        () = pulse.dead() => return Err(StoreError::unavailable(Silent)),
    };
    let mut lent = Lent {
        connection,
        is_done: false,
    };
    let answer = select! {
        answer = timeout(QUERY_DEADLINE, query(&mut lent.connection)) => {
            answer.map_err(StoreError::unavailable)
        }
        () = pulse.dead() => Err(StoreError::unavailable(Silent)),
    };
    lent.is_done = answer.is_ok();
    answer?.map_err(store_error)
}
