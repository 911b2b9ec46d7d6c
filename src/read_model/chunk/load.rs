//! Loads what the fold of a chunk needs: rows, missing events and lines.

use std::collections::{BTreeMap, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    super::{
        bookkeeping,
        fold::{OrderFold, added_item, needed_item},
        row_cache::RowCache,
        tables,
    },
    change::{OrderChange, WriteMode},
    decoded::DecodedEvent,
};
use crate::{
    event_sourcing::{
        Aggregate, EventStore, StoreError, StreamId, UpcasterChain, Version,
        testing::sabotage::{self, Safeguard},
    },
    order::{Order, OrderId},
    sql::error::store_error,
};

/// How many events are read from a stream at a time.
const PAGE: u32 = 1000;

/// Finds the orders' rows. Leaves out parked orders, and events that were applied before.
pub(super) async fn load_orders(
    connection: &mut PgConnection,
    mut orders: BTreeMap<OrderId, Vec<DecodedEvent>>,
    cache: &mut RowCache,
    mode: WriteMode,
) -> Result<Vec<OrderChange>, StoreError> {
    let mut rows = BTreeMap::new();
    let mut uncached = Vec::new();
    for (id, events) in &orders {
        let is_new = (events.iter()).any(|event| event.version() == Version::new(1));
        match cache.take(*id) {
            Some(row) => {
                rows.insert(*id, row);
            }
            None if is_new && !mode.is_bisect() => {}
            None => uncached.push(id.get()),
        }
    }
    if cache.has_parked && !uncached.is_empty() {
        let parked = bookkeeping::read_parked_of(connection, &uncached).await;
        for order in parked.map_err(store_error)? {
            orders.remove(&order.order_id);
        }
    }
    if !uncached.is_empty() {
        let loaded = tables::load_orders(connection, &uncached).await;
        let loaded = loaded.map_err(store_error)?;
        rows.extend(loaded.into_iter().map(|row| (row.id, row)));
    }
    let changes = orders.into_iter().map(|(id, mut events)| {
        let fold = rows
            .remove(&id)
            .map_or_else(|| OrderFold::absent(id), OrderFold::stored);
        let takes_all = sabotage::is_out(Safeguard::VersionGuard);
        events.retain(|event| event.version() > fold.version() || takes_all);
        OrderChange {
            fold,
            events,
            parked: None,
        }
    });
    Ok(changes.collect())
}

/// Reads the events that are missing before one of the order's events from the store. An event that
/// the store does not have stays missing; the order is parked then.
pub(super) async fn fill_gaps<S: EventStore>(
    change: &mut OrderChange,
    store: &S,
    upcasters: &UpcasterChain,
) -> Result<(), StoreError> {
    let first = change.fold.version().plus(1);
    let mut expected = first;
    let has_gap = change.events.iter().any(|event| {
        let is_next = event.version() == expected;
        expected = event.version().plus(1);
        !is_next
    });
    let last = change.events.iter().map(DecodedEvent::version).max();
    let (true, Some(last)) = (has_gap, last) else {
        return Ok(());
    };
    let stream = StreamId {
        aggregate_type: Order::TYPE,
        aggregate_id: change.fold.id().get(),
    };
    let mut whole: BTreeMap<Version, DecodedEvent> = BTreeMap::new();
    let mut from = first;
    while from <= last {
        let page = store.read_stream(stream, from, PAGE).await?;
        let Some(newest) = page.last().map(|event| event.version) else {
            break;
        };
        let needed = page.into_iter().filter(|event| event.version < last);
        whole.extend(needed.map(|event| (event.version, DecodedEvent::new(event, upcasters))));
        from = newest.plus(1);
    }
    let delivered = change.events.drain(..);
    whole.extend(delivered.map(|event| (event.version(), event)));
    change.events = whole.into_values().collect();
    Ok(())
}

/// Loads the stored lines that the events need. An order without a row has no stored lines.
pub(super) async fn load_items(
    connection: &mut PgConnection,
    changes: &mut [OrderChange],
    mode: WriteMode,
) -> Result<(), StoreError> {
    let mut touched = HashSet::new();
    for change in changes.iter().filter(|change| change.fold.row().is_some()) {
        let events = change.events.iter().filter_map(|event| event.event().ok());
        let items = events.filter_map(|event| match mode {
            WriteMode::Fast(_) => needed_item(event),
            WriteMode::Bisect => needed_item(event).or_else(|| added_item(event)),
        });
        let id = change.fold.id();
        touched.extend(items.map(|item| (id.get(), item.get())));
    }
    if touched.is_empty() {
        return Ok(());
    }
    let (orders, items): (Vec<Uuid>, Vec<Uuid>) = touched.into_iter().unzip();
    let rows = tables::load_items(connection, &orders, &items).await;
    for row in rows.map_err(store_error)? {
        // The changes are sorted by id: they come from a `BTreeMap`.
        if let Ok(index) = changes.binary_search_by_key(&row.order_id, |change| change.fold.id()) {
            changes[index].fold.insert_stored(row);
        }
    }
    Ok(())
}
