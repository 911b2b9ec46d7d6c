//! A connection that only readiness uses: it neither waits for the requests' connections nor takes one
//! of them.

use std::time::Duration;

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;
use tracing::warn;

use crate::{
    read_model::queries::generic_plans,
    sql::error::{NO_ANSWER, reason},
};

/// How long connecting and asking may take together.
const DEADLINE: Duration = Duration::from_millis(900);

/// The server's own deadline, which is shorter: so no statement goes on for a caller that is gone.
const STATEMENT_TIMEOUT: (&str, &str) = ("statement_timeout", "800");

/// A server, and the connection to it.
pub(super) struct OwnConnection {
    connect: PgConnectOptions,
    connection: Option<PgConnection>,
    was_answered: bool,
}

impl OwnConnection {
    /// Connects when it is first asked.
    pub(super) fn new(connect: PgConnectOptions) -> Self {
        Self {
            connect: generic_plans(connect).options([STATEMENT_TIMEOUT]),
            connection: None,
            was_answered: true,
        }
    }

    /// Asks the server. The error says in words why there is no answer.
    pub(super) async fn ask<T>(
        &mut self,
        query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, &'static str> {
        let connection = self.connection.take();
        let asked = timeout(DEADLINE, async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => PgConnection::connect_with(&self.connect).await?,
            };
            let answer = query(&mut connection).await?;
            Ok((answer, connection))
        });
        let asked = asked.await;
        let was_answered = std::mem::replace(&mut self.was_answered, matches!(asked, Ok(Ok(_))));
        match asked {
            Ok(Ok((answer, connection))) => {
                self.connection = Some(connection);
                Ok(answer)
            }
            Ok(Err(error)) => {
                let error: sqlx::Error = error;
                if was_answered {
                    let error = &error as &dyn std::error::Error;
                    warn!(error, "readiness gets no answer from PostgreSQL");
                }
                Err(reason(&error))
            }
            Err(_) => Err(NO_ANSWER),
        }
    }

    /// Closes the connection: the next question is asked on a new one.
    pub(super) fn forget(&mut self) {
        self.connection = None;
    }
}
