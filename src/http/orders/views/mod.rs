//! The JSON of answers: the shapes, and how they are made from folded orders, rows and events.
//! Headers and statuses do not belong here.

pub mod command_output;
pub mod history;
pub mod order;
pub mod page;
pub mod rows;

pub use history::{HistoryEntry, HistoryPage};
pub use order::{ItemView, OrderSummary, OrderView};
pub use page::{OrderEntry, OrderPage};
