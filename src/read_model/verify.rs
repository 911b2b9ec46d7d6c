//! Checks the store and the read model against each other, beside a running service.
//!
//! Orders are taken a page at a time, by id. A page is read in one repeatable-read transaction:
//! checkpoint, events up to it and rows belong together, and what happens meanwhile is no
//! difference. Its table locks are taken before its snapshot, so that a rebuild's switch comes
//! before or after both.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use serde_json::value::RawValue;
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::{
    audit::{Audit, Finding},
    checkpoint::CHECKPOINT,
    projector::Projector,
    rows::{ItemRow, ParkedOrder},
    session::Session,
    tables,
};
use crate::{
    event_sourcing::{Aggregate, EventStore, Position, RecordedEvent, StoreError, Version},
    order::{Order, OrderId},
    sql::error::store_error,
};

/// How many orders are compared in one transaction.
const PAGE: i64 = 200;

/// Opens a page's transaction. Locking takes no snapshot; the first query does.
const BEGIN: &str = "begin isolation level repeatable read, read only; \
    set local statement_timeout = '60s'; \
    lock table order_views, order_items, projection_parked in access share mode";

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyProgress {
    /// How many orders were compared.
    pub done: u64,
    /// How many there were at the start.
    pub total: u64,
}

/// What a verification found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// How many orders were compared.
    pub orders: u64,
    /// How many events were read.
    pub events: u64,
    /// How many findings are about the store.
    pub in_store: u64,
    /// How many findings are about the read model.
    pub in_read_model: u64,
    /// How many orders have rows that differ from the fold of their events.
    pub differing_orders: u64,
    /// How many of these were folded anew: as far as their events can be applied.
    pub repaired: u64,
}

impl VerifyReport {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.in_store == 0 && self.in_read_model == 0
    }

    fn add(&mut self, other: &Self) {
        let sum = |mine: &mut u64, theirs: u64| *mine = mine.saturating_add(theirs);
        sum(&mut self.orders, other.orders);
        sum(&mut self.events, other.events);
        sum(&mut self.in_store, other.in_store);
        sum(&mut self.in_read_model, other.in_read_model);
        sum(&mut self.differing_orders, other.differing_orders);
        sum(&mut self.repaired, other.repaired);
    }
}

/// A verification of what `projector` keeps.
#[derive(Debug, Clone)]
pub struct Verify<S> {
    projector: Projector<S>,
}

impl<S: EventStore> Verify<S> {
    /// Makes a verification; it reads events and rows through the projector's pool, which must be
    /// that of the primary.
    #[must_use]
    pub fn new(projector: Projector<S>) -> Self {
        Self { projector }
    }

    /// Verifies all orders, tells `found` of each difference, and with `is_repair` folds anew the
    /// orders whose rows differ. Memory is bounded by a page of orders.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn run(
        &self,
        is_repair: bool,
        progress: impl Fn(VerifyProgress) + Send + Sync,
        mut found: impl FnMut(&Finding) + Send,
    ) -> Result<VerifyReport, StoreError> {
        let mut report = VerifyReport::default();
        let total = self.count().await?;
        let mut after = None;
        loop {
            let ids = self.ids_after(after).await?;
            let Some(last) = ids.last() else {
                return Ok(report);
            };
            after = Some(*last);
            report.add(&self.orders(&ids, is_repair, &mut found).await?);
            progress(VerifyProgress {
                done: report.orders,
                total: total.max(report.orders),
            });
        }
    }

    /// Verifies these orders (a few hundred at most): for a background task that looks at samples.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn orders(
        &self,
        ids: &[Uuid],
        is_repair: bool,
        mut found: impl FnMut(&Finding) + Send,
    ) -> Result<VerifyReport, StoreError> {
        let mut session = Session::begin(&self.projector.pool, BEGIN).await?;
        let (audits, events) = self.audit(session.connection(), ids).await?;
        session.rollback().await?;
        let mut report = VerifyReport {
            orders: ids.len() as u64,
            events,
            ..VerifyReport::default()
        };
        for (id, audit) in audits {
            let findings = audit.finish();
            findings.iter().for_each(&mut found);
            let in_read_model = findings.iter().filter(|finding| finding.is_in_read_model());
            let in_read_model = in_read_model.count() as u64;
            let in_store = (findings.len() as u64).saturating_sub(in_read_model);
            report.in_store = report.in_store.saturating_add(in_store);
            if in_read_model == 0 {
                continue;
            }
            report.in_read_model = report.in_read_model.saturating_add(in_read_model);
            report.differing_orders = report.differing_orders.saturating_add(1);
            if is_repair {
                // Where an event cannot be applied the order stays parked, its rows those before it.
                self.projector.unpark(id).await?;
                report.repaired = report.repaired.saturating_add(1);
            }
        }
        Ok(report)
    }

    /// The orders that changed last, for [`Self::orders`].
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn recently_changed(&self, limit: u32) -> Result<Vec<Uuid>, StoreError> {
        sqlx::query_scalar!(
            "select id from order_views
             order by updated_slot desc, updated_at desc, id desc limit $1",
            i64::from(limit),
        )
        .fetch_all(&self.projector.pool)
        .await
        .map_err(store_error)
    }

    /// The orders that changed at these positions, for [`Self::orders`]: random positions below the
    /// checkpoint are a random sample.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn changed_at(&self, positions: &[i64]) -> Result<Vec<Uuid>, StoreError> {
        sqlx::query_scalar!(
            "select distinct aggregate_id from events
             where position = any($1) and aggregate_type = $2",
            positions,
            Order::TYPE,
        )
        .fetch_all(&self.projector.pool)
        .await
        .map_err(store_error)
    }

    async fn count(&self) -> Result<u64, StoreError> {
        let count = sqlx::query_scalar!(r#"select count(*) as "count!" from order_views"#)
            .fetch_one(&self.projector.pool)
            .await
            .map_err(store_error)?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// The next ids in order, of streams and of rows: either can lack the other. Streams are found
    /// by hopping over the primary key.
    async fn ids_after(&self, after: Option<Uuid>) -> Result<Vec<Uuid>, StoreError> {
        sqlx::query_scalar!(
            r#"with recursive streams as (
                (select e.aggregate_id as id, e.aggregate_type as type from events e
                 where $1::uuid is null or e.aggregate_id > $1
                 order by e.aggregate_id, e.version limit 1)
                union all
                select next.aggregate_id, next.aggregate_type
                from streams s
                cross join lateral (
                    select e.aggregate_id, e.aggregate_type from events e
                    where e.aggregate_id > s.id order by e.aggregate_id, e.version limit 1
                ) next
            )
            select id as "id!" from (
                (select id from streams where type = $2 limit $3)
                union
                (select id from order_views where $1::uuid is null or id > $1 order by id limit $3)
                union
                (select distinct order_id from order_items where $1::uuid is null or order_id > $1
                 order by order_id limit $3)
                union
                (select order_id from projection_parked where $1::uuid is null or order_id > $1
                 order by order_id limit $3)
            ) ids
            order by id limit $3"#,
            after,
            Order::TYPE,
            PAGE,
        )
        .fetch_all(&self.projector.pool)
        .await
        .map_err(store_error)
    }

    /// Folds the events of these orders and sets them beside their rows, in one snapshot.
    async fn audit(
        &self,
        connection: &mut PgConnection,
        ids: &[Uuid],
    ) -> Result<(BTreeMap<OrderId, Audit>, u64), StoreError> {
        let mut audits: BTreeMap<OrderId, Audit> = ids
            .iter()
            .copied()
            .map(OrderId::new)
            .map(|id| (id, Audit::new(id)))
            .collect();
        let up_to = sqlx::query_scalar!(
            "select position from projection_checkpoint where name = $1",
            CHECKPOINT,
        )
        .fetch_one(&mut *connection)
        .await
        .map_err(store_error)?;
        let mut count: u64 = 0;
        let mut events = sqlx::query_as!(
            StoredEvent,
            r#"select position, event_id, aggregate_type, aggregate_id, version,
                type as event_type, schema_version, data as "data: Json<Box<RawValue>>",
                metadata as "metadata: Json<Box<RawValue>>", created_at
               from events
               where aggregate_id = any($1) and aggregate_type = $2 and position <= $3
               order by aggregate_id, version"#,
            ids,
            Order::TYPE,
            up_to,
        )
        .fetch(&mut *connection);
        while let Some(event) = events.try_next().await.map_err(store_error)? {
            count = count.saturating_add(1);
            if let Some(audit) = audits.get_mut(&event.aggregate_id.into()) {
                audit.event(event.recorded(), &self.projector.upcasters);
            }
        }
        drop(events);
        let rows = tables::load_orders(connection, ids).await;
        for row in rows.map_err(store_error)? {
            let audit = audits.get_mut(&row.id);
            audit
                .map(|audit| audit.stored_order(row))
                .unwrap_or_default();
        }
        for row in load_all_items(connection, ids).await.map_err(store_error)? {
            let audit = audits.get_mut(&row.order_id);
            audit
                .map(|audit| audit.stored_item(row))
                .unwrap_or_default();
        }
        for row in load_parked(connection, ids).await.map_err(store_error)? {
            let audit = audits.get_mut(&row.order_id);
            audit
                .map(|audit| audit.stored_parked(row))
                .unwrap_or_default();
        }
        Ok((audits, count))
    }
}

async fn load_all_items(
    connection: &mut PgConnection,
    orders: &[Uuid],
) -> Result<Vec<ItemRow>, sqlx::Error> {
    sqlx::query_as!(
        ItemRow,
        "select order_id, item_id, line_no, product_id, quantity, price_minor, added_at
         from order_items where order_id = any($1)",
        orders,
    )
    .fetch_all(connection)
    .await
}

async fn load_parked(
    connection: &mut PgConnection,
    orders: &[Uuid],
) -> Result<Vec<ParkedOrder>, sqlx::Error> {
    sqlx::query_as!(
        ParkedOrder,
        "select order_id, version, position, event_type, reason
         from projection_parked where order_id = any($1)",
        orders,
    )
    .fetch_all(connection)
    .await
}

/// A row of `events`.
struct StoredEvent {
    position: i64,
    event_id: Uuid,
    aggregate_type: String,
    aggregate_id: Uuid,
    version: i32,
    event_type: String,
    schema_version: i16,
    data: Json<Box<RawValue>>,
    metadata: Json<Box<RawValue>>,
    created_at: crate::event_sourcing::Timestamp,
}

impl StoredEvent {
    fn recorded(self) -> RecordedEvent {
        RecordedEvent {
            position: Position::new(self.position),
            event_id: self.event_id,
            aggregate_type: self.aggregate_type,
            aggregate_id: self.aggregate_id,
            version: Version::new(self.version),
            event_type: self.event_type,
            schema_version: self.schema_version,
            data: self.data.0,
            metadata: self.metadata.0,
            occurred_at: self.created_at,
        }
    }
}
