//! The read model: `order_views` and `order_items`, which serve the GET endpoints.
//!
//! Reading order: [`fold`] (what the events mean for the rows, pure) → [`projector`] (keeps the rows,
//! each event once) → [`queries`] and [`list`] (what the endpoints ask) → [`hot_views`] (what was
//! asked lately) → [`refold`], [`rebuild`] and
//! [`verify`] (what heals).

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

mod audit;
mod checkpoint;
mod chunk;
mod error;
mod known;
mod session;
mod tables;

pub use audit::Finding;
pub use fold::{OrderFold, Unfit};
pub use hot_views::{HotView, HotViews, Watched, WatchedLease};
pub use list::{ListPage, ListQuery, ListSort, ListStart, Total};
pub use projector::Projector;
pub use queries::{Found, OrderViews, OrderWithItems};
pub use rebuild::{Phase, Rebuild, RebuildDifference, RebuildError, RebuildProgress, Rebuilt};
pub use refold::Refolded;
pub use rows::{ItemRow, OrderRow, ParkedOrder};
pub use verify::{Verify, VerifyProgress, VerifyReport};
