//! A pooled connection that cannot carry unfinished work to its next user.

use std::ops::{Deref, DerefMut};

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};

use super::error::store_error;
use crate::event_sourcing::StoreError;

/// A connection of a pool that is closed when it is dropped, unless it was [released](Self::release).
///
/// A future that uses a connection can be dropped at any await: by a deadline, or by a client that
/// hangs up. A connection that is dropped with it may still owe an answer, or be inside a transaction.
/// sqlx pings such a connection before reuse, without a deadline, so one whose network is cut would
/// keep its place in the pool for ever.
#[derive(Debug)]
pub struct GuardedConnection {
    connection: PoolConnection<Postgres>,
    is_released: bool,
}

impl GuardedConnection {
    /// Takes a connection from the pool.
    ///
    /// # Errors
    /// If the pool has no connection within its timeout, or cannot connect.
    pub async fn acquire(pool: &PgPool) -> Result<Self, StoreError> {
        Ok(Self {
            connection: pool.acquire().await.map_err(store_error)?,
            is_released: false,
        })
    }

    /// Returns the connection to the pool. To be called only when every statement was answered and no
    /// transaction is open.
    pub fn release(mut self) {
        self.is_released = true;
    }
}

impl Drop for GuardedConnection {
    fn drop(&mut self) {
        if !self.is_released {
            self.connection.close_on_drop();
        }
    }
}

impl Deref for GuardedConnection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for GuardedConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}
