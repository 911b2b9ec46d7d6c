//! Compares the store and the read model, beside a running service.
//!
//! Orders are read a page at a time, by id, in one repeatable-read transaction: the checkpoint, the
//! events up to it and the rows are from one snapshot, so what changes meanwhile is no difference. The
//! transaction takes its table locks before its snapshot, so it runs either before or after the switch
//! of a rebuild.
//!
//! What compares one order is here; what decides which orders to verify in the background is in
//! [`super::self_check`].

mod comparison;
mod finding;
mod load;
mod report;

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use self::{comparison::OrderComparison, load::load};
pub use self::{
    finding::Finding,
    report::{VerifyProgress, VerifyReport},
};
use super::projector::Projector;
use crate::{
    event_sourcing::{EventStore, StoreError},
    order::OrderId,
    sql::{GuardedConnection, Transaction, error::store_error},
};

/// How many orders are compared in one transaction.
const PAGE: i64 = 200;

/// Opens the transaction of a page. The snapshot is taken by the first query, after the locks.
const BEGIN: &str = "begin isolation level repeatable read, read only; \
    set local statement_timeout = '60s'; \
    lock table order_views, order_items, projection_parked in access share mode";

/// A verification of the read model of a projector.
#[derive(Debug, Clone)]
pub struct Verify<S> {
    projector: Projector<S>,
}

impl<S: EventStore> Verify<S> {
    /// Makes a verification. It reads events and rows through the projector's pool, which must be that
    /// of the primary.
    #[must_use]
    pub fn new(projector: Projector<S>) -> Self {
        Self { projector }
    }

    /// Verifies all orders and calls `found` with each finding. With `is_repair` the orders whose rows
    /// differ are folded again. Memory is bounded by a page of orders.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn run(
        &self,
        is_repair: bool,
        progress: impl Fn(VerifyProgress) + Send + Sync,
        mut found: impl FnMut(&Finding) + Send,
    ) -> Result<VerifyReport, StoreError> {
        let mut report = VerifyReport::default();
        let total = self.query_all(load::count).await?;
        let mut after = None;
        loop {
            let ids = self
                .query_all(async |connection| load::ids_after(connection, after, PAGE).await)
                .await?;
            let Some(last) = ids.last() else {
                return Ok(report);
            };
            after = Some(*last);
            report.add(&self.orders(&ids, is_repair, &mut found).await?);
            progress(VerifyProgress {
                done: report.orders,
                total: total.max(report.orders),
            });
        }
    }

    /// Verifies these orders, a few hundred at most: they are read in one transaction.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn orders(
        &self,
        ids: &[Uuid],
        is_repair: bool,
        mut found: impl FnMut(&Finding) + Send,
    ) -> Result<VerifyReport, StoreError> {
        let ids_of_orders = ids.iter().copied().map(OrderId::new);
        let mut comparisons: BTreeMap<OrderId, OrderComparison> = ids_of_orders
            .map(|id| (id, OrderComparison::new(id)))
            .collect();
        let mut transaction = Transaction::begin(&self.projector.pool, BEGIN).await?;
        let upcasters = &self.projector.upcasters;
        let events = load(transaction.connection(), upcasters, ids, &mut comparisons).await;
        let events = events.map_err(store_error)?;
        transaction.rollback().await?;
        let mut report = VerifyReport {
            events,
            ..VerifyReport::default()
        };
        for (id, comparison) in comparisons {
            let findings = comparison.into_findings();
            findings.iter().for_each(&mut found);
            let mut of_order = VerifyReport::of_order(&findings);
            if is_repair && of_order.differing_orders > 0 {
                // If an event cannot be applied the order stays parked. Its rows show the events before.
                self.projector.refold(id).await?;
                of_order.repaired = 1;
            }
            report.add(&of_order);
        }
        Ok(report)
    }

    /// The ids of the orders that changed last, for [`Self::orders`].
    ///
    /// # Errors
    /// If the database fails.
    pub async fn recently_changed(&self, limit: u32) -> Result<Vec<Uuid>, StoreError> {
        self.projector
            .query(async |connection| load::recently_changed(connection, limit).await)
            .await
    }

    /// The ids of the orders that changed at these positions, for [`Self::orders`]. Random positions up
    /// to the checkpoint give a random sample.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn changed_at(&self, positions: &[i64]) -> Result<Vec<Uuid>, StoreError> {
        self.projector
            .query(async |connection| load::changed_at(connection, positions).await)
            .await
    }

    /// Runs a query that may read whole tables, so it has no deadline.
    async fn query_all<T>(
        &self,
        query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error> + Send,
    ) -> Result<T, StoreError> {
        let mut connection = GuardedConnection::acquire(&self.projector.pool).await?;
        let result = query(&mut connection).await.map_err(store_error)?;
        connection.release();
        Ok(result)
    }
}
