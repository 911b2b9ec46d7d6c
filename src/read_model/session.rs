//! A database transaction that cannot leak into the pool.
//!
//! sqlx's own transaction is rolled back by whoever uses its connection next, and a `begin()` that
//! is dropped midway can leave a connection in a transaction nobody knows of. Here a connection
//! returns to the pool only after a commit or rollback that was answered; in any other case (an
//! error, a deadline, a dropped future) it is closed, and the server rolls back.

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};

use crate::{event_sourcing::StoreError, sql::error::store_error};

/// An open transaction on a connection of its own.
#[derive(Debug)]
pub(super) struct Session {
    connection: PoolConnection<Postgres>,
    is_finished: bool,
}

impl Session {
    /// Takes a connection and opens a transaction with these statements, in one round trip.
    pub(super) async fn begin(pool: &PgPool, opening: &'static str) -> Result<Self, StoreError> {
        let connection = pool.acquire().await.map_err(store_error)?;
        let mut session = Self {
            connection,
            is_finished: false,
        };
        session.run(opening).await?;
        Ok(session)
    }

    /// The connection, inside the transaction.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Runs statements without arguments and results.
    pub(super) async fn run(&mut self, statements: &'static str) -> Result<(), StoreError> {
        sqlx::raw_sql(statements)
            .execute(&mut *self.connection)
            .await
            .map_err(store_error)?;
        Ok(())
    }

    /// Commits. After an error the outcome is unknown; all writers here can be asked again.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.run("commit").await?;
        self.is_finished = true;
        Ok(())
    }

    /// Rolls back, so that the connection can be used again.
    pub(super) async fn rollback(mut self) -> Result<(), StoreError> {
        self.run("rollback").await?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_finished {
            self.connection.close_on_drop();
        }
    }
}
