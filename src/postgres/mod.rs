//! PostgreSQL: the event store with its group-commit writer, snapshots, idempotency keys and
//! leases; generic over aggregates.

pub mod batch;
pub mod event_store;
pub mod heartbeat;
pub mod idempotency;
pub mod identity;
pub mod lease;
pub mod queue;
pub mod snapshot_store;
pub mod writer;

use std::{str::FromStr, time::Duration};

use sqlx::{
    Connection, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

pub use event_store::PgEventStore;
pub use identity::PgStoreIdentity;
pub use lease::PgLease;
pub use queue::WriterHandle;
pub use snapshot_store::PgSnapshotStore;
pub use writer::Writer;

use crate::{
    event_sourcing::{Position, Pulse, StoreError},
    sql::{QUERY_DEADLINE, while_alive},
};

/// The migrations, embedded in the binary.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// How long one statement may take on the server.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a query waits for a connection before the client is told to come back.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(1500);

/// Reads a PostgreSQL URL into connect options with the settings that the guarantees rest on.
///
/// # Errors
/// Where the URL cannot be read.
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

/// A pool that connects when it is first used, so that the service starts and stays up while
/// PostgreSQL does not.
#[must_use]
pub fn pool(options: PgConnectOptions, max_connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A ping for each query costs a fifth of the throughput; a dead connection shows itself.
        .test_before_acquire(false)
        .idle_timeout(Duration::from_mins(5))
        .max_lifetime(Duration::from_mins(30))
        .connect_lazy_with(options)
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// It does not answer.
    #[error("PostgreSQL does not answer")]
    Unavailable(#[source] sqlx::Error),
    /// Its version is too old.
    #[error("PostgreSQL {found} is too old, version 15 or newer is needed")]
    TooOld {
        /// What it says it is.
        found: String,
    },
    /// It would lose what it acknowledged.
    #[error(
        "PostgreSQL runs with fsync=off and loses acknowledged orders when its machine stops; \
         turn it on, or pass --allow-unsafe-database"
    )]
    FsyncOff,
    /// A migration failed.
    #[error("a migration failed")]
    Migration(#[source] sqlx::migrate::MigrateError),
}

/// Checks that the database keeps its promises and applies the migrations that it lacks.
///
/// # Errors
/// See [`PrepareError`].
pub async fn prepare(options: &PgConnectOptions, allow_unsafe: bool) -> Result<(), PrepareError> {
    // Migrations may take longer than a statement of the service.
    let options = options.clone().options([("statement_timeout", "0")]);
    let connecting = async {
        let mut connection = PgConnection::connect_with(&options).await?;
        let settings = sqlx::query!(
            r#"select current_setting('server_version_num')::integer as "number!",
                      current_setting('server_version') as "version!",
                      current_setting('fsync') as "fsync!""#
        )
        .fetch_one(&mut connection)
        .await?;
        Ok((connection, settings))
    };
    // A server that is stopped takes connections and never says a word.
    let (mut connection, settings) = timeout(QUERY_DEADLINE, connecting)
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
        .map_err(PrepareError::Unavailable)?;
    if settings.number < 150_000 {
        return Err(PrepareError::TooOld {
            found: settings.version,
        });
    }
    if settings.fsync == "off" && !allow_unsafe {
        return Err(PrepareError::FsyncOff);
    }
    MIGRATOR
        .run(&mut connection)
        .await
        .map_err(PrepareError::Migration)?;
    // The connection has served; a failing goodbye changes nothing.
    drop(connection.close().await);
    Ok(())
}

/// Runs a query within a deadline, whatever is known of the server.
async fn within<T>(
    pool: &PgPool,
    query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error> + Send,
) -> Result<T, StoreError> {
    while_alive(pool, &Pulse::unwatched(), query).await
}

/// The position of the last event; zero where there is none.
///
/// # Errors
/// Where the store does not answer.
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
