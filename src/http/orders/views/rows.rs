//! Makes the JSON of orders from rows of the read model.

use super::order::{ImpossibleOrder, ItemView, OrderSummary, OrderView, Rfc3339, amount};
use crate::{
    event_sourcing::{StoreError, Version},
    order::{Currency, Money, Status, UnknownStatus, currency::UnknownCurrency},
    read_model::{ItemRow, OrderRow, OrderWithItems},
};

/// Makes the view of an order with its lines.
///
/// # Errors
/// [`StoreError::Corrupt`] if a row holds a value that no event leads to.
pub fn view_of(rows: &OrderWithItems) -> Result<OrderView<'_>, StoreError> {
    let summary = summary_of(&rows.order)?;
    let currency = summary.currency;
    let items = rows.items.iter().map(|item| item_of(item, currency));
    Ok(summary.with_items(items.collect::<Result<_, _>>()?))
}

/// Makes the view of an order without its lines.
///
/// # Errors
/// As [`view_of`].
pub fn summary_of(row: &OrderRow) -> Result<OrderSummary<'_>, StoreError> {
    let row_name = || format!("order_views row {}", row.id);
    let currency: Currency = row
        .currency
        .parse()
        .map_err(|error: UnknownCurrency| StoreError::corrupt(row_name(), error))?;
    let status: Status = row
        .status
        .parse()
        .map_err(|error: UnknownStatus| StoreError::corrupt(row_name(), error))?;
    let out_of_range = |error| StoreError::corrupt(row_name(), error);
    Ok(OrderSummary {
        id: row.id.get(),
        customer_id: &row.customer_id,
        status,
        currency,
        item_count: usize::try_from(row.item_count).map_err(out_of_range)?,
        total_quantity: u64::try_from(row.total_quantity).map_err(out_of_range)?,
        total: amount(Money::from_minor(row.total_minor), currency),
        version: Version::new(row.version),
        created_at: Rfc3339(row.created_at),
        updated_at: Rfc3339(row.updated_at),
        completed_at: row.completed_at.map(Rfc3339),
        cancelled_at: row.cancelled_at.map(Rfc3339),
        cancellation_reason: row.cancellation_reason.as_deref(),
    })
}

fn item_of(row: &ItemRow, currency: Currency) -> Result<ItemView<'_>, StoreError> {
    let row_name = || format!("order_items row {}", row.item_id);
    let quantity =
        u32::try_from(row.quantity).map_err(|error| StoreError::corrupt(row_name(), error))?;
    let price = Money::from_minor(row.price_minor);
    let total = price
        .checked_mul(quantity)
        .ok_or_else(|| StoreError::corrupt(row_name(), ImpossibleOrder::LineTotalTooLarge))?;
    Ok(ItemView {
        item_id: row.item_id.get(),
        product_id: &row.product_id,
        quantity,
        price: amount(price, currency),
        line_total: amount(total, currency),
        added_at: Rfc3339(row.added_at),
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        event_sourcing::testing::instant,
        order::{ItemId, OrderId},
    };

    fn order() -> OrderWithItems {
        let order_id = OrderId::new(Uuid::from_u128(1));
        let order = OrderRow {
            id: order_id,
            customer_id: "customer-1".to_owned(),
            status: "created".to_owned(),
            currency: "EUR".to_owned(),
            total_minor: 200,
            item_count: 1,
            total_quantity: 2,
            version: 1,
            position: 1,
            created_at: instant(0),
            updated_at: instant(0),
            completed_at: None,
            cancelled_at: None,
            cancellation_reason: None,
        };
        let item = ItemRow {
            order_id,
            item_id: ItemId::new(Uuid::from_u128(2)),
            line_no: 1,
            product_id: "product-1".to_owned(),
            quantity: 2,
            price_minor: 100,
            added_at: instant(0),
        };
        OrderWithItems {
            order,
            items: vec![item],
        }
    }

    #[test]
    fn a_row_that_no_event_leads_to_is_an_error_and_not_another_order() {
        assert!(view_of(&order()).is_ok());
        let changes: [fn(&mut OrderWithItems); 6] = [
            |rows| rows.order.status = "open".to_owned(),
            |rows| rows.order.currency = "euro".to_owned(),
            |rows| rows.order.item_count = -1,
            |rows| rows.order.total_quantity = -1,
            |rows| rows.items[0].quantity = -1,
            |rows| rows.items[0].price_minor = i64::MAX,
        ];
        for change in changes {
            let mut rows = order();
            change(&mut rows);

            assert!(matches!(view_of(&rows), Err(StoreError::Corrupt { .. })));
        }
    }
}
