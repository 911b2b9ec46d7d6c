//! How the adapters `postgres` and `read_model` talk to PostgreSQL: queries with a deadline,
//! transactions, the row of an event, and what a failed statement means. What only one adapter needs
//! belongs to that adapter.
//!
//! Queries and transactions run on a [`GuardedConnection`]: it goes back to its pool only after its
//! last statement was answered.

pub mod connection;
pub mod error;
pub mod query;
pub mod transaction;

mod composite;
mod event_row;

pub(crate) use composite::composite_type;
pub use connection::GuardedConnection;
pub use event_row::EventRow;
pub use query::{QUERY_DEADLINE, run_query};
pub use transaction::Transaction;
