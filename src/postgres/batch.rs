//! One statement for many commands: the columns of `append_commands`; and a lighter one for a command
//! that is alone.

use std::time::Duration;

use serde_json::value::RawValue;
use sqlx::{PgConnection, postgres::types::PgInterval, types::Json};
use uuid::Uuid;

use crate::event_sourcing::{Append, NewEvent, Position, Timestamp};

/// What became of one command of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Stored, now or by an earlier try of the same batch.
    Appended(Position),
    /// The stream is not at the expected version.
    Conflict,
    /// The idempotency key was used before.
    Duplicate,
}

impl Outcome {
    /// Reads what the functions say: a position, -1 or -2.
    fn of(answer: i64) -> Result<Self, sqlx::Error> {
        match answer {
            0.. => Ok(Self::Appended(Position::new(answer))),
            -1 => Ok(Self::Conflict),
            -2 => Ok(Self::Duplicate),
            _ => Err(unreadable(&[answer])),
        }
    }
}

/// The arguments of `append_commands`: one element a command in the first group (from the scopes on
/// none at all where no command has a key), one element an event in the second.
#[derive(Debug, Default)]
struct Columns<'a> {
    command_ids: Vec<Uuid>,
    aggregate_ids: Vec<Uuid>,
    expected_versions: Vec<i32>,
    scopes: Vec<Option<&'a str>>,
    keys: Vec<Option<&'a str>>,
    fingerprints: Vec<Option<&'a [u8]>>,
    versions: Vec<Option<i32>>,
    event_command: Vec<i32>,
    event_ids: Vec<Uuid>,
    event_aggregate_types: Vec<&'a str>,
    event_versions: Vec<i32>,
    event_types: Vec<&'a str>,
    event_schemas: Vec<i16>,
    event_data: Vec<&'a str>,
    event_metadata: Vec<&'a str>,
    event_times: Vec<Timestamp>,
}

impl<'a> Columns<'a> {
    fn of(batch: &[&'a Append]) -> Self {
        let mut columns = Self::default();
        // A command without events is judged by the version that it expects, as one with a key is.
        let has_keys = batch
            .iter()
            .any(|append| append.key.is_some() || append.events.is_empty());
        for append in batch {
            columns.command_ids.push(append.command_id);
            columns.aggregate_ids.push(append.stream.aggregate_id);
            columns.expected_versions.push(append.expected.get());
            if has_keys {
                columns.push_key(append);
            }
            columns.push_events(append);
        }
        columns
    }

    fn push_key(&mut self, append: &'a Append) {
        let key = append.key.as_ref();
        self.scopes.push(key.map(|key| key.scope.as_str()));
        self.keys.push(key.map(|key| key.key.as_str()));
        self.fingerprints
            .push(key.map(|key| key.fingerprint.as_slice()));
        self.versions.push(key.map(|_| append.last_version().get()));
    }

    fn push_events(&mut self, append: &'a Append) {
        let command = i32::try_from(self.command_ids.len()).unwrap_or(i32::MAX);
        for (index, event) in append.events.iter().enumerate() {
            self.event_command.push(command);
            self.event_ids.push(event.event_id);
            self.event_aggregate_types
                .push(append.stream.aggregate_type);
            self.event_versions
                .push(append.expected.plus(index + 1).get());
            self.event_types.push(event.event_type);
            self.event_schemas.push(event.schema_version);
            self.event_data.push(event.data.get());
            self.event_metadata.push(append.metadata.get());
            self.event_times.push(append.occurred_at);
        }
    }
}

/// Appends a batch in one autocommit statement and returns an outcome for each command, in the
/// batch's order. At most one command an aggregate and one a key may stand in a batch.
///
/// `is_resent` says that an earlier try may have been stored: its commands are then recognised.
///
/// # Errors
/// The statement's. Nothing of the batch is stored then, unless the connection was lost.
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
    let columns = Columns::of(batch);
    let key_ttl = PgInterval::try_from(key_ttl).map_err(sqlx::Error::Encode)?;
    let positions = sqlx::query_scalar!(
        r#"select append_commands($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
                                  $16, $17, $18) as "positions!""#,
        &columns.command_ids,
        &columns.aggregate_ids,
        &columns.expected_versions,
        &columns.scopes as &[Option<&str>],
        &columns.keys as &[Option<&str>],
        &columns.fingerprints as &[Option<&[u8]>],
        &columns.versions as &[Option<i32>],
        key_ttl,
        &columns.event_command,
        &columns.event_ids,
        &columns.event_aggregate_types as &[&str],
        &columns.event_versions,
        &columns.event_types as &[&str],
        &columns.event_schemas,
        &columns.event_data as &[&str],
        &columns.event_metadata as &[&str],
        &columns.event_times,
        is_resent,
    )
    .fetch_one(connection)
    .await?;
    if positions.len() != batch.len() {
        return Err(unreadable(&positions));
    }
    positions.into_iter().map(Outcome::of).collect()
}

/// The same for a command alone that has one event and no key, and was not sent before: there is
/// nothing but the expected version to judge.
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
