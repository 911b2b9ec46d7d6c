//! What a failed query means: the one place that knows SQLSTATEs.

use sqlx::{Error, error::DatabaseError};

use crate::event_sourcing::StoreError;

/// Why a chunk of events could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// The database refused the data itself: some order in the chunk is the culprit.
    #[error("the database refused the rows")]
    Data(#[source] Error),
    /// Whatever the data, it could not be done.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WriteError {
    /// Tells a refusal of the data from a failure of the database.
    pub(super) fn from_query(error: Error) -> Self {
        if is_about_data(&error) {
            Self::Data(error)
        } else {
            Self::Store(store_error(error))
        }
    }
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Data(error) => StoreError::corrupt("the read model", error),
            WriteError::Store(error) => error,
        }
    }
}

/// Tells a database that does not answer, or cannot just now ([`StoreError::Unavailable`]), from
/// answers that should not be ([`StoreError::Corrupt`]).
pub(super) fn store_error(error: Error) -> StoreError {
    let is_unavailable = match &error {
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => true,
        Error::Database(database) => is_passing(database.as_ref()),
        _ => false,
    };
    if is_unavailable {
        StoreError::unavailable(error)
    } else {
        StoreError::corrupt("the read model", error)
    }
}

/// Whether the database was asked for something it can do at another time: connection failures
/// (08), read-only transactions after a failover (25006), aborted sessions (25P03), nobody let in
/// (28, 3D, 55000), lost races (40), no resources (53), locks not had in time (55P03), shutdowns and
/// timeouts (57), disks (58).
fn is_passing(error: &dyn DatabaseError) -> bool {
    error.code().is_some_and(|code| {
        [
            "08", "25006", "25P03", "28", "3D", "40", "53", "55000", "55P03", "57", "58",
        ]
        .iter()
        .any(|prefix| code.starts_with(prefix))
    })
}

/// Whether somebody else was faster: nothing is wrong with the values or the database.
pub(super) fn is_lost_race(error: &Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| code.starts_with("40"))
}

/// Whether the values are at fault: data exceptions (22), integrity (23), limits (54), features (0A).
fn is_about_data(error: &Error) -> bool {
    if let Error::Encode(_) = error {
        return true;
    }
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| matches!(code.get(..2), Some("22" | "23" | "54" | "0A")))
}

/// An error with all its causes in one line, for a parked order's reason.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
