//! What the handlers work with.

use std::{sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;

use super::{
    operations::checks::Health,
    orders::{reads::Reads, sse::Live, views::command_output::CommandOutput},
};
use crate::{
    event_sourcing::{Position, StoreError},
    order::{Currency, OrderHistory, OrderId, Orders},
};

/// The parts of the service that the handlers call.
pub struct Api {
    /// The write side.
    pub orders: Arc<dyn Orders<CommandOutput>>,
    /// The past of orders, from the event store.
    pub history: Arc<dyn OrderHistory>,
    /// The read model.
    pub reads: Reads,
    /// The live streams.
    pub live: Live,
    /// Readiness and metrics.
    pub health: Health,
    /// How long a command may wait until no other runs on its order.
    pub claim_limit: Duration,
    /// The tasks of running commands. Shutdown waits for them.
    pub tasks: TaskTracker,
    /// The currency of new orders that name none.
    pub default_currency: Currency,
}

impl Api {
    /// Returns whether the event store holds an event of this order.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn exists(&self, id: OrderId) -> Result<bool, StoreError> {
        let first = self.history.events_after(Position::ZERO, Some(id), 1);
        let first = first.await?;
        Ok(!first.is_empty())
    }
}
