//! Applies a chunk of events to the rows: group by order → load the rows that are touched and not
//! cached → fold in memory → write in one call. The number of statements does not depend on the size
//! of the chunk.
//!
//! An event that cannot be applied parks its order: the rows stay as they were before that event, and
//! the order's later events are skipped until it is refolded.
//!
//! Only what works on a whole chunk belongs here; the fold of one event is in [`super::fold`].

mod change;
mod decoded;
mod load;
mod write;

use std::collections::BTreeMap;

use sqlx::PgConnection;

use self::{
    change::OrderChange,
    load::{fill_gaps, load_items, load_orders},
    write::{write, write_bisecting},
};
pub(super) use self::{change::WriteMode, decoded::DecodedEvent};
use super::{error::WriteError, row_cache::RowCache};
use crate::{
    event_sourcing::{Aggregate, EventStore, RecordedEvent, UpcasterChain},
    order::{Order, OrderId},
};

/// Applies events, which must be in position order. Returns the read model's new revision (zero
/// without a guard), or `None` if the guard of [`WriteMode::Fast`] refused and nothing was written.
///
/// Skips events of other aggregates, events that were applied before, and events of parked orders.
/// Events that are missing before one of these are read from the store.
///
/// After success `cache` holds the written rows. After anything else it must be dropped.
pub(super) async fn apply<S: EventStore>(
    connection: &mut PgConnection,
    store: &S,
    upcasters: &UpcasterChain,
    events: impl IntoIterator<Item = RecordedEvent>,
    cache: &mut RowCache,
    mode: WriteMode,
) -> Result<Option<i64>, WriteError> {
    let mut orders: BTreeMap<OrderId, Vec<DecodedEvent>> = BTreeMap::new();
    for event in events {
        if event.aggregate_type == Order::TYPE {
            let order = orders.entry(event.aggregate_id.into()).or_default();
            order.push(DecodedEvent::new(event, upcasters));
        }
    }
    let mut changes = load_orders(connection, orders, cache, mode).await?;
    for change in &mut changes {
        fill_gaps(change, store, upcasters).await?;
    }
    load_items(connection, &mut changes, mode).await?;
    for OrderChange {
        fold,
        events,
        parked,
    } in &mut changes
    {
        *parked = events.iter().find_map(|event| event.apply_to(fold).err());
    }
    let revision = match mode {
        WriteMode::Fast(guard) => write(connection, &changes, guard).await?,
        WriteMode::Bisect => {
            changes.retain(|change| change.parked.is_some() || change.fold.changed_row().is_some());
            write_bisecting(connection, &changes).await?;
            Some(0)
        }
    };
    for change in changes {
        match (change.parked, change.fold.into_row()) {
            (Some(_), _) => cache.has_parked = true,
            (None, Some(row)) => cache.insert(row),
            (None, None) => {}
        }
    }
    Ok(revision)
}
