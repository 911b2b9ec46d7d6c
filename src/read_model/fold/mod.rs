//! The pure fold of events into read rows: what each event means for `order_views` and `order_items`.
//!
//! It knows only the lines that the events touch, so a chunk of events loads few rows, however long the
//! orders are. No SQL belongs here.

mod error;
mod lines;

#[cfg(test)]
mod tests;

pub use self::error::FoldError;
use self::lines::{Lines, Sums};
use super::rows::{ItemRow, OrderRow};
use crate::{
    event_sourcing::{Position, Timestamp, Version},
    order::{
        Currency, CustomerId, ItemId, MAX_LINES, OrderEvent, OrderId, Quantity, Status,
        event::OrderedItem,
    },
};

/// One order's rows while events are folded into them.
#[derive(Debug, Clone)]
pub struct OrderFold {
    id: OrderId,
    row: Option<OrderRow>,
    lines: Lines,
    /// The version of the row before the events; zero if there was none.
    stored: Version,
    is_changed: bool,
}

/// The line that must be loaded before the event can be folded.
#[must_use]
pub fn needed_item(event: &OrderEvent) -> Option<ItemId> {
    match event {
        OrderEvent::ItemQuantityChanged { item_id, .. } | OrderEvent::ItemRemoved { item_id } => {
            Some(*item_id)
        }
        OrderEvent::ItemAdded { .. }
        | OrderEvent::Created { .. }
        | OrderEvent::Completed
        | OrderEvent::Cancelled { .. } => None,
    }
}

/// The line that the event adds. It must not exist yet.
#[must_use]
pub fn added_item(event: &OrderEvent) -> Option<ItemId> {
    match event {
        OrderEvent::ItemAdded { item, .. } => Some(item.item_id),
        OrderEvent::ItemQuantityChanged { .. }
        | OrderEvent::ItemRemoved { .. }
        | OrderEvent::Created { .. }
        | OrderEvent::Completed
        | OrderEvent::Cancelled { .. } => None,
    }
}

impl OrderFold {
    /// An order without rows.
    #[must_use]
    pub fn absent(id: OrderId) -> Self {
        Self {
            id,
            row: None,
            lines: Lines::default(),
            stored: Version::ZERO,
            is_changed: false,
        }
    }

    /// An order with a stored row. Add the lines that its events touch with
    /// [`insert_stored`](Self::insert_stored).
    #[must_use]
    pub fn stored(row: OrderRow) -> Self {
        Self {
            id: row.id,
            stored: Version::new(row.version),
            row: Some(row),
            lines: Lines::default(),
            is_changed: false,
        }
    }

    /// Adds a line that is stored.
    pub fn insert_stored(&mut self, item: ItemRow) {
        self.lines.insert_stored(item);
    }

    /// The order's id.
    #[must_use]
    pub fn id(&self) -> OrderId {
        self.id
    }

    /// The version that the rows show; zero if there are none.
    #[must_use]
    pub fn version(&self) -> Version {
        Version::new(self.row.as_ref().map_or(0, |row| row.version))
    }

    /// The order's row, if it exists.
    #[must_use]
    pub fn row(&self) -> Option<&OrderRow> {
        self.row.as_ref()
    }

    /// The order's row, if an event changed it.
    #[must_use]
    pub fn changed_row(&self) -> Option<&OrderRow> {
        self.row.as_ref().filter(|_| self.is_changed)
    }

    /// The version of the row before the events; zero if there was none.
    #[must_use]
    pub fn stored_version(&self) -> Version {
        self.stored
    }

    /// Consumes the fold and returns the order's row.
    #[must_use]
    pub fn into_row(self) -> Option<OrderRow> {
        self.row
    }

    /// The lines that events added or changed, each with whether it was stored before.
    pub fn changed_items(&self) -> impl Iterator<Item = (&ItemRow, bool)> {
        self.lines.changed()
    }

    /// The stored lines that events removed.
    pub fn removed_items(&self) -> impl Iterator<Item = ItemId> {
        self.lines.removed()
    }

    /// The known lines in order of addition. These are all lines, if all events were folded.
    #[must_use]
    pub fn items(&self) -> Vec<&ItemRow> {
        let mut items: Vec<_> = self.lines.all().collect();
        items.sort_unstable_by_key(|item| (item.line_no, item.item_id));
        items
    }

    /// Folds the next event in. An event that cannot be folded changes nothing.
    ///
    /// # Errors
    /// [`FoldError`] if the event cannot follow the rows.
    pub fn apply(
        &mut self,
        event: &OrderEvent,
        version: Version,
        position: Position,
        at: Timestamp,
    ) -> Result<(), FoldError> {
        let expected = self.version().plus(1);
        if version != expected {
            return Err(FoldError::Version {
                expected,
                found: version,
            });
        }
        match event {
            OrderEvent::Created {
                order_id,
                customer_id,
                currency,
                items,
            } => self.create(*order_id, customer_id, *currency, items, at)?,
            OrderEvent::ItemAdded { item, currency } => {
                self.add_item(item, *currency, version, at)?;
            }
            OrderEvent::ItemQuantityChanged { item_id, quantity } => {
                self.change_item(*item_id, *quantity)?;
            }
            OrderEvent::ItemRemoved { item_id } => self.remove_item(*item_id)?,
            OrderEvent::Completed => {
                let row = self.open_row()?;
                Status::Completed.as_str().clone_into(&mut row.status);
                row.completed_at = Some(at);
            }
            OrderEvent::Cancelled { reason } => {
                let row = self.open_row()?;
                Status::Cancelled.as_str().clone_into(&mut row.status);
                row.cancelled_at = Some(at);
                row.cancellation_reason = reason.as_ref().map(|reason| reason.as_str().to_owned());
            }
        }
        if let Some(row) = &mut self.row {
            row.version = version.get();
            row.position = position.get();
            row.updated_at = at;
        }
        self.is_changed = true;
        Ok(())
    }

    /// The row of an order that is open.
    fn open_row(&mut self) -> Result<&mut OrderRow, FoldError> {
        let row = self.row.as_mut().ok_or(FoldError::NoOrder)?;
        match status_of(row)? {
            Status::Created => Ok(row),
            last @ (Status::Completed | Status::Cancelled) => Err(FoldError::NotOpen(last)),
        }
    }

    fn create(
        &mut self,
        order_id: OrderId,
        customer_id: &CustomerId,
        currency: Currency,
        items: &[OrderedItem],
        at: Timestamp,
    ) -> Result<(), FoldError> {
        if self.row.is_some() {
            return Err(FoldError::CreatedTwice);
        }
        if order_id != self.id {
            return Err(FoldError::OtherOrder(order_id));
        }
        let mut sums = Sums::default();
        let mut lines = Lines::default();
        for (item, line_no) in items.iter().zip(1..) {
            if lines.get(item.item_id).is_some() {
                return Err(FoldError::ItemTwice(item.item_id));
            }
            let row = self.item_row(item, line_no, at)?;
            sums = sums.with(&row)?;
            lines.add(row);
        }
        self.lines = lines;
        self.row = Some(OrderRow {
            id: self.id,
            customer_id: customer_id.as_str().to_owned(),
            status: Status::Created.as_str().to_owned(),
            currency: currency.code().to_owned(),
            total_minor: sums.total_minor,
            item_count: sums.item_count,
            total_quantity: sums.total_quantity,
            version: 0,
            position: 0,
            created_at: at,
            updated_at: at,
            completed_at: None,
            cancelled_at: None,
            cancellation_reason: None,
        });
        Ok(())
    }

    /// The lines of the creation have the numbers 1 to [`MAX_LINES`] at most. A later line has a number
    /// above, made from the event's version, so that no other line needs to be loaded.
    fn add_item(
        &mut self,
        item: &OrderedItem,
        currency: Currency,
        version: Version,
        at: Timestamp,
    ) -> Result<(), FoldError> {
        let order = self.open_row()?;
        if order.currency != currency.code() {
            return Err(FoldError::Currency {
                expected: order.currency.clone(),
                found: currency.code().to_owned(),
            });
        }
        let sums = Sums::of(order);
        if self.lines.get(item.item_id).is_some() {
            return Err(FoldError::ItemTwice(item.item_id));
        }
        let row = self.item_row(item, version.plus(MAX_LINES).get(), at)?;
        let sums = sums.with(&row)?;
        self.set_item(item.item_id, Some(row), sums);
        Ok(())
    }

    fn change_item(&mut self, id: ItemId, quantity: Quantity) -> Result<(), FoldError> {
        let sums = Sums::of(self.open_row()?);
        let before = self.lines.get(id).ok_or(FoldError::NoItem(id))?;
        let after = ItemRow {
            quantity: column_value(quantity)?,
            ..before.clone()
        };
        let sums = sums.without(before)?.with(&after)?;
        self.set_item(id, Some(after), sums);
        Ok(())
    }

    fn remove_item(&mut self, id: ItemId) -> Result<(), FoldError> {
        let sums = Sums::of(self.open_row()?);
        let before = self.lines.get(id).ok_or(FoldError::NoItem(id))?;
        let sums = sums.without(before)?;
        self.set_item(id, None, sums);
        Ok(())
    }

    fn set_item(&mut self, id: ItemId, row: Option<ItemRow>, sums: Sums) {
        self.lines.set(id, row);
        if let Some(order) = &mut self.row {
            sums.write_to(order);
        }
    }

    fn item_row(
        &self,
        item: &OrderedItem,
        line_no: i32,
        added_at: Timestamp,
    ) -> Result<ItemRow, FoldError> {
        Ok(ItemRow {
            order_id: self.id,
            item_id: item.item_id,
            line_no,
            product_id: item.product_id.as_str().to_owned(),
            quantity: column_value(item.quantity)?,
            price_minor: item.price.minor(),
            added_at,
        })
    }
}

/// The status that a row holds.
fn status_of(row: &OrderRow) -> Result<Status, FoldError> {
    [Status::Created, Status::Completed, Status::Cancelled]
        .into_iter()
        .find(|status| status.as_str() == row.status)
        .ok_or_else(|| FoldError::UnknownStatus(row.status.clone()))
}

/// A quantity as its column holds it.
fn column_value(quantity: Quantity) -> Result<i32, FoldError> {
    i32::try_from(quantity.get()).map_err(|_| FoldError::TooLarge)
}
