//! Why an event cannot be folded.

use crate::{
    event_sourcing::Version,
    order::{ItemId, OrderId, Status},
};

/// Why an event cannot follow the rows before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// Events are missing before it, or it was folded already.
    #[error("version {found} was found where version {expected} is expected")]
    Version {
        /// The next version of the order.
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
    NotOpen(Status),
    /// The stored row has a status that does not exist.
    #[error("the row has the unknown status {0:?}")]
    UnknownStatus(String),
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
    /// A sum or a quantity does not fit its column.
    #[error("the order's total is too large")]
    TooLarge,
}
