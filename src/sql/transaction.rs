//! A database transaction that cannot leak into the pool.
//!
//! sqlx rolls its own transaction back only when the next user takes the connection, and a `begin()`
//! that is dropped midway can leave a transaction open that sqlx does not know of. Here a connection
//! returns to the pool only after the commit or rollback was answered. In any other case (an error, a
//! deadline, a dropped future) it is closed, and the server rolls back.

use sqlx::{PgConnection, PgPool};

use super::{connection::GuardedConnection, error::store_error};
use crate::event_sourcing::StoreError;

/// An open transaction on a connection of its own.
#[derive(Debug)]
pub struct Transaction {
    connection: GuardedConnection,
}

impl Transaction {
    /// Takes a connection and opens a transaction with these statements (`begin; …`), in one round
    /// trip.
    ///
    /// # Errors
    /// If there is no connection, or a statement fails.
    pub async fn begin(pool: &PgPool, statements: &'static str) -> Result<Self, StoreError> {
        let connection = GuardedConnection::acquire(pool).await?;
        let mut transaction = Self { connection };
        transaction.run(statements).await?;
        Ok(transaction)
    }

    /// The connection, inside the transaction.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Runs statements that have neither arguments nor results.
    ///
    /// # Errors
    /// If one of them fails.
    pub async fn run(&mut self, statements: &'static str) -> Result<(), StoreError> {
        sqlx::raw_sql(statements)
            .execute(&mut *self.connection)
            .await
            .map_err(store_error)?;
        Ok(())
    }

    /// Commits.
    ///
    /// # Errors
    /// If the database does not confirm: whether it committed is then unknown.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.run("commit").await?;
        self.connection.release();
        Ok(())
    }

    /// Rolls back, and keeps the connection for reuse.
    ///
    /// # Errors
    /// If the database does not confirm: the connection is then closed.
    pub async fn rollback(mut self) -> Result<(), StoreError> {
        self.run("rollback").await?;
        self.connection.release();
        Ok(())
    }
}
