//! Replaces the live tables by the new ones.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tracing::warn;

use super::{
    super::{
        bookkeeping,
        chunk::{self, WriteMode},
        projector::Projector,
        row_cache::RowCache,
    },
    fill::{CHUNK, Filled, fill},
    report::{Phase, RebuildProgress},
};
use crate::{
    event_sourcing::{EventStore, StoreError},
    sql::{Transaction, error::store_error},
};

/// How often the switch tries to get its locks, for at most three seconds each time.
const ATTEMPTS: u32 = 20;

/// Opens the transaction of the switch. Readers queue behind its request for locks, so it gives up soon
/// and tries again.
const BEGIN: &str = "begin; set local statement_timeout = '30s'; \
    set local lock_timeout = '3s'; set local plan_cache_mode = force_custom_plan";

/// Locks the new tables, so that no other session can drop them, and makes statements write to them.
const USE_NEW_TABLES: &str = "lock table read_model_next.order_views in share row exclusive mode; \
    select set_config('search_path', 'read_model_next, ' || rebuild_live_schema(), true)";

/// Moves the new tables to the place of the live ones.
const SWITCH: &str = "set local search_path to default; select rebuild_switch()";

/// Fills up the new tables and switches. `lock` is the connection that holds the lock of the rebuild.
pub(super) async fn switch<S: EventStore>(
    projector: &Projector<S>,
    lock: &mut PgConnection,
    mut filled: Filled,
    progress: &(impl Fn(RebuildProgress) + Sync),
) -> Result<Filled, StoreError> {
    let mut attempt: u32 = 1;
    loop {
        filled = fill(projector, filled, progress).await?;
        progress(filled.progress(Phase::Switch));
        match switch_once(projector, lock, filled).await {
            Err(StoreError::Unavailable(error)) if attempt < ATTEMPTS => {
                warn!(%error, attempt, "the switch did not get its locks, trying again");
                attempt = attempt.saturating_add(1);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            switched => return switched,
        }
    }
}

/// Applies the remaining events up to the end of the store, moves the checkpoint there and switches, in
/// one transaction that holds the lock of the checkpoint. The checkpoint moves back if it was beyond the
/// end of the store.
async fn switch_once<S: EventStore>(
    projector: &Projector<S>,
    lock: &mut PgConnection,
    mut filled: Filled,
) -> Result<Filled, StoreError> {
    let (store, upcasters) = (&projector.store, &projector.upcasters);
    let mut transaction = Transaction::begin(&projector.pool, BEGIN).await?;
    let locked = bookkeeping::lock(transaction.connection()).await;
    locked.map_err(store_error)?;
    transaction.run(USE_NEW_TABLES).await?;
    // While the other connection lives, it holds the lock of the rebuild: no other rebuild has begun and
    // replaced the new tables.
    lock.ping().await.map_err(lost_lock)?;
    loop {
        let rest = store.read_all(filled.position, CHUNK).await?;
        let Some(last) = rest.last().map(|event| event.position) else {
            break;
        };
        // Appends go on meanwhile. A page that is not full has reached where the end was.
        let is_last = rest.len() < CHUNK as usize;
        filled.advance(last, rest.len());
        let (connection, cache) = (transaction.connection(), &mut RowCache::new(true));
        let mode = WriteMode::Bisect;
        chunk::apply(connection, store, upcasters, rest, cache, mode).await?;
        if is_last {
            break;
        }
    }
    let moved = bookkeeping::move_to(transaction.connection(), filled.position).await;
    moved.map_err(store_error)?;
    transaction.run(SWITCH).await?;
    transaction.commit().await?;
    Ok(filled)
}

/// Not transient, because the switch must not be tried again.
fn lost_lock(error: sqlx::Error) -> StoreError {
    StoreError::corrupt("the rebuild's lock", error)
}
