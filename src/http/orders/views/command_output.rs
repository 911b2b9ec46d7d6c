//! What a command leads to: the order as JSON.

use uuid::Uuid;

use super::order::{ImpossibleOrder, OrderView};
use crate::{event_sourcing::Version, order::Order};

/// An order as the answer to a command shows it.
pub struct OrderBody {
    /// The order's id.
    pub id: Uuid,
    /// The order as JSON.
    pub json: Vec<u8>,
}

/// The order after a command, or why it cannot be shown.
pub type CommandOutput = Result<OrderBody, ImpossibleOrder>;

impl OrderBody {
    /// Writes a folded order.
    ///
    /// # Errors
    /// As [`OrderView::of`].
    pub fn of(order: &Order, version: Version) -> CommandOutput {
        let view = OrderView::of(order, version)?;
        Ok(Self {
            id: view.id,
            json: serde_json::to_vec(&view)?,
        })
    }
}
