//! What the GET endpoints ask of the read model.
//!
//! Each answer comes from one statement, so from one snapshot: rows, lines, the projection's
//! position and whether the order is parked belong together. A statement that is
//! dropped midway (a client that hangs up) closes its connection (see [`crate::sql`]).

use sqlx::{PgConnection, PgPool, postgres::PgConnectOptions};
use uuid::Uuid;

use super::{
    checkpoint::CHECKPOINT,
    rows::{ItemRow, OrderRow},
};
use crate::{
    event_sourcing::{Position, Pulse, StoreError, Timestamp, Version},
    order::OrderId,
    sql::while_alive,
};

/// An order with its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderWithItems {
    /// The order.
    pub order: OrderRow,
    /// Its lines in order of addition; none where only the order was asked for.
    pub items: Vec<ItemRow>,
}

/// The answer to [`OrderViews::find`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The order, where the read model has it.
    pub order: Option<OrderWithItems>,
    /// The version of the event that could not be applied, where the order is parked: `order` then
    /// is as it was before that event.
    pub parked: Option<Version>,
    /// Up to where events were applied when this was read.
    pub projection_position: Position,
}

/// The queries on the read model, on a pool of their own (of a replica, where there is one).
///
/// Its connections are opened with [`one_plan`] or, for lists with filters, with [`fitting_plans`].
#[derive(Debug, Clone)]
pub struct OrderViews {
    pool: PgPool,
    lists: PgPool,
    pulse: Pulse,
}

/// What connections for single orders and plain lists need: what is looked up by its key, or stands
/// at an index's end, is planned once. Scans are ruled out, for a plan kept from when the tables were
/// small would go on scanning them.
#[must_use]
pub fn one_plan(options: PgConnectOptions) -> PgConnectOptions {
    options.options([
        ("plan_cache_mode", "force_generic_plan"),
        ("jit", "off"),
        ("enable_seqscan", "off"),
        ("max_parallel_workers_per_gather", "0"),
    ])
}

/// What connections for lists need: plans for the values at hand instead of one for all (lists with
/// other filters need other indexes), and neither compilation nor parallel workers for statements
/// that run for milliseconds.
#[must_use]
pub fn fitting_plans(options: PgConnectOptions) -> PgConnectOptions {
    options.options([
        ("plan_cache_mode", "force_custom_plan"),
        ("jit", "off"),
        ("max_parallel_workers_per_gather", "0"),
    ])
}

impl OrderViews {
    /// Makes queries on these pools: one for single orders, and one for lists.
    #[must_use]
    pub fn new(pool: PgPool, lists: PgPool) -> Self {
        let pulse = Pulse::unwatched();
        Self { pool, lists, pulse }
    }

    /// Gives up what it asks as soon as this pulse says that the database is dead.
    #[must_use]
    pub fn watched_by(mut self, pulse: Pulse) -> Self {
        self.pulse = pulse;
        self
    }

    /// Runs a query on one order, or on all, within a deadline.
    pub(super) async fn ask<T>(
        &self,
        query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error> + Send,
    ) -> Result<T, StoreError> {
        while_alive(&self.pool, &self.pulse, query).await
    }

    /// Runs a query on those orders that fit within a deadline.
    pub(super) async fn ask_for_list<T>(
        &self,
        query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error> + Send,
    ) -> Result<T, StoreError> {
        while_alive(&self.lists, &self.pulse, query).await
    }

    /// Finds an order, in one round trip.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find(&self, id: OrderId) -> Result<Found, StoreError> {
        // The tables stand in the order in which a rebuild's switch locks them.
        let columns = self
            .ask(async |connection| {
                sqlx::query_as!(
                    ViewColumns,
                    r#"select v.id as "id?", v.customer_id as "customer_id?", v.status as "status?",
                v.currency as "currency?", v.total_minor as "total_minor?",
                v.item_count as "item_count?", v.total_quantity as "total_quantity?",
                v.version as "version?", v.position as "position?", v.created_at as "created_at?",
                v.updated_at as "updated_at?", v.completed_at, v.cancelled_at,
                v.cancellation_reason, i.item_ids, i.line_nos, i.product_ids, i.quantities,
                i.prices, i.added_ats, c.position as projection_position,
                null::bigint as total,
                (select p.version from projection_parked p where p.order_id = $1) as parked_version
            from projection_checkpoint c
            left join order_views v on v.id = $1
            left join lateral (
                select array_agg(i.item_id order by i.line_no, i.item_id) as item_ids,
                    array_agg(i.line_no order by i.line_no, i.item_id) as line_nos,
                    array_agg(i.product_id order by i.line_no, i.item_id) as product_ids,
                    array_agg(i.quantity order by i.line_no, i.item_id) as quantities,
                    array_agg(i.price_minor order by i.line_no, i.item_id) as prices,
                    array_agg(i.added_at order by i.line_no, i.item_id) as added_ats
                from order_items i
                where i.order_id = $1
            ) i on true
            where c.name = $2"#,
                    id.get(),
                    CHECKPOINT,
                )
                .fetch_one(connection)
                .await
            })
            .await?;
        Ok(Found {
            parked: columns.parked_version.map(Version::new),
            projection_position: Position::new(columns.projection_position),
            order: columns.into_view(),
        })
    }

    /// Up to where events are applied, and how many orders are parked.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn progress(&self) -> Result<(Position, i64), StoreError> {
        let row = self
            .ask(async |connection| {
                sqlx::query!(
                    r#"select position, (select count(*) from projection_parked) as "parked!"
               from projection_checkpoint where name = $1"#,
                    CHECKPOINT,
                )
                .fetch_one(connection)
                .await
            })
            .await?;
        Ok((Position::new(row.position), row.parked))
    }

    /// Up to where events are applied.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn position(&self) -> Result<Position, StoreError> {
        let position = self
            .ask(async |connection| {
                sqlx::query_scalar!(
                    "select position from projection_checkpoint where name = $1",
                    CHECKPOINT,
                )
                .fetch_one(connection)
                .await
            })
            .await?;
        Ok(Position::new(position))
    }
}

/// A row of an answer: an order's columns, its lines as arrays, and what holds for the whole answer.
#[derive(Debug)]
pub(super) struct ViewColumns {
    pub id: Option<Uuid>,
    pub customer_id: Option<String>,
    pub status: Option<String>,
    pub currency: Option<String>,
    pub total_minor: Option<i64>,
    pub item_count: Option<i32>,
    pub total_quantity: Option<i64>,
    pub version: Option<i32>,
    pub position: Option<i64>,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub cancelled_at: Option<Timestamp>,
    pub cancellation_reason: Option<String>,
    pub item_ids: Option<Vec<Uuid>>,
    pub line_nos: Option<Vec<i32>>,
    pub product_ids: Option<Vec<String>>,
    pub quantities: Option<Vec<i32>>,
    pub prices: Option<Vec<i64>>,
    pub added_ats: Option<Vec<Timestamp>>,
    pub projection_position: i64,
    pub total: Option<i64>,
    pub parked_version: Option<i32>,
}

impl ViewColumns {
    /// The order and its lines; `None` where the row says only what holds for the whole answer.
    pub(super) fn into_view(mut self) -> Option<OrderWithItems> {
        let order = OrderRow {
            id: self.id?.into(),
            customer_id: self.customer_id.take()?,
            status: self.status.take()?,
            currency: self.currency.take()?,
            total_minor: self.total_minor?,
            item_count: self.item_count?,
            total_quantity: self.total_quantity?,
            version: self.version?,
            position: self.position?,
            created_at: self.created_at?,
            updated_at: self.updated_at?,
            completed_at: self.completed_at,
            cancelled_at: self.cancelled_at,
            cancellation_reason: self.cancellation_reason.take(),
        };
        let items = self.into_items(order.id);
        Some(OrderWithItems { order, items })
    }

    /// The arrays come from one aggregation: they are equally long.
    fn into_items(self, order_id: OrderId) -> Vec<ItemRow> {
        let texts = self.product_ids.unwrap_or_default().into_iter();
        let ids = self.item_ids.unwrap_or_default().into_iter();
        let numbers = self.line_nos.unwrap_or_default().into_iter();
        let quantities = self.quantities.unwrap_or_default().into_iter();
        let prices = self.prices.unwrap_or_default().into_iter();
        let instants = self.added_ats.unwrap_or_default().into_iter();
        ids.zip(numbers)
            .zip(texts)
            .zip(quantities.zip(prices).zip(instants))
            .map(
                |(((item_id, line_no), product_id), ((quantity, price_minor), added_at))| ItemRow {
                    order_id,
                    item_id: item_id.into(),
                    line_no,
                    product_id,
                    quantity,
                    price_minor,
                    added_at,
                },
            )
            .collect()
    }
}
