//! Rows of open orders as the last chunks left them, so that the projector need not read them again.

use std::collections::HashMap;

use super::rows::OrderRow;
use crate::order::{OrderId, Status};

/// How many rows one generation holds; there are two. A row takes about 400 bytes.
const GENERATION: usize = 16_384;

/// Rows of open orders, as of one revision of the read model.
#[derive(Debug, Default)]
pub(super) struct RowCache {
    /// Whether any order may be parked. No order whose row is cached is.
    pub(super) has_parked: bool,
    young: HashMap<OrderId, OrderRow>,
    old: HashMap<OrderId, OrderRow>,
}

impl RowCache {
    /// An empty cache.
    pub(super) fn new(has_parked: bool) -> Self {
        Self {
            has_parked,
            ..Self::default()
        }
    }

    /// Removes an order's row and returns it.
    pub(super) fn take(&mut self, id: OrderId) -> Option<OrderRow> {
        self.young.remove(&id).or_else(|| self.old.remove(&id))
    }

    /// Caches a row, unless the order is final: no event can follow then. When the young generation is
    /// full it becomes the old one, and the rows that were in the old one are dropped: those are the
    /// least recently used.
    pub(super) fn insert(&mut self, row: OrderRow) {
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
    fn a_row_is_cached_until_it_is_taken() {
        let mut cache = RowCache::new(false);
        cache.insert(row(1, Status::Created));

        assert_eq!(cache.take(id(1)), Some(row(1, Status::Created)));
        assert_eq!(cache.take(id(1)), None);
    }

    #[test]
    fn final_orders_are_not_cached() {
        let mut cache = RowCache::new(false);
        cache.insert(row(1, Status::Completed));
        cache.insert(row(2, Status::Cancelled));

        assert_eq!(cache.take(id(1)), None);
        assert_eq!(cache.take(id(2)), None);
    }

    #[test]
    fn the_least_recently_used_rows_are_dropped_when_the_cache_is_full() {
        let mut cache = RowCache::new(false);
        for number in 0..3 * GENERATION {
            cache.insert(row(number, Status::Created));
            let recent = cache.take(id(number)).unwrap();
            cache.insert(recent);
        }

        assert!(cache.young.len() + cache.old.len() <= 2 * GENERATION);
        assert_eq!(cache.take(id(0)), None);
        let newest = id(3 * GENERATION - 1);
        assert!(cache.take(newest).is_some());
    }
}
