//! The pure domain: what an order is, what may be asked of it and what may happen to it. Time, ids
//! and randomness are arguments; nothing here waits.
#![deny(
    clippy::float_arithmetic,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm
)]

pub mod aggregate;
pub mod command;
pub mod currency;
pub mod error;
pub mod event;
pub mod event_json;
pub mod money;
pub mod ports;
pub mod state;
pub mod upcasters;
pub mod value;

#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod specs;

pub use aggregate::Order;
pub use command::{NewItem, OrderCommand};
pub use currency::Currency;
pub use error::OrderError;
pub use event::OrderEvent;
pub use money::{InvalidMoney, Money};
pub use ports::{OrderHistory, Orders};
pub use state::{Line, OrderState, Status};
pub use value::{
    CustomerId, InvalidText, ItemId, OrderId, OutOfRange, ProductId, Quantity, Reason,
};
