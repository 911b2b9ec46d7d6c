//! The list statements: one for each sort, each for lists without filters, with filters and of a
//! product, without lines and with them. One macro makes all of them.
//!
//! An absent filter is `null`. Lists with filters run on connections that plan each execution for its
//! values (see [`custom_plans`](super::super::queries::custom_plans)): `$1 is null or …` is then removed
//! from the plan, and each combination of filters gets the index that fits. One plan for all
//! combinations would scan the table. For lists without filters, planning would take longer than
//! executing, so one generic plan is kept.

use sqlx::{Error, PgConnection};

use super::{
    super::{bookkeeping::CHECKPOINT, view_columns::ViewColumns},
    query::{ListQuery, ListSort, ListStart, MAX_LINES},
};
use crate::{event_sourcing::Timestamp, order::OrderId};

/// The parameters of a list statement.
pub(super) struct Parameters<'a> {
    query: &'a ListQuery,
    statuses: Option<Vec<String>>,
    after: Option<(Timestamp, OrderId)>,
    offset: i64,
    limit: i64,
}

impl<'a> Parameters<'a> {
    pub(super) fn new(query: &'a ListQuery) -> Self {
        let (offset, after) = match query.start {
            ListStart::Offset(offset) => (i64::from(offset), None),
            ListStart::After(at, id) => (0, Some((at, id))),
        };
        let statuses = query.statuses.iter();
        let statuses = statuses.map(|status| status.as_str().to_owned());
        Self {
            query,
            statuses: (!query.statuses.is_empty()).then(|| statuses.collect()),
            after,
            offset,
            // One more than the page holds, to know whether more orders follow.
            limit: i64::from(query.limit).saturating_add(1),
        }
    }

    /// Whether all orders are asked for, from the first one on.
    pub(super) fn has_no_filter(&self) -> bool {
        let query = self.query;
        let times = [
            query.created_from,
            query.created_to,
            query.updated_from,
            query.updated_to,
        ];
        query.customer_id.is_none()
            && query.product_id.is_none()
            && self.statuses.is_none()
            && self.after.is_none()
            && times.iter().all(Option::is_none)
    }
}

/// One statement for a page of orders. `$where` selects the orders, `$after` those behind the last page,
/// and `$order` sorts them. The rest is what the lines need: their columns, what surrounds the page,
/// their join, and its argument.
///
/// The tables are in the order in which the switch of a rebuild locks them: views, then items. A
/// condition on `updated_at` is also put on `updated_slot`, because the index is on the slot.
macro_rules! page {
    ($connection:expr, $parameters:expr, [$($where:literal)+], $after:literal, $order:literal,
     $columns:literal, [$($before:literal)+], [$($behind:literal)+] $(, $argument:expr)?) => {
        sqlx::query_as!(
            ViewColumns,
            r#"select v.id as "id?", v.customer_id as "customer_id?", v.status as "status?",
                v.currency as "currency?", v.total_minor as "total_minor?",
                v.item_count as "item_count?", v.total_quantity as "total_quantity?",
                v.version as "version?", v.position as "position?", v.created_at as "created_at?",
                v.updated_at as "updated_at?", v.completed_at, v.cancelled_at,
                v.cancellation_reason, c.position as projection_position,
                null::integer as parked_version,
                case when $1 then (
                    select count(*) from (
                        select from order_views v
                        where "# $(+ $where)+ + r#"
                        limit 10001
                    ) counted
                ) end as total, "# + $columns + r#"
            from projection_checkpoint c
            left join ("# $(+ $before)+ + r#"
                select v.id, v.customer_id, v.status, v.currency, v.total_minor, v.item_count,
                    v.total_quantity, v.version, v.position, v.created_at, v.updated_at,
                    v.completed_at, v.cancelled_at, v.cancellation_reason, v.updated_slot
                from order_views v
                where "# $(+ $where)+ + r#"
                    and ($9::timestamptz is null or "# + $after + r#")
                order by "# + $order + r#"
                limit $11 offset $12
            "# $(+ $behind)+ + r#"
            where c.name = $13
            order by "# + $order,
            $parameters.query.with_total,
            $parameters.query.customer_id.as_deref(),
            $parameters.statuses.as_deref(),
            $parameters.query.created_from,
            $parameters.query.created_to,
            $parameters.query.updated_from,
            $parameters.query.updated_to,
            $parameters.query.product_id.as_deref(),
            $parameters.after.map(|(at, _)| at),
            $parameters.after.map(|(_, id)| id.get()),
            $parameters.limit,
            $parameters.offset,
            CHECKPOINT,
            $($argument,)?
        )
        .fetch_all($connection)
        .await
    };
}

/// Two list statements: without lines and with them. What only the second one needs would make the first
/// one, the usual one, a fifth slower.
///
/// `lines_before` counts the lines of the orders before each one on the page. Once there are
/// [`MAX_LINES`], no more are read.
macro_rules! list {
    ($connection:expr, $parameters:expr, $where:tt, $after:literal, $order:literal) => {
        if $parameters.query.with_items {
            page!(
                $connection,
                $parameters,
                $where,
                $after,
                $order,
                "v.lines_before, i.item_ids, i.line_nos, i.product_ids, i.quantities, i.prices,
                    i.added_ats",
                ["select v.*, sum(v.item_count) over (
                        order by " $order "
                        rows between unbounded preceding and 1 preceding
                    ) as lines_before
                from ("],
                [") v
            ) v on true
            left join lateral (
                select array_agg(i.item_id order by i.line_no, i.item_id) as item_ids,
                    array_agg(i.line_no order by i.line_no, i.item_id) as line_nos,
                    array_agg(i.product_id order by i.line_no, i.item_id) as product_ids,
                    array_agg(i.quantity order by i.line_no, i.item_id) as quantities,
                    array_agg(i.price_minor order by i.line_no, i.item_id) as prices,
                    array_agg(i.added_at order by i.line_no, i.item_id) as added_ats
                from order_items i
                where i.order_id = v.id and coalesce(v.lines_before, 0) < $14
            ) i on true"],
                MAX_LINES
            )
        } else {
            page!(
                $connection,
                $parameters,
                $where,
                $after,
                $order,
                "null::bigint as lines_before, null::uuid[] as item_ids, null::integer[] as line_nos,
                    null::text[] as product_ids, null::integer[] as quantities,
                    null::bigint[] as prices, null::timestamptz[] as added_ats",
                [""],
                [") v on true"]
            )
        }
    };
}

/// Four list statements with the same conditions, one for each sort.
macro_rules! sorted_lists {
    ($connection:expr, $parameters:expr, $where:tt) => {
        match $parameters.query.sort {
            ListSort::CreatedDescending => list!(
                $connection,
                $parameters,
                $where,
                "(v.created_at, v.id) < ($9, $10::uuid)",
                "v.created_at desc, v.id desc"
            ),
            ListSort::CreatedAscending => list!(
                $connection,
                $parameters,
                $where,
                "(v.created_at, v.id) > ($9, $10::uuid)",
                "v.created_at, v.id"
            ),
            ListSort::UpdatedDescending => list!(
                $connection,
                $parameters,
                $where,
                "(v.updated_slot, v.updated_at, v.id) < (updated_slot($9), $9, $10::uuid)",
                "v.updated_slot desc, v.updated_at desc, v.id desc"
            ),
            ListSort::UpdatedAscending => list!(
                $connection,
                $parameters,
                $where,
                "(v.updated_slot, v.updated_at, v.id) > (updated_slot($9), $9, $10::uuid)",
                "v.updated_slot, v.updated_at, v.id"
            ),
        }
    };
}

/// Four list statements with filters. `$product` is the condition on the product.
macro_rules! filtered_lists {
    ($connection:expr, $parameters:expr, $product:literal) => {
        sorted_lists!(
            $connection,
            $parameters,
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

/// Lists all orders. The condition, that every filter is null, does not depend on a row: PostgreSQL
/// evaluates it once, so one generic plan serves all such lists.
pub(super) async fn list_unfiltered(
    connection: &mut PgConnection,
    parameters: &Parameters<'_>,
) -> Result<Vec<ViewColumns>, Error> {
    sorted_lists!(
        connection,
        parameters,
        [
            "num_nonnulls($2::text, $3::text[], $4::timestamptz, $5::timestamptz, $6::timestamptz,
                $7::timestamptz, $8::text) = 0"
        ]
    )
}

/// Lists orders with filters other than the product.
pub(super) async fn list_filtered(
    connection: &mut PgConnection,
    parameters: &Parameters<'_>,
) -> Result<Vec<ViewColumns>, Error> {
    filtered_lists!(connection, parameters, "$8::text is null")
}

/// Lists orders that hold a product. A statement of its own, so that PostgreSQL can plan a semi-join: as
/// one side of an `or`, the subquery would run for every order.
pub(super) async fn list_of_product(
    connection: &mut PgConnection,
    parameters: &Parameters<'_>,
) -> Result<Vec<ViewColumns>, Error> {
    filtered_lists!(
        connection,
        parameters,
        "exists (select from order_items held where held.order_id = v.id and held.product_id = $8)"
    )
}
