//! The endpoints of orders: commands, queries, lists and live streams, with the bodies that they read
//! and the JSON that they write. What every endpoint needs is in [`super::request`].

pub mod bodies;
pub mod commands;
pub mod cursor;
pub mod execute;
pub mod json;
pub mod list;
pub mod queries;
pub mod reads;
pub mod rows;
pub mod sse;
pub mod streams;
pub mod view;
