//! The pure fold of events into read rows. It knows only the lines that the events touch, so that a
//! chunk of events loads few rows, however long the orders are.

use std::collections::HashMap;

use super::rows::{ItemRow, OrderRow};
use crate::{
    event_sourcing::{Position, Timestamp, Version},
    order::{
        Currency, CustomerId, ItemId, OrderEvent, OrderId, Status, error::MAX_LINES,
        event::OrderedItem,
    },
};

/// Why an event does not fit the rows before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Events before it are missing, or it is there twice.
    #[error("version {found} stands where version {expected} belongs")]
    Version {
        /// The version that comes next.
        expected: Version,
        /// The event's version.
        found: Version,
    },
    /// The first event does not create the order.
    #[error("the order was never created")]
    NoOrder,
    /// The order is created again.
    #[error("the order is created twice")]
    CreatedTwice,
    /// The event creates another order than that of its stream.
    #[error("the event creates order {0}")]
    OtherOrder(OrderId),
    /// The order is final.
    #[error("the order is already {0}")]
    NotOpen(String),
    /// The order has no such line.
    #[error("the order has no line {0}")]
    NoItem(ItemId),
    /// The order has this line already.
    #[error("the order has line {0} already")]
    ItemTwice(ItemId),
    /// The line's price is in another currency than the order.
    #[error("the line is priced in {found}, the order in {expected}")]
    Currency {
        /// The order's currency.
        expected: String,
        /// The line's currency.
        found: String,
    },
    /// The sums do not fit their columns.
    #[error("the order's total is too large")]
    TooLarge,
}

/// What is known of a line.
#[derive(Debug, Clone)]
struct Slot {
    row: Option<ItemRow>,
    is_stored: bool,
    is_changed: bool,
}

/// One order's rows while events are folded into them.
#[derive(Debug, Clone)]
pub struct OrderFold {
    id: OrderId,
    row: Option<OrderRow>,
    slots: HashMap<ItemId, Slot>,
    /// The version of the row before the events; zero where there was none.
    stored: Version,
    is_changed: bool,
}

/// Sums over the lines of an order.
#[derive(Debug, Clone, Copy)]
struct Sums {
    total_minor: i64,
    item_count: i32,
    total_quantity: i64,
}

impl Sums {
    const NONE: Self = Self {
        total_minor: 0,
        item_count: 0,
        total_quantity: 0,
    };

    fn of(row: &OrderRow) -> Self {
        Self {
            total_minor: row.total_minor,
            item_count: row.item_count,
            total_quantity: row.total_quantity,
        }
    }

    fn with(self, item: &ItemRow) -> Result<Self, Unfit> {
        self.add(item, 1).ok_or(Unfit::TooLarge)
    }

    fn without(self, item: &ItemRow) -> Result<Self, Unfit> {
        self.add(item, -1).ok_or(Unfit::TooLarge)
    }

    fn add(self, item: &ItemRow, sign: i32) -> Option<Self> {
        let pieces = i64::from(item.quantity).checked_mul(i64::from(sign))?;
        let line_total = item.price_minor.checked_mul(pieces)?;
        Some(Self {
            total_minor: self.total_minor.checked_add(line_total)?,
            item_count: self.item_count.checked_add(sign)?,
            total_quantity: self.total_quantity.checked_add(pieces)?,
        })
    }
}

/// The line that must be there for an event.
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

/// The line that an event adds, and that must not be there yet.
#[must_use]
pub fn added_item(event: &OrderEvent) -> Option<ItemId> {
    match event {
        OrderEvent::ItemAdded { item, .. } => Some(item.item_id),
        _ => None,
    }
}

impl OrderFold {
    /// An order of which there is no row.
    #[must_use]
    pub fn absent(id: OrderId) -> Self {
        Self {
            id,
            row: None,
            slots: HashMap::new(),
            stored: Version::ZERO,
            is_changed: false,
        }
    }

    /// An order as its row shows it; its touched lines follow by [`Self::know`].
    #[must_use]
    pub fn stored(row: OrderRow) -> Self {
        Self {
            id: row.id,
            stored: Version::new(row.version),
            row: Some(row),
            slots: HashMap::new(),
            is_changed: false,
        }
    }

    /// Tells of a line that is stored.
    pub fn know(&mut self, item: ItemRow) {
        let slot = Slot {
            row: Some(item),
            is_stored: true,
            is_changed: false,
        };
        if let Some(item) = &slot.row {
            self.slots.insert(item.item_id, slot);
        }
    }

    /// The order's id.
    #[must_use]
    pub fn id(&self) -> OrderId {
        self.id
    }

    /// The version that the rows show; zero where there are none.
    #[must_use]
    pub fn version(&self) -> Version {
        Version::new(self.row.as_ref().map_or(0, |row| row.version))
    }

    /// The order's row, where it exists.
    #[must_use]
    pub fn row(&self) -> Option<&OrderRow> {
        self.row.as_ref()
    }

    /// The row, where an event changed it.
    #[must_use]
    pub fn changed_row(&self) -> Option<&OrderRow> {
        self.row.as_ref().filter(|_| self.is_changed)
    }

    /// The version of the row before the events; zero where there was none.
    #[must_use]
    pub fn stored_version(&self) -> Version {
        self.stored
    }

    /// The row, for good.
    #[must_use]
    pub fn into_row(self) -> Option<OrderRow> {
        self.row
    }

    /// The lines that events put or changed, each with whether it was stored before.
    pub fn changed_items(&self) -> impl Iterator<Item = (&ItemRow, bool)> {
        let changed = self.slots.values().filter(|slot| slot.is_changed);
        changed.filter_map(|slot| slot.row.as_ref().map(|row| (row, slot.is_stored)))
    }

    /// The stored lines that events removed.
    pub fn removed_items(&self) -> impl Iterator<Item = ItemId> {
        let slots = self.slots.iter();
        slots
            .filter(|(_, slot)| slot.is_stored && slot.row.is_none())
            .map(|(item_id, _)| *item_id)
    }

    /// The lines known, in order of addition: all of them, where all events were folded.
    #[must_use]
    pub fn items(&self) -> Vec<&ItemRow> {
        let mut items: Vec<_> = self
            .slots
            .values()
            .filter_map(|slot| slot.row.as_ref())
            .collect();
        items.sort_unstable_by_key(|item| (item.line_no, item.item_id));
        items
    }

    /// Folds the next event in. One that does not fit changes nothing.
    ///
    /// # Errors
    /// [`Unfit`], where the event cannot follow the rows.
    pub fn apply(
        &mut self,
        event: &OrderEvent,
        version: Version,
        position: Position,
        at: Timestamp,
    ) -> Result<(), Unfit> {
        let expected = self.version().plus(1);
        if version != expected {
            return Err(Unfit::Version {
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
            OrderEvent::ItemAdded { item, currency } => self.add(item, *currency, version, at)?,
            OrderEvent::ItemQuantityChanged { item_id, quantity } => {
                self.change(*item_id, to_i32(quantity.get()))?;
            }
            OrderEvent::ItemRemoved { item_id } => self.remove(*item_id)?,
            OrderEvent::Completed => {
                let row = self.open()?;
                Status::Completed.as_str().clone_into(&mut row.status);
                row.completed_at = Some(at);
            }
            OrderEvent::Cancelled { reason } => {
                let row = self.open()?;
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

    fn open(&mut self) -> Result<&mut OrderRow, Unfit> {
        let row = self.row.as_mut().ok_or(Unfit::NoOrder)?;
        if row.status == Status::Created.as_str() {
            Ok(row)
        } else {
            Err(Unfit::NotOpen(row.status.clone()))
        }
    }

    fn create(
        &mut self,
        order_id: OrderId,
        customer_id: &CustomerId,
        currency: Currency,
        items: &[OrderedItem],
        at: Timestamp,
    ) -> Result<(), Unfit> {
        if self.row.is_some() {
            return Err(Unfit::CreatedTwice);
        }
        if order_id != self.id {
            return Err(Unfit::OtherOrder(order_id));
        }
        let mut sums = Sums::NONE;
        let mut slots = HashMap::with_capacity(items.len());
        for (item, line_no) in items.iter().zip(1..) {
            let row = self.item_row(item, line_no, at);
            sums = sums.with(&row)?;
            if slots
                .insert(item.item_id, Slot::changed(Some(row), false))
                .is_some()
            {
                return Err(Unfit::ItemTwice(item.item_id));
            }
        }
        self.slots = slots;
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

    /// The first lines have the numbers up to [`MAX_LINES`]; a line added at a version has one
    /// beyond, so that no other line needs to be known.
    fn add(
        &mut self,
        item: &OrderedItem,
        currency: Currency,
        version: Version,
        at: Timestamp,
    ) -> Result<(), Unfit> {
        let order = self.open()?;
        if order.currency != currency.code() {
            return Err(Unfit::Currency {
                expected: order.currency.clone(),
                found: currency.code().to_owned(),
            });
        }
        let sums = Sums::of(order);
        let known = self.slots.get(&item.item_id);
        if known.is_some_and(|slot| slot.row.is_some()) {
            return Err(Unfit::ItemTwice(item.item_id));
        }
        let line_no = version.plus(MAX_LINES).get();
        let row = self.item_row(item, line_no, at);
        let sums = sums.with(&row)?;
        self.put(item.item_id, Some(row), sums);
        Ok(())
    }

    fn change(&mut self, item_id: ItemId, quantity: i32) -> Result<(), Unfit> {
        let sums = Sums::of(self.open()?);
        let before = self.item(item_id)?;
        let after = ItemRow {
            quantity,
            ..before.clone()
        };
        let sums = sums.without(before)?.with(&after)?;
        self.put(item_id, Some(after), sums);
        Ok(())
    }

    fn remove(&mut self, item_id: ItemId) -> Result<(), Unfit> {
        let sums = Sums::of(self.open()?).without(self.item(item_id)?)?;
        self.put(item_id, None, sums);
        Ok(())
    }

    fn item(&self, item_id: ItemId) -> Result<&ItemRow, Unfit> {
        let slot = self.slots.get(&item_id);
        let row = slot.and_then(|slot| slot.row.as_ref());
        row.ok_or(Unfit::NoItem(item_id))
    }

    fn put(&mut self, item_id: ItemId, row: Option<ItemRow>, sums: Sums) {
        let is_stored = self.slots.get(&item_id).is_some_and(|slot| slot.is_stored);
        self.slots.insert(item_id, Slot::changed(row, is_stored));
        if let Some(order) = &mut self.row {
            order.total_minor = sums.total_minor;
            order.item_count = sums.item_count;
            order.total_quantity = sums.total_quantity;
        }
    }

    fn item_row(&self, item: &OrderedItem, line_no: i32, added_at: Timestamp) -> ItemRow {
        ItemRow {
            order_id: self.id,
            item_id: item.item_id,
            line_no,
            product_id: item.product_id.as_str().to_owned(),
            quantity: to_i32(item.quantity.get()),
            price_minor: item.price.minor(),
            added_at,
        }
    }
}

impl Slot {
    fn changed(row: Option<ItemRow>, is_stored: bool) -> Self {
        Self {
            row,
            is_stored,
            is_changed: true,
        }
    }
}

/// A quantity as its column holds it; it is at most 10000.
fn to_i32(quantity: u32) -> i32 {
    i32::try_from(quantity).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
