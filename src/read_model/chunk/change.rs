//! What a chunk of events changes for one order, and how it is written.

use super::{
    super::{fold::OrderFold, rows::ParkedOrder, tables::Guard},
    decoded::DecodedEvent,
};

/// How a chunk is written.
#[derive(Debug, Clone, Copy)]
pub(in crate::read_model) enum WriteMode {
    /// All orders in one call.
    ///
    /// Refused data fails the whole chunk. So does an order that is created twice or a line that is
    /// added twice: whether it exists already is not looked up.
    ///
    /// With a guard, rows are written only if the checkpoint is as the caller read it. Without one,
    /// the caller's transaction must keep other writers away.
    Fast(Option<Guard>),
    /// In the caller's transaction, behind savepoints: the chunk is halved until the order with the
    /// refused data is found. That order is parked.
    Bisect,
}

impl WriteMode {
    /// Whether this is [`WriteMode::Bisect`].
    pub(super) fn is_bisect(self) -> bool {
        matches!(self, Self::Bisect)
    }
}

/// One order of a chunk: its rows, and the events to fold into them.
#[derive(Debug)]
pub(super) struct OrderChange {
    pub(super) fold: OrderFold,
    pub(super) events: Vec<DecodedEvent>,
    pub(super) parked: Option<ParkedOrder>,
}
