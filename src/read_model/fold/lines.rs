//! The lines of an order while events are folded into them, and the sums over them.

use std::collections::HashMap;

use super::{
    super::rows::{ItemRow, OrderRow},
    error::FoldError,
};
use crate::order::ItemId;

/// The lines of one order that are known: those that were stored and loaded, and those that events
/// added, changed or removed.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines(HashMap<ItemId, Line>);

#[derive(Debug, Clone)]
struct Line {
    /// `None` if an event removed the line.
    row: Option<ItemRow>,
    is_stored: bool,
    is_changed: bool,
}

impl Lines {
    /// Adds a line that is stored.
    pub(super) fn insert_stored(&mut self, row: ItemRow) {
        let id = row.item_id;
        let line = Line {
            row: Some(row),
            is_stored: true,
            is_changed: false,
        };
        self.0.insert(id, line);
    }

    /// Adds a line.
    pub(super) fn add(&mut self, row: ItemRow) {
        self.set(row.item_id, Some(row));
    }

    /// Replaces a line, or removes it.
    pub(super) fn set(&mut self, id: ItemId, row: Option<ItemRow>) {
        let is_stored = self.0.get(&id).is_some_and(|line| line.is_stored);
        let line = Line {
            row,
            is_stored,
            is_changed: true,
        };
        self.0.insert(id, line);
    }

    /// The line with this id, if it is known and not removed.
    pub(super) fn get(&self, id: ItemId) -> Option<&ItemRow> {
        self.0.get(&id)?.row.as_ref()
    }

    /// All known lines, in no particular order.
    pub(super) fn all(&self) -> impl Iterator<Item = &ItemRow> {
        self.0.values().filter_map(|line| line.row.as_ref())
    }

    /// The lines that events added or changed, each with whether it was stored before.
    pub(super) fn changed(&self) -> impl Iterator<Item = (&ItemRow, bool)> {
        let changed = self.0.values().filter(|line| line.is_changed);
        changed.filter_map(|line| line.row.as_ref().map(|row| (row, line.is_stored)))
    }

    /// The stored lines that events removed.
    pub(super) fn removed(&self) -> impl Iterator<Item = ItemId> {
        let removed = self.0.iter();
        removed
            .filter(|(_, line)| line.is_stored && line.row.is_none())
            .map(|(id, _)| *id)
    }
}

/// Sums over the lines of an order.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) total_minor: i64,
    pub(super) item_count: i32,
    pub(super) total_quantity: i64,
}

impl Sums {
    /// The sums that an order's row holds.
    pub(super) fn of(row: &OrderRow) -> Self {
        Self {
            total_minor: row.total_minor,
            item_count: row.item_count,
            total_quantity: row.total_quantity,
        }
    }

    /// Writes the sums into an order's row.
    pub(super) fn write_to(self, row: &mut OrderRow) {
        row.total_minor = self.total_minor;
        row.item_count = self.item_count;
        row.total_quantity = self.total_quantity;
    }

    /// The sums with a line more.
    pub(super) fn with(self, item: &ItemRow) -> Result<Self, FoldError> {
        self.add(item, 1).ok_or(FoldError::TooLarge)
    }

    /// The sums with a line less.
    pub(super) fn without(self, item: &ItemRow) -> Result<Self, FoldError> {
        self.add(item, -1).ok_or(FoldError::TooLarge)
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
