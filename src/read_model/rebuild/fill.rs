//! Folds the events into the new tables.

use tracing::warn;

use super::{
    super::{
        chunk::{self, WriteMode},
        error::WriteError,
        projector::Projector,
        row_cache::RowCache,
    },
    report::{Phase, RebuildProgress},
};
use crate::{
    event_sourcing::{EventStore, Position, RecordedEvent, StoreError},
    sql::Transaction,
};

/// How many events are folded and written at a time.
pub(super) const CHUNK: u32 = 10_000;

/// The switch may begin when fewer events than this are left: it applies them while writers wait.
const MAX_LEFT_FOR_SWITCH: usize = 1000;

/// Opens a transaction that writes to the new tables: they come before the live ones in its
/// `search_path`. They are locked first, so that the live tables are not written if the new ones are
/// gone. A crash of the database may lose the transaction, because the rebuild then starts over. The
/// tables grow, so each execution is planned.
const BEGIN: &str = "begin; set local statement_timeout = 0; \
    set local synchronous_commit = off; set local plan_cache_mode = force_custom_plan; \
    lock table read_model_next.order_views in share row exclusive mode; \
    select set_config('search_path', 'read_model_next, ' || rebuild_live_schema(), true)";

/// How far the new tables are filled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filled {
    /// The events up to this position are folded.
    pub(super) position: Position,
    /// How many events were folded.
    pub(super) events: u64,
}

impl Filled {
    /// The new tables are empty.
    pub(super) const NOTHING: Self = Self {
        position: Position::ZERO,
        events: 0,
    };

    /// Adds `count` events up to `position`.
    pub(super) fn advance(&mut self, position: Position, count: usize) {
        self.position = position;
        self.events = self.events.saturating_add(count as u64);
    }

    /// The progress in a phase that has reached its target.
    pub(super) fn progress(self, phase: Phase) -> RebuildProgress {
        RebuildProgress {
            phase,
            position: self.position,
            target: self.position,
            events: self.events,
        }
    }
}

/// Folds events into the new tables until few are left up to the end of the store.
pub(super) async fn fill<S: EventStore>(
    projector: &Projector<S>,
    mut filled: Filled,
    progress: &(impl Fn(RebuildProgress) + Sync),
) -> Result<Filled, StoreError> {
    let store = &projector.store;
    loop {
        let target = store.newest().await?;
        let mut page = store.read_all(filled.position, CHUNK).await?;
        page.retain(|event| event.position <= target);
        let is_short = page.len() < MAX_LEFT_FOR_SWITCH;
        while let Some(last) = page.last().map(|event| event.position) {
            let count = page.len();
            // The next page is read while this one is folded and written.
            let written = write(projector, filled.position, page);
            let (written, next) = tokio::join!(written, store.read_all(last, CHUNK));
            written?;
            page = next?;
            page.retain(|event| event.position <= target);
            filled.advance(last, count);
            progress(RebuildProgress {
                target,
                ..filled.progress(Phase::Fill)
            });
        }
        if is_short {
            return Ok(filled);
        }
    }
}

/// Writes a chunk. If the database refuses the data, reads the chunk again and writes it bisecting.
async fn write<S: EventStore>(
    projector: &Projector<S>,
    after: Position,
    events: Vec<RecordedEvent>,
) -> Result<(), StoreError> {
    let last = events.last().map_or(after, |event| event.position);
    match write_once(projector, events, WriteMode::Fast(None)).await {
        Err(WriteError::Data(error)) => {
            warn!(%error, "the database refuses the data of a chunk, looking for the order");
            let mut again = projector.store.read_all(after, CHUNK).await?;
            again.retain(|event| event.position <= last);
            Ok(write_once(projector, again, WriteMode::Bisect).await?)
        }
        done => Ok(done?),
    }
}

async fn write_once<S: EventStore>(
    projector: &Projector<S>,
    events: Vec<RecordedEvent>,
    mode: WriteMode,
) -> Result<(), WriteError> {
    let (store, upcasters) = (&projector.store, &projector.upcasters);
    let cache = &mut RowCache::new(true);
    let mut transaction = Transaction::begin(&projector.pool, BEGIN).await?;
    let connection = transaction.connection();
    chunk::apply(connection, store, upcasters, events, cache, mode).await?;
    transaction.commit().await?;
    Ok(())
}
