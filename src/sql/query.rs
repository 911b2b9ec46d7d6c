//! Single queries with a deadline.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tokio::{select, time::timeout};

use super::{
    connection::GuardedConnection,
    error::{is_read_only, store_error},
};
use crate::event_sourcing::{Pulse, StoreError, pulse::NoAnswer};

/// How long a query may take.
pub const QUERY_DEADLINE: Duration = Duration::from_secs(5);

/// Runs a query on a connection of the pool. It ends after [`QUERY_DEADLINE`] at the latest, or as
/// soon as `pulse` reports that the database does not answer.
///
/// # Errors
/// [`StoreError::Unavailable`] if the query did not end in time; else as [`store_error`] classifies the
/// query's error.
pub async fn run_query<T>(
    pool: &PgPool,
    pulse: &Pulse,
    query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error> + Send,
) -> Result<T, StoreError> {
    pulse.wait_until_alive().await?;
    let mut connection = select! {
        connection = GuardedConnection::acquire(pool) => connection?,
        () = pulse.wait_until_dead() => return Err(StoreError::unavailable(NoAnswer)),
    };
    let result = select! {
        result = timeout(QUERY_DEADLINE, query(&mut connection)) => {
            result.map_err(StoreError::unavailable)?
        }
        () = pulse.wait_until_dead() => return Err(StoreError::unavailable(NoAnswer)),
    };
    // A session that takes no writes is closed: it may keep that setting when the server takes them again.
    if !result.as_ref().is_err_and(is_read_only) {
        connection.release();
    }
    result.map_err(store_error)
}
