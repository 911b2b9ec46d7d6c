//! The schema: checks of the server and of the database, and the migrations.

use sqlx::{
    Connection, PgConnection,
    migrate::{Migrate, MigrateError, Migrator},
    postgres::PgConnectOptions,
};
use tokio::time::timeout;

use crate::sql::QUERY_DEADLINE;

/// The migrations, embedded in the binary.
static MIGRATOR: Migrator = sqlx::migrate!();

/// Where sqlx records which migrations a database has.
const MIGRATIONS_TABLE: &str = "_sqlx_migrations";

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The server does not answer.
    #[error("PostgreSQL does not answer")]
    Unavailable(#[source] sqlx::Error),
    /// The server's version is too old.
    #[error("PostgreSQL {found} is too old, version 15 or newer is needed")]
    TooOld {
        /// The server's version.
        found: String,
    },
    /// The server would lose acknowledged orders.
    #[error(
        "PostgreSQL runs with fsync=off and loses acknowledged orders when its machine stops; \
         turn it on, or pass --allow-unsafe-database"
    )]
    FsyncOff,
    /// The schema is older than the first release.
    #[error(
        "this database was made by a version of orders before 0.2.0, the first release, and its \
         schema cannot be upgraded: start with an empty database or another data directory \
         (ORDERS_DATA_DIR), and keep the old program to read the old orders"
    )]
    BeforeFirstRelease,
    /// A migration failed.
    #[error("a migration failed")]
    Migration(#[source] MigrateError),
}

/// Checks the settings of the server and applies the migrations that the database lacks.
///
/// # Errors
/// See [`PrepareError`].
pub async fn prepare(options: &PgConnectOptions, allow_unsafe: bool) -> Result<(), PrepareError> {
    // A migration may take longer than a statement of the service.
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
    // A stopped server process (SIGSTOP) accepts connections but never answers.
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
    if let Err(error) = MIGRATOR.run(&mut connection).await {
        return Err(if is_before_first_release(&mut connection).await {
            PrepareError::BeforeFirstRelease
        } else {
            PrepareError::Migration(error)
        });
    }
    // The work is done; an error while closing changes nothing.
    drop(connection.close().await);
    Ok(())
}

/// Whether the database's first migration is not ours. A released migration is never edited, so such a
/// database was made before the first release.
async fn is_before_first_release(connection: &mut PgConnection) -> bool {
    let applied = connection.list_applied_migrations(MIGRATIONS_TABLE).await;
    let applied = applied.unwrap_or_default();
    let ours = MIGRATOR.iter().next();
    applied
        .first()
        .zip(ours)
        .is_some_and(|(theirs, ours)| theirs.checksum != ours.checksum)
}
