//! Read rows as the JSON that clients see.

use super::view::{ItemView, OrderSummary, OrderView, Rfc3339, amount};
use crate::http::problem::error::ApiError;
use crate::{
    event_sourcing::{StoreError, Version},
    order::{Currency, Money, Status},
    read_model::{OrderRow, OrderWithItems},
};

/// A row holds a word that is none of ours.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no status")]
struct UnknownStatus(String);

/// An order with its lines.
///
/// # Errors
/// 500 where a row holds what no event could have put there.
pub fn view_of(rows: &OrderWithItems) -> Result<OrderView<'_>, ApiError> {
    let summary = summary_of(&rows.order)?;
    let currency = summary.currency;
    let items = rows.items.iter().map(|item| {
        let price = Money::from_minor(item.price_minor);
        let quantity = item.quantity.cast_unsigned();
        ItemView::new(item.item_id, &item.product_id, quantity, price, currency)
            .added(item.added_at)
    });
    Ok(summary.with_items(items.collect()))
}

/// An order without its lines.
///
/// # Errors
/// As [`view_of`].
pub fn summary_of(row: &OrderRow) -> Result<OrderSummary<'_>, ApiError> {
    let corrupt = || format!("order_views row {}", row.id);
    let currency: Currency =
        row.currency
            .parse()
            .map_err(|error: crate::order::currency::UnknownCurrency| {
                StoreError::corrupt(corrupt(), error)
            })?;
    let status = [Status::Created, Status::Completed, Status::Cancelled]
        .into_iter()
        .find(|status| status.as_str() == row.status)
        .ok_or_else(|| StoreError::corrupt(corrupt(), UnknownStatus(row.status.clone())))?;
    Ok(OrderSummary {
        id: row.id.get(),
        customer_id: &row.customer_id,
        status,
        currency,
        item_count: usize::try_from(row.item_count).unwrap_or_default(),
        total_quantity: row.total_quantity.cast_unsigned(),
        total: amount(Money::from_minor(row.total_minor), currency),
        version: Version::new(row.version),
        created_at: Rfc3339(row.created_at),
        updated_at: Rfc3339(row.updated_at),
        completed_at: row.completed_at.map(Rfc3339),
        cancelled_at: row.cancelled_at.map(Rfc3339),
        cancellation_reason: row.cancellation_reason.as_deref(),
    })
}
