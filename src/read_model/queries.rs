//! The queries of the GET endpoints for single orders, and the pools that all queries of the read model
//! run on. Lists are in [`super::list`].
//!
//! Each answer comes from one statement, so from one snapshot: the rows, the position of the checkpoint
//! and whether the order is parked belong together. A query that is dropped midway (a client that hangs
//! up) closes its connection (see [`crate::sql::GuardedConnection`]).

use sqlx::{PgConnection, PgPool, postgres::PgConnectOptions};

use super::{
    bookkeeping::{self, CHECKPOINT},
    rows::OrderWithItems,
    view_columns::ViewColumns,
};
use crate::{
    event_sourcing::{Position, Pulse, StoreError, Version},
    order::OrderId,
    sql::run_query,
};

/// The answer to [`OrderViews::find`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundOrder {
    /// The order, if the read model has it.
    pub order: Option<OrderWithItems>,
    /// If the order is parked: the version of the event that could not be applied. `order` then shows
    /// the events before it.
    pub parked: Option<Version>,
    /// Events were applied up to this position when the answer was read.
    pub projection_position: Position,
}

/// The queries on the read model. They run on pools of their own, of a replica if there is one.
#[derive(Debug, Clone)]
pub struct OrderViews {
    /// For single orders and lists without filters; connections with [`generic_plans`].
    pool: PgPool,
    /// For lists with filters; connections with [`custom_plans`].
    filtered_lists: PgPool,
    pulse: Pulse,
}

/// Makes connections keep one generic plan for each statement: for single orders and lists without
/// filters, which read a key or the end of an index. Table scans are ruled out: a plan made while the
/// tables were small would otherwise be kept and go on scanning them.
#[must_use]
pub fn generic_plans(options: PgConnectOptions) -> PgConnectOptions {
    options.options([
        ("plan_cache_mode", "force_generic_plan"),
        ("jit", "off"),
        ("enable_seqscan", "off"),
        ("max_parallel_workers_per_gather", "0"),
    ])
}

/// Makes connections plan each execution for its values: lists with other filters need other indexes.
/// Compilation and parallel workers are off, because the statements run for milliseconds.
#[must_use]
pub fn custom_plans(options: PgConnectOptions) -> PgConnectOptions {
    options.options([
        ("plan_cache_mode", "force_custom_plan"),
        ("jit", "off"),
        ("max_parallel_workers_per_gather", "0"),
    ])
}

impl OrderViews {
    /// Makes queries on these pools: the first with [`generic_plans`], the second with
    /// [`custom_plans`].
    #[must_use]
    pub fn new(pool: PgPool, filtered_lists: PgPool) -> Self {
        Self {
            pool,
            filtered_lists,
            pulse: Pulse::unwatched(),
        }
    }

    /// Makes queries end as soon as this pulse reports that the database does not answer.
    #[must_use]
    pub fn watched_by(mut self, pulse: Pulse) -> Self {
        self.pulse = pulse;
        self
    }

    /// Runs a query that needs one generic plan.
    pub(super) async fn query<T>(
        &self,
        query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error> + Send,
    ) -> Result<T, StoreError> {
        run_query(&self.pool, &self.pulse, query).await
    }

    /// Runs a query that needs a plan for its values.
    pub(super) async fn query_filtered<T>(
        &self,
        query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error> + Send,
    ) -> Result<T, StoreError> {
        run_query(&self.filtered_lists, &self.pulse, query).await
    }

    /// Finds an order, in one round trip.
    ///
    /// # Errors
    /// If the database fails, or a row cannot be decoded.
    pub async fn find(&self, id: OrderId) -> Result<FoundOrder, StoreError> {
        let columns = self
            .query(async |connection| find(connection, id).await)
            .await?;
        Ok(FoundOrder {
            parked: columns.parked_version.map(Version::new),
            projection_position: Position::new(columns.projection_position),
            order: columns.into_order()?,
        })
    }

    /// Reads up to which position events are applied.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn position(&self) -> Result<Position, StoreError> {
        let bookkeeping = self.query(bookkeeping::read).await?;
        Ok(bookkeeping.checkpoint.position)
    }
}

/// Reads one order. The tables are in the order in which the switch of a rebuild locks them.
async fn find(connection: &mut PgConnection, id: OrderId) -> Result<ViewColumns, sqlx::Error> {
    sqlx::query_as!(
        ViewColumns,
        r#"select v.id as "id?", v.customer_id as "customer_id?", v.status as "status?",
                v.currency as "currency?", v.total_minor as "total_minor?",
                v.item_count as "item_count?", v.total_quantity as "total_quantity?",
                v.version as "version?", v.position as "position?", v.created_at as "created_at?",
                v.updated_at as "updated_at?", v.completed_at, v.cancelled_at,
                v.cancellation_reason, i.item_ids, i.line_nos, i.product_ids, i.quantities,
                i.prices, i.added_ats, c.position as projection_position,
                null::bigint as total, null::bigint as lines_before,
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
}
