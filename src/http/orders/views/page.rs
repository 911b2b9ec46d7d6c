//! A page of orders as JSON.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use super::{
    order::{OrderSummary, OrderView},
    rows::{summary_of, view_of},
};
use crate::{http::problem::ApiError, read_model::OrderWithItems};

/// A page ends once its orders have this many bytes.
const PAGE_BYTES: usize = 4 << 20;

/// A page of orders.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderPage<'a> {
    /// The orders: summaries, or with `view=full` whole orders.
    pub items: Vec<OrderEntry<'a>>,
    /// The number of the page, from 1; null if the request had a cursor.
    #[schema(required)]
    pub page: Option<u32>,
    /// The largest number of orders on a page.
    pub page_size: u32,
    /// Whether more orders follow.
    pub has_more: bool,
    /// The cursor of the next page; null at the end.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// The number of orders that match, at most 10000; null without `includeTotal=true`.
    #[schema(required)]
    pub total_count: Option<i64>,
    /// Whether more than 10000 orders match.
    pub total_count_capped: bool,
}

/// An order on a page.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum OrderEntry<'a> {
    /// Without lines (`view=summary`).
    Summary(OrderSummary<'a>),
    /// With lines (`view=full`), as JSON.
    #[schema(value_type = OrderView)]
    Full(Box<RawValue>),
}

/// Makes the entries of a page. Whole orders may be fewer than were found: they end once they have
/// 4 MiB.
///
/// # Errors
/// If a row holds a value that no event leads to.
pub fn entries(
    found: &[OrderWithItems],
    with_items: bool,
) -> Result<Vec<OrderEntry<'_>>, ApiError> {
    let (mut entries, mut bytes) = (Vec::with_capacity(found.len()), 0_usize);
    for rows in found {
        if bytes >= PAGE_BYTES {
            break;
        }
        entries.push(if with_items {
            let json = to_raw_value(&view_of(rows)?).map_err(ApiError::internal)?;
            bytes = bytes.saturating_add(json.get().len());
            OrderEntry::Full(json)
        } else {
            OrderEntry::Summary(summary_of(&rows.order)?)
        });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        event_sourcing::testing::instant,
        http::orders::views::order::{ItemView, Rfc3339, amount},
        order::Money,
        read_model::list::MAX_LINES,
    };

    #[test]
    fn a_page_has_its_bytes_before_it_has_all_the_lines_that_are_read() {
        let yen = |minor| amount(Money::from_minor(minor), "JPY".parse().unwrap());
        let smallest = ItemView {
            item_id: Uuid::nil(),
            product_id: "p",
            quantity: 1,
            price: yen(0),
            line_total: yen(0),
            added_at: Rfc3339(instant(0)),
        };

        let bytes = serde_json::to_string(&smallest).unwrap().len();

        assert!(
            bytes * usize::try_from(MAX_LINES).unwrap() >= PAGE_BYTES,
            "{bytes}"
        );
    }
}
