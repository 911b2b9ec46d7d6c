//! Lists of orders: filtered, sorted, a page at a time.
//!
//! One statement for each sort, for plain lists, lists with filters and lists of a product, all made
//! by one macro. Absent filters are `null`. With filters, the pool's connections plan each statement
//! anew with the values at hand (see [`super::queries::fitting_plans`]): `$1 is null or …` vanishes
//! then, and each combination of filters gets the index that fits; a plan made once for all would
//! scan the table. Where nothing is filtered, planning would take longer than the rest, and one plan
//! is kept.

use sqlx::{Error, PgConnection};

use super::{
    checkpoint::CHECKPOINT,
    queries::{OrderViews, OrderWithItems, ViewColumns},
    rows::OrderRow,
};
use crate::{
    event_sourcing::{Position, StoreError, Timestamp},
    order::{OrderId, Status},
    sql::error::store_error,
};

/// Up to where a list counts its orders.
pub const MAX_COUNT: i64 = 10_000;

/// By what a list is sorted; the id breaks ties, in the same direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListSort {
    /// Newest first.
    #[default]
    CreatedDescending,
    /// Oldest first.
    CreatedAscending,
    /// Last changed first.
    UpdatedDescending,
    /// Longest unchanged first.
    UpdatedAscending,
}

impl ListSort {
    /// The place of an order in a list so sorted: what [`ListStart::After`] of the next page holds.
    #[must_use]
    pub fn key(self, order: &OrderRow) -> (Timestamp, OrderId) {
        match self {
            Self::CreatedDescending | Self::CreatedAscending => (order.created_at, order.id),
            Self::UpdatedDescending | Self::UpdatedAscending => (order.updated_at, order.id),
        }
    }
}

/// Where a page starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListStart {
    /// After so many orders.
    Offset(u32),
    /// After the order at this place: see [`ListSort::key`].
    After(Timestamp, OrderId),
}

impl Default for ListStart {
    fn default() -> Self {
        Self::Offset(0)
    }
}

/// Which orders are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Of this customer.
    pub customer_id: Option<String>,
    /// In one of these statuses; of any where it is empty.
    pub statuses: Vec<Status>,
    /// That hold a line of this product now.
    pub product_id: Option<String>,
    /// Created at or after this.
    pub created_from: Option<Timestamp>,
    /// Created before this.
    pub created_to: Option<Timestamp>,
    /// Last changed at or after this.
    pub updated_from: Option<Timestamp>,
    /// Last changed before this.
    pub updated_to: Option<Timestamp>,
    /// How they are sorted.
    pub sort: ListSort,
    /// Where the page starts.
    pub start: ListStart,
    /// How many at most.
    pub limit: u32,
    /// Whether to count all that match, up to [`MAX_COUNT`].
    pub with_total: bool,
    /// Whether to read the lines too.
    pub with_items: bool,
}

/// How many orders match, whatever the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// The number, at most [`MAX_COUNT`].
    pub count: i64,
    /// Whether there are more.
    pub is_capped: bool,
}

/// A page of a list; all of it is from one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// The orders, with their lines where those were asked for.
    pub orders: Vec<OrderWithItems>,
    /// Whether others come after them.
    pub has_more: bool,
    /// How many match, where that was asked for.
    pub total: Option<Total>,
    /// Up to where events were applied when this was read.
    pub projection_position: Position,
}

/// The values of a list's filters, as the statements take them.
struct Filters<'a> {
    customer_id: Option<&'a str>,
    statuses: Option<Vec<String>>,
    product_id: Option<&'a str>,
    after: Option<(Timestamp, OrderId)>,
    offset: i64,
    limit: i64,
    query: &'a ListQuery,
}

impl Filters<'_> {
    /// Whether all orders are asked for, and from the first one on.
    fn is_plain(&self) -> bool {
        let ListQuery {
            created_from,
            created_to,
            updated_from,
            updated_to,
            ..
        } = self.query;
        let instants = [created_from, created_to, updated_from, updated_to];
        self.customer_id.is_none()
            && self.statuses.is_none()
            && self.product_id.is_none()
            && self.after.is_none()
            && instants.iter().all(|instant| instant.is_none())
    }
}

/// One list statement: `$where` says which orders, `$after` says what comes after the last page's end, `$order` in which order.
///
/// Tables stand in the order in which a rebuild's switch locks them: views, then items. What is
/// asked of `updated_at` is asked of its slot too, for the slot has the index.
macro_rules! list {
    ($connection:expr, $filters:expr, [$($where:literal)+], $after:literal, $order:literal) => {
        sqlx::query_as!(
            ViewColumns,
            r#"select v.id as "id?", v.customer_id as "customer_id?", v.status as "status?",
                v.currency as "currency?", v.total_minor as "total_minor?",
                v.item_count as "item_count?", v.total_quantity as "total_quantity?",
                v.version as "version?", v.position as "position?", v.created_at as "created_at?",
                v.updated_at as "updated_at?", v.completed_at, v.cancelled_at,
                v.cancellation_reason, i.item_ids, i.line_nos, i.product_ids, i.quantities,
                i.prices, i.added_ats, c.position as projection_position,
                null::integer as parked_version,
                case when $1 then (
                    select count(*) from (
                        select from order_views v
                        where "# $(+ $where)+ + r#"
                        limit 10001
                    ) counted
                ) end as total
            from projection_checkpoint c
            left join (
                select v.id, v.customer_id, v.status, v.currency, v.total_minor, v.item_count,
                    v.total_quantity, v.version, v.position, v.created_at, v.updated_at,
                    v.completed_at, v.cancelled_at, v.cancellation_reason, v.updated_slot
                from order_views v
                where "# $(+ $where)+ + r#"
                    and ($9::timestamptz is null or "# + $after + r#")
                order by "# + $order + r#"
                limit $11 offset $12
            ) v on true
            left join lateral (
                select array_agg(i.item_id order by i.line_no, i.item_id) as item_ids,
                    array_agg(i.line_no order by i.line_no, i.item_id) as line_nos,
                    array_agg(i.product_id order by i.line_no, i.item_id) as product_ids,
                    array_agg(i.quantity order by i.line_no, i.item_id) as quantities,
                    array_agg(i.price_minor order by i.line_no, i.item_id) as prices,
                    array_agg(i.added_at order by i.line_no, i.item_id) as added_ats
                from order_items i
                where $13 and i.order_id = v.id
            ) i on true
            where c.name = $14
            order by "# + $order,
            $filters.query.with_total,
            $filters.customer_id,
            $filters.statuses.as_deref(),
            $filters.query.created_from,
            $filters.query.created_to,
            $filters.query.updated_from,
            $filters.query.updated_to,
            $filters.product_id,
            $filters.after.map(|(at, _)| at),
            $filters.after.map(|(_, id)| id.get()),
            $filters.limit,
            $filters.offset,
            $filters.query.with_items,
            CHECKPOINT,
        )
        .fetch_all($connection)
        .await
    };
}

/// The list statements of these conditions, one for each sort.
macro_rules! lists {
    ($connection:expr, $filters:expr, $where:tt) => {
        match $filters.query.sort {
            ListSort::CreatedDescending => list!(
                $connection,
                $filters,
                $where,
                "(v.created_at, v.id) < ($9, $10::uuid)",
                "v.created_at desc, v.id desc"
            ),
            ListSort::CreatedAscending => list!(
                $connection,
                $filters,
                $where,
                "(v.created_at, v.id) > ($9, $10::uuid)",
                "v.created_at, v.id"
            ),
            ListSort::UpdatedDescending => list!(
                $connection,
                $filters,
                $where,
                "(v.updated_slot, v.updated_at, v.id) < (updated_slot($9), $9, $10::uuid)",
                "v.updated_slot desc, v.updated_at desc, v.id desc"
            ),
            ListSort::UpdatedAscending => list!(
                $connection,
                $filters,
                $where,
                "(v.updated_slot, v.updated_at, v.id) > (updated_slot($9), $9, $10::uuid)",
                "v.updated_slot, v.updated_at, v.id"
            ),
        }
    };
}

/// The list statements with filters, and with this one for the product.
macro_rules! filtered_lists {
    ($connection:expr, $filters:expr, $product:literal) => {
        lists!(
            $connection,
            $filters,
            ["($2::text is null or v.customer_id = $2)
                and ($3::text[] is null or v.status = any($3))
                and ($4::timestamptz is null or v.created_at >= $4)
                and ($5::timestamptz is null or v.created_at < $5)
                and ($6::timestamptz is null or (v.updated_at >= $6
                    and v.updated_slot >= updated_slot($6)))
                and ($7::timestamptz is null or (v.updated_at < $7
                    and v.updated_slot <= updated_slot($7)))
                and " $product]
        )
    };
}

impl OrderViews {
    /// Lists a page of orders.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        let limit = i64::from(query.limit);
        let (offset, after) = match query.start {
            ListStart::Offset(offset) => (i64::from(offset), None),
            ListStart::After(at, id) => (0, Some((at, id))),
        };
        let statuses = query
            .statuses
            .iter()
            .map(|status| status.as_str().to_owned());
        let filters = Filters {
            customer_id: query.customer_id.as_deref(),
            statuses: (!query.statuses.is_empty()).then(|| statuses.collect()),
            product_id: query.product_id.as_deref(),
            after,
            offset,
            // One more tells whether others come after.
            limit: limit.saturating_add(1),
            query,
        };
        let rows = if filters.is_plain() {
            let rows = self.ask(async |connection| list_plain(connection, &filters).await);
            rows.await?
        } else {
            let rows = self.ask_for_list(async |connection| match filters.product_id {
                None => list_all(connection, &filters).await,
                Some(_) => list_of_product(connection, &filters).await,
            });
            rows.await?
        };
        let mut rows = rows.into_iter().peekable();
        let first = rows.peek().map(|row| (row.projection_position, row.total));
        let Some((position, total)) = first else {
            return Err(store_error(Error::RowNotFound));
        };
        let mut orders: Vec<_> = rows.filter_map(ViewColumns::into_view).collect();
        let has_more = orders.len() > query.limit as usize;
        orders.truncate(query.limit as usize);
        Ok(ListPage {
            orders,
            has_more,
            total: total.map(|count| Total {
                count: count.min(MAX_COUNT),
                is_capped: count > MAX_COUNT,
            }),
            projection_position: Position::new(position),
        })
    }
}

/// Nothing is asked of a row, so that one plan serves all such lists: the conditions, that no filter
/// is given, are seen to be true before any row is looked at.
async fn list_plain(
    connection: &mut PgConnection,
    filters: &Filters<'_>,
) -> Result<Vec<ViewColumns>, Error> {
    lists!(
        connection,
        filters,
        [
            "num_nonnulls($2::text, $3::text[], $4::timestamptz, $5::timestamptz, $6::timestamptz,
                $7::timestamptz, $8::text) = 0"
        ]
    )
}

async fn list_all(
    connection: &mut PgConnection,
    filters: &Filters<'_>,
) -> Result<Vec<ViewColumns>, Error> {
    filtered_lists!(connection, filters, "$8::text is null")
}

/// A semi-join of its own: behind an `or` it would be asked of every order.
async fn list_of_product(
    connection: &mut PgConnection,
    filters: &Filters<'_>,
) -> Result<Vec<ViewColumns>, Error> {
    filtered_lists!(
        connection,
        filters,
        "exists (select from order_items held where held.order_id = v.id and held.product_id = $8)"
    )
}
