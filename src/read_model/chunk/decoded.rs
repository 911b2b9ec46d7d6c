//! A recorded event, decoded to today's schema.

use super::super::{fold::OrderFold, rows::ParkedOrder};
use crate::{
    event_sourcing::{Position, RecordedEvent, Timestamp, UpcasterChain, Version, error_chain},
    order::{OrderEvent, OrderId},
};

/// A recorded event, decoded, or the reason why it cannot be decoded.
#[derive(Debug)]
pub(in crate::read_model) struct DecodedEvent {
    version: Version,
    position: Position,
    at: Timestamp,
    event_type: String,
    event: Result<OrderEvent, String>,
}

impl DecodedEvent {
    /// Upcasts and decodes an event.
    pub(in crate::read_model) fn new(event: RecordedEvent, upcasters: &UpcasterChain) -> Self {
        Self {
            version: event.version,
            position: event.position,
            at: event.occurred_at,
            event_type: event.event_type.clone(),
            event: upcasters.decode(event).map_err(|error| error_chain(&error)),
        }
    }

    /// The event, or the reason why it cannot be decoded.
    pub(in crate::read_model) fn event(&self) -> Result<&OrderEvent, &str> {
        self.event.as_ref().map_err(String::as_str)
    }

    /// Its version.
    pub(in crate::read_model) fn version(&self) -> Version {
        self.version
    }

    /// When it happened.
    pub(in crate::read_model) fn at(&self) -> Timestamp {
        self.at
    }

    /// Folds the event into the rows. If that is not possible, returns the row that parks the order.
    pub(in crate::read_model) fn apply_to(&self, fold: &mut OrderFold) -> Result<(), ParkedOrder> {
        let folded = match &self.event {
            Ok(event) => fold
                .apply(event, self.version, self.position, self.at)
                .map_err(|error| error.to_string()),
            Err(reason) => Err(reason.clone()),
        };
        folded.map_err(|reason| self.parked(fold.id(), reason))
    }

    /// The row that parks the order at this event.
    pub(super) fn parked(&self, order_id: OrderId, reason: String) -> ParkedOrder {
        ParkedOrder {
            order_id,
            version: self.version.get(),
            position: self.position.get(),
            event_type: self.event_type.clone(),
            reason,
        }
    }
}
