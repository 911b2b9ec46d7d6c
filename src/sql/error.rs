//! What a failed statement means: the only file that knows SQLSTATEs.

use std::borrow::Cow;

use sqlx::{Error, error::DatabaseError};

use crate::event_sourcing::StoreError;

/// Classifies a query's error: unavailable (the query can be tried again) or corrupt (trying again
/// does not help).
#[must_use]
pub fn store_error(error: Error) -> StoreError {
    if is_unavailable(&error) {
        StoreError::unavailable(error)
    } else {
        StoreError::corrupt("an answer of the database", error)
    }
}

/// Whether the connection or the server failed, and not the statement.
fn is_unavailable(error: &Error) -> bool {
    match error {
        Error::Database(_) => code(error).is_some_and(|code| is_transient(&code)),
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => true,
        _ => false,
    }
}

/// SQLSTATEs after which the same statement can succeed: connection failure (08), the server is a
/// standby for now (25006), the session was ended while idle (25P03), the server accepts no login or
/// connection for now (28, 3D, 55000), conflict between transactions (40), resources (53), lock not
/// available (55P03), intervention by an operator (57), system error (58).
fn is_transient(code: &str) -> bool {
    matches!(
        code.get(..2),
        Some("08" | "28" | "3D" | "40" | "53" | "57" | "58")
    ) || matches!(code, READ_ONLY | "25P03" | "55000" | "55P03")
}

/// Whether a failed statement has certainly stored nothing: the server reported an error for it.
/// A session that an operator or a crash ended (57P01, 57P02) is uncertain: the commit may have come
/// first.
#[must_use]
pub fn has_stored_nothing(error: &Error) -> bool {
    code(error).is_some_and(|code| code != "57P01" && code != "57P02")
}

/// Whether the session takes no writes.
#[must_use]
pub fn is_read_only(error: &Error) -> bool {
    code(error).is_some_and(|code| code == READ_ONLY)
}

/// The SQLSTATE of a write in a session that takes none: of a standby, for example.
const READ_ONLY: &str = "25006";

/// What [`reason`] says of a server without an answer.
pub const NO_ANSWER: &str = "PostgreSQL does not answer";

/// What is wrong with the server, in words for its operator. The error's own text is for the log.
#[must_use]
pub fn reason(error: &Error) -> &'static str {
    let Some(code) = code(error) else {
        return NO_ANSWER;
    };
    match (&*code, code.get(..2)) {
        ("53100", _) => "the disk of PostgreSQL is full",
        (READ_ONLY, _) => "PostgreSQL is read-only",
        (_, Some("53")) => "PostgreSQL lacks memory, connections or another resource",
        (_, Some("58")) => "the disk or operating system of PostgreSQL fails",
        (_, Some("57")) => "PostgreSQL starts, stops or takes too long",
        (_, Some("28" | "3D" | "55")) => "PostgreSQL takes no connection, or a lock is held",
        _ => "PostgreSQL answers with an error, which is in the log",
    }
}

/// Whether the values sent are at fault: data exceptions (22), integrity (23), limits (54) and
/// features (0A), such as text with NUL.
#[must_use]
pub fn is_about_data(error: &Error) -> bool {
    matches!(error, Error::Encode(_))
        || code(error).is_some_and(|code| matches!(code.get(..2), Some("22" | "23" | "54" | "0A")))
}

/// Whether a concurrent transaction won (40): the values and the database are in order.
#[must_use]
pub fn is_lost_race(error: &Error) -> bool {
    code(error).is_some_and(|code| code.starts_with("40"))
}

fn code(error: &Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(DatabaseError::code)
}

/// The name of the constraint that a statement violated, if any.
#[must_use]
pub fn broken_constraint(error: &Error) -> Option<&str> {
    error
        .as_database_error()
        .and_then(DatabaseError::constraint)
}
