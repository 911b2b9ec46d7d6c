//! The condition of the store, of the leases and of the relay. It is in the database, so every process
//! can show it, whichever of them relays and projects.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::within;
use crate::event_sourcing::{Position, StoreError, Timestamp};

/// The condition of the store, as one statement sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreCondition {
    /// The position of the last event; zero when there is none.
    pub newest: Position,
    /// Whether the server is a standby.
    pub is_standby: bool,
    /// Whether it takes no writes.
    pub is_read_only: bool,
    /// The events after the read model's checkpoint.
    pub unapplied: Missing,
    /// What the relay has reported.
    pub relay: RelayCondition,
}

/// The events that something lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missing {
    /// How many there are; they are counted up to [`COUNTED`].
    pub events: u64,
    /// How long ago the first one happened.
    pub oldest: Option<Duration>,
}

/// How many missing events are counted. Counting takes a millisecond at most.
pub const COUNTED: u64 = 1000;

/// What the relay has reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayCondition {
    /// The stream holds every event up to here.
    pub position: Position,
    /// The events after it.
    pub unpublished: Missing,
    /// How long its steps have failed, and why the last one did.
    pub failure: Option<(Duration, String)>,
}

/// A lease that nobody has renewed in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredLease {
    /// Its name.
    pub name: String,
    /// How long ago it ran out.
    pub expired_for: Duration,
}

/// Reads the condition of the store. `checkpoint` is the one of the read model.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn read(
    connection: &mut PgConnection,
    checkpoint: Position,
) -> Result<StoreCondition, sqlx::Error> {
    let row = sqlx::query!(
        r#"select clock_timestamp() as "now!",
                  coalesce((select max(position) from events), 0) as "newest!",
                  pg_is_in_recovery() as "is_standby!",
                  current_setting('transaction_read_only') = 'on' as "is_read_only!",
                  (select count(*) from (select from events e where e.position > $1
                                         order by e.position limit $2) m) as "unapplied!",
                  (select e.created_at from events e where e.position > $1
                   order by e.position limit 1) as unapplied_since,
                  (select count(*) from (select from events e where e.position > r.position
                                         order by e.position limit $2) m) as "unpublished!",
                  (select e.created_at from events e where e.position > r.position
                   order by e.position limit 1) as unpublished_since,
                  r.position as relay_position, r.failing_since, r.failure
           from relay_state r"#,
        checkpoint.get(),
        COUNTED.cast_signed(),
    )
    .fetch_one(connection)
    .await?;
    let age = |since: Timestamp| duration(since, row.now);
    let missing = |events: i64, since: Option<Timestamp>| Missing {
        events: events.cast_unsigned(),
        oldest: since.map(age),
    };
    Ok(StoreCondition {
        newest: Position::new(row.newest),
        is_standby: row.is_standby,
        is_read_only: row.is_read_only,
        unapplied: missing(row.unapplied, row.unapplied_since),
        relay: RelayCondition {
            position: Position::new(row.relay_position),
            unpublished: missing(row.unpublished, row.unpublished_since),
            failure: row.failing_since.map(age).zip(row.failure),
        },
    })
}

/// Reads the leases that have run out.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn read_expired_leases(
    connection: &mut PgConnection,
) -> Result<Vec<ExpiredLease>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select name, until, clock_timestamp() as "now!"
           from leases where until < clock_timestamp()"#,
    )
    .fetch_all(connection)
    .await?;
    let expired = rows.into_iter().map(|row| ExpiredLease {
        name: row.name,
        expired_for: duration(row.until, row.now),
    });
    Ok(expired.collect())
}

/// The time between two instants; none if the clock was set back in between.
fn duration(since: Timestamp, now: Timestamp) -> Duration {
    (now - since).to_std().unwrap_or_default()
}

/// Where the relay's reports are kept. Only those of the lease's holder count.
#[derive(Debug, Clone)]
pub struct RelayReports {
    /// The database.
    pub pool: PgPool,
    /// The name of the relay's lease.
    pub lease: &'static str,
    /// This process.
    pub holder: Uuid,
}

impl RelayReports {
    /// Reads the position of the last report, in the present incarnation of the stream.
    ///
    /// # Errors
    /// When PostgreSQL fails.
    pub async fn position(&self) -> Result<Position, StoreError> {
        within(&self.pool, async |connection| {
            let position = sqlx::query_scalar!("select position from relay_state");
            position.fetch_one(connection).await.map(Position::new)
        })
        .await
    }

    /// Writes a report: the position up to which the stream is filled, if the last step has found out,
    /// and how long the steps have failed and why, if they do. Returns false if another process holds
    /// the lease.
    ///
    /// # Errors
    /// When PostgreSQL fails.
    pub async fn write(
        &self,
        position: Option<Position>,
        failure: Option<(Duration, String)>,
    ) -> Result<bool, StoreError> {
        let (failing_for, failure) = failure.unzip();
        let milliseconds = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        within(&self.pool, async |connection| {
            let written = sqlx::query!(
                "update relay_state r
                 set position = coalesce($1, r.position), failure = $2,
                     failing_since = clock_timestamp() - $3::bigint * interval '1 millisecond'
                 from leases l
                 where l.name = $4 and l.holder = $5 and l.until > clock_timestamp()",
                position.map(Position::get),
                failure,
                failing_for.map(milliseconds),
                self.lease,
                self.holder,
            )
            .execute(connection)
            .await?;
            Ok(written.rows_affected() > 0)
        })
        .await
    }
}
