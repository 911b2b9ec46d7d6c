//! The read model: `order_views` and `order_items`, which serve the GET endpoints.
//!
//! Reading order: [`fold`] (what the events mean for the rows, pure) → [`projector`] (keeps the rows,
//! each event once) → [`queries`] and [`list`] (what the endpoints ask).

pub mod fold;
pub mod list;
pub mod projector;
pub mod queries;

mod chunk;
mod error;
mod session;
mod tables;

pub use fold::{ItemRow, OrderFold, OrderRow};
pub use list::{ListPage, ListQuery, ListSort, ListStart, Total};
pub use projector::Projector;
pub use queries::{Found, OrderView, OrderViews};
pub use tables::ParkedOrder;
