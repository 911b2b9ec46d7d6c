//! Builds the read model anew beside the live one, which serves and moves on meanwhile, then puts it
//! in its place: `orders replay --full`.
//!
//! The new tables stand in the schema `read_model_next` under the names of the live ones, so the
//! projector's own statements fill them (with that schema first in the `search_path`) and nothing is
//! renamed in the switch. Whatever kills a rebuild leaves the live tables whole; the next one drops
//! what is left and starts over.

use std::time::Duration;

use sqlx::{Connection, PgConnection, Postgres, pool::PoolConnection};
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    checkpoint::lock_checkpoint,
    chunk::{self, WriteMode},
    error::WriteError,
    known::KnownRows,
    projector::Projector,
    session::Session,
};
use crate::{
    event_sourcing::{EventStore, Position, RecordedEvent, StoreError},
    sql::error::store_error,
};

/// How many events are folded and written at a time.
const CHUNK: u32 = 10_000;

/// With how many events left the switch may begin: it applies them while writers wait.
const NEARLY_THERE: usize = 1000;

/// How often the switch tries to get its locks, for at most three seconds each time.
const SWITCH_ATTEMPTS: u32 = 20;

/// How many orders that differ are described.
const EXAMPLES: i32 = 10;

/// The advisory lock that the one rebuild holds.
const LOCK: i64 = 7_021_839_002;

/// Opens a transaction that may take long.
const BEGIN: &str = "begin; set local statement_timeout = 0; \
    set local maintenance_work_mem = '256MB'";

/// Opens a transaction on the new tables, which stand before the live ones in its `search_path`. They
/// are locked first: were they gone, the live ones must not be taken for them. A crash may lose it, as
/// the rebuild starts over then. The tables grow, so a plan is made for each statement.
const BEGIN_FILL: &str = "begin; set local statement_timeout = 0; \
    set local synchronous_commit = off; set local plan_cache_mode = force_custom_plan; \
    lock table read_model_next.order_views in share row exclusive mode; \
    select set_config('search_path', 'read_model_next, ' || rebuild_live_schema(), true)";

/// Opens the switch: readers queue behind its wish for locks, so it gives up soon and tries again.
const BEGIN_SWITCH: &str = "begin; set local statement_timeout = '30s'; \
    set local lock_timeout = '3s'; set local plan_cache_mode = force_custom_plan";

/// Inside the switch: the new tables stay, and what is written is written to them.
const ON_NEXT: &str = "lock table read_model_next.order_views in share row exclusive mode; \
    select set_config('search_path', 'read_model_next, ' || rebuild_live_schema(), true)";

/// What a rebuild is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Folding the events.
    Fill,
    /// Making the indexes.
    Index,
    /// Comparing with the live rows.
    Compare,
    /// Taking the place of the live tables.
    Switch,
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebuildProgress {
    /// What it is doing.
    pub phase: Phase,
    /// Up to which position events are folded.
    pub position: Position,
    /// Up to which position they will be: the checkpoint, which moves on.
    pub target: Position,
    /// How many events were folded.
    pub events: u64,
}

/// In what a live order differed from the rebuilt one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuildDifference {
    /// Which order.
    pub order_id: Uuid,
    /// A column, the id of a line, or `parked`.
    pub field: String,
    /// What the live tables show.
    pub live: Option<String>,
    /// What the rebuilt tables show.
    pub rebuilt: Option<String>,
}

/// What a rebuild led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// How many events were folded.
    pub events: u64,
    /// How many live orders differed from the rebuilt ones.
    pub differing: u64,
    /// In what the first ten of them did.
    pub examples: Vec<RebuildDifference>,
    /// Whether the rebuilt tables have taken the place of the live ones.
    pub is_switched: bool,
}

/// Why there was no rebuild. The live tables are as they were.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Another one is at it.
    #[error("another rebuild is running")]
    Running,
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A rebuild of the read model.
#[derive(Debug, Clone)]
pub struct Rebuild<S> {
    projector: Projector<S>,
}

/// How far the filling is.
#[derive(Debug, Clone, Copy)]
struct Filled {
    position: Position,
    events: u64,
}

impl<S: EventStore> Rebuild<S> {
    /// Makes a rebuild of what `projector` keeps. Its pool needs three connections.
    #[must_use]
    pub fn new(projector: Projector<S>) -> Self {
        Self { projector }
    }

    /// Rebuilds the read model; with `is_dry_run` only says what would change. The future may be
    /// dropped at any time.
    ///
    /// # Errors
    /// Where another rebuild runs, or the database fails. The live tables are then as they were.
    pub async fn run(
        &self,
        is_dry_run: bool,
        progress: impl Fn(RebuildProgress) + Sync,
    ) -> Result<Rebuilt, RebuildError> {
        let mut lock = self.lock().await?;
        let done = self.run_locked(&mut lock, is_dry_run, &progress).await;
        let unlocked = sqlx::query_scalar!("select pg_advisory_unlock($1)", LOCK)
            .fetch_one(&mut *lock)
            .await;
        if let Err(error) = unlocked {
            warn!(%error, "the rebuild's lock was not given back, its connection is closed");
        }
        Ok(done?)
    }

    async fn run_locked(
        &self,
        lock: &mut PgConnection,
        is_dry_run: bool,
        progress: &(impl Fn(RebuildProgress) + Sync),
    ) -> Result<Rebuilt, StoreError> {
        self.maintain("select rebuild_start()").await?;
        let mut filled = Filled {
            position: Position::ZERO,
            events: 0,
        };
        filled = self.fill(filled, progress).await?;
        say(Phase::Index, filled, progress);
        self.maintain("select rebuild_index()").await?;
        filled = self.fill(filled, progress).await?;
        say(Phase::Compare, filled, progress);
        let (differing, examples) = self.compare(filled.position).await?;
        if is_dry_run {
            self.maintain("drop schema read_model_next cascade").await?;
        } else {
            filled = self.switch(lock, filled, progress).await?;
        }
        info!(
            events = filled.events,
            differing, is_dry_run, "the read model is rebuilt"
        );
        Ok(Rebuilt {
            events: filled.events,
            differing,
            examples,
            is_switched: !is_dry_run,
        })
    }

    async fn maintain(&self, statement: &'static str) -> Result<(), StoreError> {
        let mut session = Session::begin(&self.projector.pool, BEGIN).await?;
        session.run(statement).await?;
        session.commit().await
    }

    /// Takes the lock on a connection of its own, which is closed when it is dropped.
    async fn lock(&self) -> Result<PoolConnection<Postgres>, RebuildError> {
        let mut connection = self.projector.pool.acquire().await.map_err(store_error)?;
        connection.close_on_drop();
        let is_ours = sqlx::query_scalar!(r#"select pg_try_advisory_lock($1) as "is_ours!""#, LOCK)
            .fetch_one(&mut *connection)
            .await
            .map_err(store_error)?;
        if is_ours {
            Ok(connection)
        } else {
            Err(RebuildError::Running)
        }
    }

    /// Folds events into the new tables until little is left up to the live checkpoint.
    async fn fill(
        &self,
        mut filled: Filled,
        progress: &(impl Fn(RebuildProgress) + Sync),
    ) -> Result<Filled, StoreError> {
        let store = &self.projector.store;
        loop {
            let target = self.projector.read_checkpoint().await?.position;
            let mut page = store.read_all(filled.position, CHUNK).await?;
            page.retain(|event| event.position <= target);
            let is_short = page.len() < NEARLY_THERE;
            while let Some(last) = page.last().map(|event| event.position) {
                let count = page.len();
                // The next page is read while this one is folded and written.
                let written = self.write(filled.position, page);
                let (written, next) = tokio::join!(written, store.read_all(last, CHUNK));
                written?;
                page = next?;
                page.retain(|event| event.position <= target);
                filled.position = last;
                filled.events = filled.events.saturating_add(count as u64);
                progress(RebuildProgress {
                    phase: Phase::Fill,
                    position: last,
                    target,
                    events: filled.events,
                });
            }
            if is_short {
                return Ok(filled);
            }
        }
    }

    async fn write(&self, after: Position, events: Vec<RecordedEvent>) -> Result<(), StoreError> {
        let last = events.last().map_or(after, |event| event.position);
        match self.write_once(events, WriteMode::Fast).await {
            Err(WriteError::Data(error)) => {
                warn!(%error, "the database refuses a chunk, looking for the order");
                let mut again = self.projector.store.read_all(after, CHUNK).await?;
                again.retain(|event| event.position <= last);
                Ok(self.write_once(again, WriteMode::Bisect).await?)
            }
            done => Ok(done?),
        }
    }

    async fn write_once(
        &self,
        events: Vec<RecordedEvent>,
        care: WriteMode,
    ) -> Result<(), WriteError> {
        let Projector {
            pool,
            store,
            upcasters,
            ..
        } = &self.projector;
        let mut session = Session::begin(pool, BEGIN_FILL).await?;
        let known = &mut KnownRows::none(true);
        let connection = session.connection();
        chunk::apply(connection, store, upcasters, events, known, care, None).await?;
        session.commit().await?;
        Ok(())
    }

    async fn compare(&self, up_to: Position) -> Result<(u64, Vec<RebuildDifference>), StoreError> {
        let mut session = Session::begin(&self.projector.pool, BEGIN).await?;
        let differing =
            sqlx::query_scalar!(r#"select rebuild_compare($1) as "differing!""#, up_to.get(),)
                .fetch_one(session.connection())
                .await
                .map_err(store_error)?;
        let examples = sqlx::query_as!(
            RebuildDifference,
            r#"select order_id as "order_id!", field as "field!", live, rebuilt
               from rebuild_examples($1)"#,
            EXAMPLES,
        )
        .fetch_all(session.connection())
        .await
        .map_err(store_error)?;
        session.commit().await?;
        Ok((u64::try_from(differing).unwrap_or_default(), examples))
    }

    /// Applies the rest up to the checkpoint and switches, in one transaction that holds it.
    async fn switch(
        &self,
        lock: &mut PgConnection,
        mut filled: Filled,
        progress: &(impl Fn(RebuildProgress) + Sync),
    ) -> Result<Filled, StoreError> {
        for attempt in 1..=SWITCH_ATTEMPTS {
            filled = self.fill(filled, progress).await?;
            say(Phase::Switch, filled, progress);
            match self.switch_once(lock, filled).await {
                Err(StoreError::Unavailable(error)) if attempt < SWITCH_ATTEMPTS => {
                    warn!(%error, attempt, "the switch did not get its locks, trying again");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                switched => return switched,
            }
        }
        Ok(filled)
    }

    async fn switch_once(
        &self,
        lock: &mut PgConnection,
        mut filled: Filled,
    ) -> Result<Filled, StoreError> {
        let Projector {
            pool,
            store,
            upcasters,
            ..
        } = &self.projector;
        let mut session = Session::begin(pool, BEGIN_SWITCH).await?;
        let target = lock_checkpoint(session.connection()).await?;
        session.run(ON_NEXT).await?;
        // While this connection lives, the lock is ours, and so are the tables: no other rebuild has
        // begun, and none can drop them from here on.
        lock.ping().await.map_err(lost_lock)?;
        loop {
            let mut rest = store.read_all(filled.position, CHUNK).await?;
            rest.retain(|event| event.position <= target);
            let Some(last) = rest.last().map(|event| event.position) else {
                break;
            };
            filled.events = filled.events.saturating_add(rest.len() as u64);
            filled.position = last;
            let (connection, known) = (session.connection(), &mut KnownRows::none(true));
            let care = WriteMode::Bisect;
            chunk::apply(connection, store, upcasters, rest, known, care, None).await?;
        }
        session
            .run("set local search_path to default; select rebuild_switch()")
            .await?;
        session.commit().await?;
        Ok(filled)
    }
}

fn say(phase: Phase, filled: Filled, progress: &(impl Fn(RebuildProgress) + Sync)) {
    progress(RebuildProgress {
        phase,
        position: filled.position,
        target: filled.position,
        events: filled.events,
    });
}

/// Not transient: the switch must not be tried again.
fn lost_lock(error: sqlx::Error) -> StoreError {
    StoreError::corrupt("the rebuild's lock", error)
}
