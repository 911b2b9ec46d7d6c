//! Rows that need not be read again: those of open orders, as the last chunks left them.

use std::collections::HashMap;

use super::rows::OrderRow;
use crate::order::{OrderId, Status};

/// How many rows one generation holds; there are two. A row takes some 400 bytes.
const GENERATION: usize = 16_384;

/// What is known of the rows of the read model, as of one revision of it.
#[derive(Debug, Default)]
pub(super) struct KnownRows {
    /// Whether any order may be parked. None of those whose rows are known is.
    pub(super) has_parked: bool,
    young: HashMap<OrderId, OrderRow>,
    old: HashMap<OrderId, OrderRow>,
}

impl KnownRows {
    /// No row is known.
    pub(super) fn none(has_parked: bool) -> Self {
        Self {
            has_parked,
            ..Self::default()
        }
    }

    /// Takes an order's row out, to be changed and [kept](Self::keep) again.
    pub(super) fn take(&mut self, id: OrderId) -> Option<OrderRow> {
        self.young.remove(&id).or_else(|| self.old.remove(&id))
    }

    /// Keeps a row; that of a final order, to which nothing can happen any more, is let go. Of too many
    /// rows those go that were not touched for longest, about.
    pub(super) fn keep(&mut self, row: OrderRow) {
        if row.status != Status::Created.as_str() {
            return;
        }
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(row.id, row);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::event_sourcing::testing::instant;

    fn id(number: usize) -> OrderId {
        OrderId::new(Uuid::from_u128(number as u128))
    }

    fn row(number: usize, status: Status) -> OrderRow {
        OrderRow {
            id: id(number),
            customer_id: "c".to_owned(),
            status: status.as_str().to_owned(),
            currency: "EUR".to_owned(),
            total_minor: 0,
            item_count: 0,
            total_quantity: 0,
            version: 1,
            position: 1,
            created_at: instant(0),
            updated_at: instant(0),
            completed_at: None,
            cancelled_at: None,
            cancellation_reason: None,
        }
    }

    #[test]
    fn a_row_is_known_until_it_is_taken() {
        let mut known = KnownRows::none(false);
        known.keep(row(1, Status::Created));

        assert_eq!(known.take(id(1)), Some(row(1, Status::Created)));
        assert_eq!(known.take(id(1)), None);
    }

    #[test]
    fn final_orders_are_let_go() {
        let mut known = KnownRows::none(false);
        known.keep(row(1, Status::Completed));
        known.keep(row(2, Status::Cancelled));

        assert_eq!(known.take(id(1)), None);
        assert_eq!(known.take(id(2)), None);
    }

    #[test]
    fn of_too_many_rows_the_oldest_go() {
        let mut known = KnownRows::none(false);
        for number in 0..3 * GENERATION {
            known.keep(row(number, Status::Created));
            let recent = known.take(id(number)).unwrap();
            known.keep(recent);
        }

        assert!(known.young.len() + known.old.len() <= 2 * GENERATION);
        assert_eq!(known.take(id(0)), None);
        let newest = id(3 * GENERATION - 1);
        assert!(known.take(newest).is_some());
    }
}
