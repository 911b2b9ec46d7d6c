//! The domain of orders: commands, events and every rule. Pure code: time and ids are arguments.
//! SQL, JSON for clients and waiting belong elsewhere.
#![deny(
    clippy::float_arithmetic,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm
)]

pub mod aggregate;
pub mod command;
mod creation;
pub mod currency;
pub mod decimal;
pub mod error;
pub mod event;
mod event_json;
pub mod money;
pub mod ports;
pub mod state;
pub mod status;
pub mod upcasters;
pub mod value;

#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod specs;

pub use aggregate::{Order, allowed_actions};
pub use command::{NewItem, OrderCommand};
pub use currency::Currency;
pub use decimal::Decimal;
pub use error::OrderError;
pub use event::OrderEvent;
pub use money::{InvalidMoney, Money};
pub use ports::{OrderHistory, Orders};
pub use state::{Line, OrderState};
pub use status::{Status, UnknownStatus};
pub use value::{
    CustomerId, InvalidText, ItemId, MAX_LINES, MAX_TOTAL, OrderId, OutOfRange, ProductId,
    Quantity, Reason,
};
