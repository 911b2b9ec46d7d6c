//! Appends a batch of commands in one statement: the rows that the SQL function `append_commands` takes,
//! and the lighter `append_event` for a batch of one event.

use std::time::Duration;

use serde_json::value::RawValue;
use sqlx::{PgConnection, postgres::types::PgInterval, types::Json};
use uuid::Uuid;

use crate::{
    event_sourcing::{Append, NewEvent, Position, Timestamp},
    sql::composite_type,
};

/// The result of one command of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Stored, by this call or an earlier one: the position of its last event.
    Appended(Position),
    /// The stream is not at the expected version.
    Conflict,
    /// The idempotency key was used before.
    Duplicate,
}

impl Outcome {
    /// Reads a result of the SQL functions: a position, -1 or -2.
    fn of(answer: i64) -> Result<Self, sqlx::Error> {
        match answer {
            0.. => Ok(Self::Appended(Position::new(answer))),
            -1 => Ok(Self::Conflict),
            -2 => Ok(Self::Duplicate),
            _ => Err(unreadable(&[answer])),
        }
    }
}

/// `new_command`: a command to append. The key's attributes are null without a key.
#[derive(Debug, sqlx::Encode)]
struct NewCommandRow<'a> {
    command_id: Uuid,
    aggregate_id: Uuid,
    expected_version: i32,
    scope: Option<&'a str>,
    key: Option<&'a str>,
    fingerprint: Option<&'a [u8]>,
    version: i32,
}

composite_type!(NewCommandRow, "new_command");

impl<'a> From<&'a Append> for NewCommandRow<'a> {
    fn from(append: &'a Append) -> Self {
        let key = append.key.as_ref();
        Self {
            command_id: append.command_id,
            aggregate_id: append.stream.aggregate_id,
            expected_version: append.expected.get(),
            scope: key.map(|key| key.scope.as_str()),
            key: key.map(|key| key.key.as_str()),
            fingerprint: key.map(|key| key.fingerprint.as_slice()),
            version: append.last_version().get(),
        }
    }
}

/// `new_event`: an event to append.
#[derive(Debug, sqlx::Encode)]
struct NewEventRow<'a> {
    /// The number of its command in the batch, from 1.
    command: i32,
    aggregate_id: Uuid,
    expected_version: i32,
    event_id: Uuid,
    aggregate_type: &'a str,
    version: i32,
    event_type: &'a str,
    schema_version: i16,
    data: Json<&'a RawValue>,
    metadata: Json<&'a RawValue>,
    created_at: Timestamp,
}

composite_type!(NewEventRow, "new_event");

/// The events of a batch, in its order.
fn event_rows<'a>(batch: &[&'a Append]) -> Vec<NewEventRow<'a>> {
    let mut rows = Vec::new();
    for (command, append) in (1..).zip(batch) {
        for (index, event) in append.events.iter().enumerate() {
            rows.push(NewEventRow {
                command,
                aggregate_id: append.stream.aggregate_id,
                expected_version: append.expected.get(),
                event_id: event.event_id,
                aggregate_type: append.stream.aggregate_type,
                version: append.expected.plus(index + 1).get(),
                event_type: event.event_type,
                schema_version: event.schema_version,
                data: Json(&*event.data),
                metadata: Json(&*append.metadata),
                created_at: append.occurred_at,
            });
        }
    }
    rows
}

/// Appends a batch in one autocommit statement and returns the outcome of each command, in the batch's
/// order. A batch has at most one command per aggregate and per key.
///
/// `is_resent`: an earlier call may have stored the batch; its commands are then recognised.
///
/// # Errors
/// When the statement fails. Nothing of the batch is stored then, unless the connection was lost.
pub async fn append_commands(
    connection: &mut PgConnection,
    batch: &[&Append],
    key_ttl: Duration,
    is_resent: bool,
) -> Result<Vec<Outcome>, sqlx::Error> {
    if let ([append], false) = (batch, is_resent)
        && let ([event], None) = (append.events.as_slice(), &append.key)
    {
        let outcome = append_event(connection, append, event).await?;
        return Ok(vec![outcome]);
    }
    let commands: Vec<_> = batch.iter().copied().map(NewCommandRow::from).collect();
    // A command without events stores nothing that the insert could check, so it counts as one with a key.
    let has_keys = batch
        .iter()
        .any(|append| append.key.is_some() || append.events.is_empty());
    let key_ttl = PgInterval::try_from(key_ttl).map_err(sqlx::Error::Encode)?;
    let positions = sqlx::query_scalar!(
        r#"select append_commands($1, $2, $3, $4, $5) as "positions!""#,
        &commands as &[NewCommandRow<'_>],
        &event_rows(batch) as &[NewEventRow<'_>],
        has_keys,
        key_ttl,
        is_resent,
    )
    .fetch_one(connection)
    .await?;
    if positions.len() != batch.len() {
        return Err(unreadable(&positions));
    }
    positions.into_iter().map(Outcome::of).collect()
}

/// Appends a single command with one event and without a key, in its first call: only the expected
/// version has to be checked.
async fn append_event(
    connection: &mut PgConnection,
    append: &Append,
    event: &NewEvent,
) -> Result<Outcome, sqlx::Error> {
    let position = sqlx::query_scalar!(
        r#"select append_event($1, $2, $3, $4, $5, $6, $7, $8, $9) as "position!""#,
        append.stream.aggregate_id,
        append.expected.get(),
        event.event_id,
        append.stream.aggregate_type,
        event.event_type,
        event.schema_version,
        Json(&*event.data) as Json<&RawValue>,
        Json(&*append.metadata) as Json<&RawValue>,
        append.occurred_at,
    )
    .fetch_one(connection)
    .await?;
    Outcome::of(position)
}

fn unreadable(answers: &[i64]) -> sqlx::Error {
    sqlx::Error::Protocol(format!("the append function answered {answers:?}"))
}
