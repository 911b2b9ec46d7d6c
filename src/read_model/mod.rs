//! The read model: `order_views` and `order_items`, which serve the GET endpoints.
//!
//! Everything that reads or writes these tables belongs here, and the bookkeeping beside them. HTTP and
//! NATS do not: the projector is called through the trait
//! [`Projection`](crate::event_sourcing::projection::Projection).
//!
//! Reading order:
//! 1. [`rows`]: the rows; [`fold`]: what the events mean for them (pure).
//! 2. [`projector`]: keeps the rows, with `chunk` (many events at once), `row_writer` (the connection
//!    that writes) and `bookkeeping` (checkpoint and parked orders).
//! 3. [`queries`] and [`list`]: what the endpoints read; [`hot_views`]: orders read lately, in memory.
//! 4. [`refold`] (one order again), [`rebuild`] (all orders again), [`verify`] (compares the rows with the
//!    events) and [`self_check`] (verifies and repairs in the background).

pub mod fold;
pub mod hot_views;
pub mod list;
pub mod projector;
pub mod queries;
pub mod rebuild;
pub mod refold;
pub mod rows;
pub mod self_check;
pub mod verify;

mod bookkeeping;
mod changed_rows;
mod chunk;
mod error;
mod projection;
mod row_cache;
mod row_writer;
mod tables;
mod view_columns;

pub use bookkeeping::read_progress;
pub use fold::{FoldError, OrderFold};
pub use hot_views::{HotView, HotViews, InvalidatingLease, InvalidatingProjection};
pub use list::{ListPage, ListQuery, ListSort, ListStart, Total};
pub use projector::Projector;
pub use queries::{FoundOrder, OrderViews};
pub use rebuild::{Phase, Rebuild, RebuildDifference, RebuildError, RebuildProgress, Rebuilt};
pub use refold::Refolded;
pub use rows::{ItemRow, OrderRow, OrderWithItems, ParkedOrder};
pub use verify::{Finding, Verify, VerifyProgress, VerifyReport};
