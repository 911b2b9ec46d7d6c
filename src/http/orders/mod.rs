//! The endpoints of orders: commands, queries, lists and live streams, with their request bodies
//! and the JSON of their answers. What every endpoint needs is in [`super::request`].

pub mod bodies;
pub mod commands;
pub mod cursor;
pub mod execute;
pub mod get_order;
pub mod history;
pub mod list;
pub mod paths;
pub mod reads;
pub mod sse;
pub mod streams;
pub mod views;

use uuid::Uuid;

use crate::event_sourcing::Version;

/// The path of one entry of an order's history.
#[must_use]
pub fn history_entry_path(order: Uuid, version: Version) -> String {
    format!("/v1/orders/{order}/events?fromVersion={version}&limit=1")
}
