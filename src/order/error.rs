//! Why an order refuses a command.

use super::{
    money::{InvalidMoney, MAX_TOTAL},
    state::Status,
    value::ItemId,
};

/// The most lines that an order may have.
pub const MAX_LINES: usize = 2000;

/// A refusal: a rule of the domain that a command would break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no such order.
    #[error("there is no such order")]
    NotFound,
    /// There is an order with this id, made from another request.
    #[error("an order with this id exists already and was created from other values")]
    AlreadyExists,
    /// The order is completed or cancelled.
    #[error("the order is {status} and cannot be changed any more")]
    NotOpen {
        /// What it is.
        status: Status,
    },
    /// An order without lines cannot be completed.
    #[error("the order has no items and cannot be completed")]
    NoItems,
    /// No line has this id.
    #[error("the order has no item {item_id}")]
    ItemNotFound {
        /// The id asked for.
        item_id: ItemId,
    },
    /// The id is, or was, another line's.
    #[error("the order has, or had, another item {item_id}")]
    ItemAlreadyExists {
        /// The id asked for.
        item_id: ItemId,
    },
    /// A price is no amount of the order's currency.
    #[error("the price of item {index} {reason}")]
    InvalidPrice {
        /// Which of the command's items, from 0.
        index: usize,
        /// What is wrong.
        reason: InvalidMoney,
    },
    /// Too many lines.
    #[error("an order has at most {MAX_LINES} lines")]
    TooManyLines,
    /// Too large a total.
    #[error("an order's total is at most {MAX_TOTAL} minor units")]
    TotalTooLarge,
}
