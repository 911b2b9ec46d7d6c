//! Tools for tests: given/when/then specifications, an event store in memory, and the contract that
//! every event store passes. No production code belongs here, except the switches of [`sabotage`].
//!
//! ```
//! use orders::{
//!     event_sourcing::testing::given,
//!     order::{Order, OrderCommand, OrderError},
//! };
//!
//! given::<Order>([]).when(OrderCommand::Complete).then_refused(&OrderError::NotFound);
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

pub mod contract;
pub mod in_memory;
pub mod projection;
pub mod sabotage;
pub mod specification;

pub use in_memory::InMemoryEventStore;
pub use projection::apply_twice_and_late;
pub use specification::{given, instant};
