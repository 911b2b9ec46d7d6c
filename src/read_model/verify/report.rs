//! How far a verification is, and the sums over its findings.

use super::finding::Finding;

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyProgress {
    /// How many orders were compared.
    pub done: u64,
    /// How many orders there were at the start.
    pub total: u64,
}

/// The sums over what a verification found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// How many orders were compared.
    pub orders: u64,
    /// How many events were read.
    pub events: u64,
    /// How many findings are about the store.
    pub in_store: u64,
    /// How many findings are about the read model.
    pub in_read_model: u64,
    /// How many orders have rows that differ from the fold of their events.
    pub differing_orders: u64,
    /// How many of these were folded again, as far as their events can be applied.
    pub repaired: u64,
}

impl VerifyReport {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.in_store == 0 && self.in_read_model == 0
    }

    /// The report on one order with these findings.
    pub(super) fn of_order(findings: &[Finding]) -> Self {
        let in_read_model = findings.iter().filter(|finding| finding.is_in_read_model());
        let in_read_model = in_read_model.count() as u64;
        Self {
            orders: 1,
            in_store: (findings.len() as u64).saturating_sub(in_read_model),
            in_read_model,
            differing_orders: u64::from(in_read_model > 0),
            ..Self::default()
        }
    }

    /// Adds another report to this one.
    pub(super) fn add(&mut self, other: &Self) {
        let add = |sum: &mut u64, number: u64| *sum = sum.saturating_add(number);
        add(&mut self.orders, other.orders);
        add(&mut self.events, other.events);
        add(&mut self.in_store, other.in_store);
        add(&mut self.in_read_model, other.in_read_model);
        add(&mut self.differing_orders, other.differing_orders);
        add(&mut self.repaired, other.repaired);
    }
}
