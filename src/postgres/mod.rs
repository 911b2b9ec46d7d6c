//! PostgreSQL: the event store with its group-commit writer, snapshots, idempotency keys, leases and the
//! schema; generic over aggregates. No orders, no read model.

pub mod append_watch;
pub mod batch;
pub mod condition;
pub mod event_store;
pub mod heartbeat;
pub mod idempotency;
pub mod identity;
pub mod lease;
pub mod queue;
pub mod schema;
pub mod snapshot_store;
pub mod writer;

use std::{str::FromStr, time::Duration};

use sqlx::{
    PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

pub use append_watch::AppendWatch;
pub use event_store::PgEventStore;
pub use identity::PgStoreIdentity;
pub use lease::PgLease;
pub use queue::WriterHandle;
pub use schema::{PrepareError, prepare};
pub use snapshot_store::PgSnapshotStore;
pub use writer::Writer;

use crate::{
    event_sourcing::{Position, Pulse, StoreError},
    sql::run_query,
};

/// The server cancels a statement that takes longer.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a query waits for a free connection; then the client gets 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(1500);

/// Parses a PostgreSQL URL and adds the session settings that the guarantees need.
///
/// # Errors
/// When the URL is invalid.
pub fn connect_options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    let statement_timeout = STATEMENT_TIMEOUT.as_millis().to_string();
    Ok(PgConnectOptions::from_str(url)?
        .application_name("orders")
        .options([
            ("statement_timeout", statement_timeout.as_str()),
            ("idle_in_transaction_session_timeout", "30s"),
            ("synchronous_commit", "on"),
            ("timezone", "UTC"),
        ]))
}

/// A pool that connects at its first query, so that the service keeps running while PostgreSQL is down.
#[must_use]
pub fn pool(options: PgConnectOptions, max_connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A ping before each query costs a fifth of the throughput. A query on a dead connection fails.
        .test_before_acquire(false)
        .idle_timeout(Duration::from_mins(5))
        .max_lifetime(Duration::from_mins(30))
        .connect_lazy_with(options)
}

/// Runs a query within a deadline, also when the server is known to be down.
async fn within<T>(
    pool: &PgPool,
    query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error> + Send,
) -> Result<T, StoreError> {
    run_query(pool, &Pulse::unwatched(), query).await
}

/// The position of the last event; zero when there is none.
///
/// # Errors
/// When PostgreSQL does not answer.
pub async fn last_position(pool: &PgPool) -> Result<Position, StoreError> {
    within(pool, async |connection| {
        read_last_position(connection).await
    })
    .await
}

async fn read_last_position(connection: &mut PgConnection) -> Result<Position, sqlx::Error> {
    let last = sqlx::query_scalar!(r#"select coalesce(max(position), 0) as "last!" from events"#);
    last.fetch_one(connection).await.map(Position::new)
}
