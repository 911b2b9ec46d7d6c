//! Why an order refuses a command.

use super::{
    money::InvalidMoney,
    status::Status,
    value::{ItemId, MAX_LINES, MAX_TOTAL},
};

/// A refusal: the command would break a rule of the domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The order does not exist.
    #[error("there is no such order")]
    NotFound,
    /// Another order has this id.
    #[error("an order with this id exists already and was created from other values")]
    AlreadyExists,
    /// The order is completed or cancelled.
    #[error("the order is {status} and cannot be changed any more")]
    NotOpen {
        /// The status of the order.
        status: Status,
    },
    /// An order without lines cannot be completed.
    #[error("the order has no items and cannot be completed")]
    NoItems,
    /// The order has no line with this id.
    #[error("the order has no item {item_id}")]
    ItemNotFound {
        /// The id in the command.
        item_id: ItemId,
    },
    /// Another line has, or had, this id.
    #[error("the order has, or had, another item {item_id}")]
    ItemAlreadyExists {
        /// The id in the command.
        item_id: ItemId,
    },
    /// A price is not a valid amount of the order's currency.
    #[error("the price of item {index} {reason}")]
    InvalidPrice {
        /// The index of the item in the command, from 0.
        index: usize,
        /// What is wrong with the price.
        reason: InvalidMoney,
    },
    /// The order would have too many lines.
    #[error("an order has at most {MAX_LINES} lines")]
    TooManyLines,
    /// The order's total would be too large.
    #[error("an order's total is at most {MAX_TOTAL} minor units")]
    TotalTooLarge,
}
