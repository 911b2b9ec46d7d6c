//! Applies a chunk of events to the rows: group by order → load what is touched and not known → fold
//! in memory → write in one call. A handful of statements at most, whatever the chunk's size.
//!
//! An event that cannot be applied parks its order: its rows stay as they were before that event,
//! and its later events are passed over until the order is refolded.

use std::collections::{BTreeMap, HashSet};

use futures::future::BoxFuture;
use sqlx::PgConnection;
use tracing::warn;
use uuid::Uuid;

use super::{
    error::WriteError,
    fold::{OrderFold, added_item, needed_item},
    known::KnownRows,
    rows::ParkedOrder,
    tables::{self, Changes, Guard},
};
use crate::{
    event_sourcing::{
        Aggregate, EventStore, Position, RecordedEvent, StoreError, StreamId, Timestamp,
        UpcasterChain, Version, error_chain,
        testing::sabotage::{self, Safeguard},
    },
    order::{Order, OrderEvent, OrderId},
    sql::error::store_error,
};

/// How many events are read from a stream at a time.
const PAGE: u32 = 1000;

/// How a chunk is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteMode {
    /// All orders at once; data that the database refuses fails the chunk. So does a line that is
    /// added twice and an order that is created twice: that they are not there already is not looked up.
    Fast,
    /// In the caller's transaction, behind savepoints: the order with the refused data is found by
    /// halving, and parked.
    Bisect,
}

/// A stored event with what it says today, or why it says nothing.
#[derive(Debug)]
pub(super) struct Decoded {
    version: Version,
    position: Position,
    at: Timestamp,
    event_type: String,
    event: Result<OrderEvent, String>,
}

/// One order of a chunk: its rows as far as they are known, and what happens to it.
#[derive(Debug)]
struct Change {
    fold: OrderFold,
    events: Vec<Decoded>,
    parked: Option<ParkedOrder>,
}

impl Decoded {
    /// Lifts and decodes an event.
    pub(super) fn new(event: RecordedEvent, upcasters: &UpcasterChain) -> Self {
        Self {
            version: event.version,
            position: event.position,
            at: event.occurred_at,
            event_type: event.event_type.clone(),
            event: upcasters.decode(event).map_err(|error| error_chain(&error)),
        }
    }

    /// What the event says today, or why it says nothing.
    pub(super) fn event(&self) -> Result<&OrderEvent, &str> {
        self.event.as_ref().map_err(String::as_str)
    }

    /// When it happened.
    pub(super) fn at(&self) -> Timestamp {
        self.at
    }

    /// Folds the event into the rows, or says how it parks them.
    pub(super) fn apply_to(&self, fold: &mut OrderFold) -> Result<(), ParkedOrder> {
        let folded = match &self.event {
            Ok(event) => fold
                .apply(event, self.version, self.position, self.at)
                .map_err(|unfit| unfit.to_string()),
            Err(reason) => Err(reason.clone()),
        };
        folded.map_err(|reason| self.parked(fold.id(), reason))
    }

    fn parked(&self, order_id: OrderId, reason: String) -> ParkedOrder {
        ParkedOrder {
            order_id,
            version: self.version.get(),
            position: self.position.get(),
            event_type: self.event_type.clone(),
            reason,
        }
    }
}

/// Applies events, in position order. With a guard (and [`WriteMode::Fast`]) what is loaded need not be
/// locked: should anything have changed meanwhile, nothing is written and the answer is `None`, else the
/// read model's new revision. Without one the caller's transaction must keep others from writing.
///
/// Events of other aggregates, events applied before and events of parked orders (which are only
/// looked for where there may be any) are passed over; events that are missing before one of these
/// are read from the store. What is `known` of the rows is true afterwards where they were written; after
/// anything else it is to be thrown away.
pub(super) async fn apply<S: EventStore>(
    connection: &mut PgConnection,
    store: &S,
    upcasters: &UpcasterChain,
    events: Vec<RecordedEvent>,
    known: &mut KnownRows,
    care: WriteMode,
    guard: Option<Guard>,
) -> Result<Option<i64>, WriteError> {
    let mut orders: BTreeMap<OrderId, Vec<Decoded>> = BTreeMap::new();
    for event in events {
        if event.aggregate_type == Order::TYPE {
            let order = orders.entry(event.aggregate_id.into()).or_default();
            order.push(Decoded::new(event, upcasters));
        }
    }
    let mut changes = load(connection, orders, known, care).await?;
    for change in &mut changes {
        fill_holes(change, store, upcasters).await?;
    }
    load_items(connection, &mut changes, care).await?;
    for change in &mut changes {
        let Change {
            fold,
            events,
            parked,
        } = change;
        *parked = events.iter().find_map(|event| event.apply_to(fold).err());
    }
    let revision = match care {
        WriteMode::Fast => write(connection, &changes, guard).await?,
        WriteMode::Bisect => {
            changes.retain(|change| change.parked.is_some() || change.fold.changed_row().is_some());
            write_bisecting(connection, &changes).await?;
            None
        }
    };
    for change in changes {
        match (change.parked, change.fold.into_row()) {
            (Some(_), _) => known.has_parked = true,
            (None, Some(row)) => known.keep(row),
            (None, None) => {}
        }
    }
    Ok(revision)
}

/// Finds the orders' rows, and leaves out what is parked or was applied before.
async fn load(
    connection: &mut PgConnection,
    mut orders: BTreeMap<OrderId, Vec<Decoded>>,
    known: &mut KnownRows,
    care: WriteMode,
) -> Result<Vec<Change>, StoreError> {
    let mut rows = BTreeMap::new();
    let mut unknown = Vec::new();
    for (id, events) in &orders {
        let is_new = events.iter().any(|event| event.version == Version::new(1));
        match known.take(*id) {
            Some(row) => {
                rows.insert(*id, row);
            }
            None if is_new && care == WriteMode::Fast => {}
            None => unknown.push(id.get()),
        }
    }
    if known.has_parked && !unknown.is_empty() {
        let parked = tables::load_parked(connection, &unknown).await;
        for id in parked.map_err(store_error)? {
            orders.remove(&id.into());
        }
    }
    if !unknown.is_empty() {
        let loaded = tables::load_orders(connection, &unknown).await;
        rows.extend(
            loaded
                .map_err(store_error)?
                .into_iter()
                .map(|row| (row.id, row)),
        );
    }
    let changes = orders.into_iter().map(|(id, mut events)| {
        let fold = rows
            .remove(&id)
            .map_or_else(|| OrderFold::absent(id), OrderFold::stored);
        let takes_all = sabotage::is_out(Safeguard::VersionGuard);
        events.retain(|event| event.version > fold.version() || takes_all);
        Change {
            fold,
            events,
            parked: None,
        }
    });
    Ok(changes.collect())
}

/// Puts the events that are missing between the row and the order's events in their place. What
/// the store does not have stays missing, and parks the order.
async fn fill_holes<S: EventStore>(
    change: &mut Change,
    store: &S,
    upcasters: &UpcasterChain,
) -> Result<(), StoreError> {
    let stream = StreamId {
        aggregate_type: Order::TYPE,
        aggregate_id: change.fold.id().get(),
    };
    let mut expected = change.fold.version().plus(1);
    let has_hole = change.events.iter().any(|event| {
        let is_next = event.version == expected;
        expected = event.version.plus(1);
        !is_next
    });
    if !has_hole {
        return Ok(());
    }
    let last = change
        .events
        .iter()
        .map(|event| event.version)
        .max()
        .unwrap_or_default();
    let mut whole: BTreeMap<Version, Decoded> = BTreeMap::new();
    let mut from = change.fold.version().plus(1);
    loop {
        let page = store.read_stream(stream, from, PAGE).await?;
        let Some(newest) = page.last().map(|event| event.version) else {
            break;
        };
        let needed = page.into_iter().filter(|event| event.version < last);
        whole.extend(needed.map(|event| (event.version, Decoded::new(event, upcasters))));
        from = newest.plus(1);
        if newest >= last {
            break;
        }
    }
    whole.extend(change.events.drain(..).map(|event| (event.version, event)));
    change.events = whole.into_values().collect();
    Ok(())
}

/// Loads the stored lines that the events name. An order that is created here has none yet.
async fn load_items(
    connection: &mut PgConnection,
    changes: &mut [Change],
    care: WriteMode,
) -> Result<(), StoreError> {
    let mut touched = HashSet::new();
    for change in changes.iter().filter(|change| change.fold.row().is_some()) {
        let events = change
            .events
            .iter()
            .filter_map(|decoded| decoded.event.as_ref().ok());
        let id = change.fold.id();
        let items = events.filter_map(|event| match care {
            WriteMode::Fast => needed_item(event),
            WriteMode::Bisect => needed_item(event).or_else(|| added_item(event)),
        });
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
            changes[index].fold.know(row);
        }
    }
    Ok(())
}

/// Writes what changed, and says in the log which orders are parked.
async fn write(
    connection: &mut PgConnection,
    changes: &[Change],
    guard: Option<Guard>,
) -> Result<Option<i64>, WriteError> {
    let mut rows = Changes::default();
    for Change { fold, parked, .. } in changes {
        let row = fold.changed_row();
        rows.orders
            .extend(row.map(|row| (row, fold.stored_version())));
        rows.items.extend(fold.changed_items());
        let removed = fold.removed_items().map(|item| (fold.id(), item));
        rows.removed.extend(removed);
        rows.parked.extend(parked);
    }
    let revision = tables::write(connection, &rows, guard).await;
    let revision = revision.map_err(WriteError::from_query)?;
    if revision.is_some() {
        rows.parked.into_iter().for_each(say_parked);
    }
    Ok(revision)
}

fn say_parked(order: &ParkedOrder) {
    let ParkedOrder {
        order_id,
        version,
        reason,
        ..
    } = order;
    warn!(%order_id, version, %reason, "an event cannot be applied, its order is parked");
}

/// Writes behind a savepoint; on refused data, halves until the culprit stands alone.
fn write_bisecting<'a>(
    connection: &'a mut PgConnection,
    changes: &'a [Change],
) -> BoxFuture<'a, Result<(), WriteError>> {
    Box::pin(async move {
        run(connection, "savepoint chunk").await?;
        let refusal = match write(connection, changes, None).await {
            Ok(_) => return run(connection, "release savepoint chunk").await,
            Err(WriteError::Data(refusal)) => refusal,
            Err(error @ WriteError::Store(_)) => return Err(error),
        };
        run(
            connection,
            "rollback to savepoint chunk; release savepoint chunk",
        )
        .await?;
        match changes {
            [] => Ok(()),
            // Which of its events it was is not known: the first stands for them.
            [culprit] => {
                let reason = error_chain(&refusal);
                let first = culprit.events.first();
                let parked = Change {
                    fold: OrderFold::absent(culprit.fold.id()),
                    events: Vec::new(),
                    parked: first.map(|event| event.parked(culprit.fold.id(), reason)),
                };
                write(connection, &[parked], None).await.map(drop)
            }
            many => {
                let (front, back) = many.split_at(many.len() / 2);
                write_bisecting(connection, front).await?;
                write_bisecting(connection, back).await
            }
        }
    })
}

async fn run(connection: &mut PgConnection, statements: &'static str) -> Result<(), WriteError> {
    let done = sqlx::raw_sql(statements).execute(connection).await;
    done.map(drop).map_err(WriteError::from_query)
}
